"""Bodies of /context/collections."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from copilot_api.http.body import RequestBody
from copilot_api.resources.context.schemas import Acl
from copilot_domain.context import CollectionChanges, NewCollection

Name = Annotated[str, Meta(min_length=1, max_length=300)]


class CreateCollection(RequestBody):
    name: Name
    acl: Acl = []

    def to_new(self) -> NewCollection:
        return NewCollection(name=self.name, acl=tuple(entry.to_entry() for entry in self.acl))


class UpdateCollection(RequestBody):
    """What is absent stays."""

    name: Name | UnsetType = UNSET
    acl: Acl | UnsetType = UNSET

    def to_changes(self) -> CollectionChanges:
        return CollectionChanges(
            name=None if self.name is UNSET else self.name,
            acl=None if self.acl is UNSET else tuple(entry.to_entry() for entry in self.acl),
        )
