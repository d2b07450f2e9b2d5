"""Bodies of schedules. What a cron expression and a time zone may be, the domain says."""

from copilot_api.http.body import RequestBody
from copilot_domain.workflows.schedules.types import Misfire, NewSchedule


class CreateSchedule(RequestBody):
    cron: str
    timezone: str = "UTC"
    inputs: dict[str, object] = {}
    misfire: Misfire = "skip"

    def to_new(self) -> NewSchedule:
        return NewSchedule(cron=self.cron, timezone=self.timezone, inputs=self.inputs, misfire=self.misfire)
