"""Bodies of /webhooks. Lengths are those of the wire contract; what a URL may be, the domain says."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from copilot_api.http.body import RequestBody
from copilot_common.base.errors import InvalidInput
from copilot_domain.webhooks import EVENTS, NewWebhook, WebhookEvent

Url = Annotated[str, Meta(min_length=1, max_length=2_048)]
Events = Annotated[list[WebhookEvent], Meta(min_length=1, max_length=len(EVENTS))]
Description = Annotated[str, Meta(max_length=10_000)]


class CreateWebhook(RequestBody):
    url: Url
    events: Events
    description: Description | None = None

    def to_new(self) -> NewWebhook:
        return NewWebhook(url=self.url, events=self.events, description=self.description)


class UpdateWebhook(RequestBody):
    """What is absent stays; an explicit null clears the description."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    description: Description | None | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET

    def changes(self) -> dict[str, object]:
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}
        if not given:
            raise InvalidInput({"body": "must name something to change"})
        return given
