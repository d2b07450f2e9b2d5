"""Bodies of /workflows/runs."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from copilot_api.http.body import RequestBody
from copilot_domain.workflows.runs.types import NewRun, ReviewAnswer, ReviewDecision

Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Comment = Annotated[str, Meta(max_length=10_000)]


class StartRun(RequestBody):
    workflow_id: UUID
    inputs: dict[str, object] = {}
    version: Version | None = None

    def to_new(self) -> NewRun:
        return NewRun(workflow_id=self.workflow_id, inputs=self.inputs, version=self.version)


class ForkRun(RequestBody):
    """`from_step`: a path as steps and events have it, or the id of a step for the first time that it began."""

    from_step: Annotated[str, Meta(min_length=1, max_length=1_000)]


class AnswerReview(RequestBody):
    decision: ReviewDecision
    comment: Comment | None = None
    data: dict[str, object] | None = None

    def to_answer(self) -> ReviewAnswer:
        return ReviewAnswer(decision=self.decision, comment=self.comment, data=self.data)
