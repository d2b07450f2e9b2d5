"""Bodies of /conversations. Lengths are those of the wire contract."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from copilot_api.http.body import RequestBody
from copilot_common.base.errors import InvalidInput
from copilot_domain.conversations import Ask, ContextWanted, Document, Feedback, NewConversation
from copilot_domain.metadata import check_metadata

Title = Annotated[str, Meta(max_length=300)]
Prompt = Annotated[str, Meta(max_length=1_000_000)]
Content = Annotated[str, Meta(min_length=1, max_length=1_000_000)]
ModelName = Annotated[str, Meta(min_length=1, max_length=300)]
Visibility = Literal["private", "tenant"]
Metadata = dict[str, object]


class CreateConversation(RequestBody):
    title: Title | None = None
    system_prompt: Prompt | None = None
    model: ModelName | None = None
    metadata: Metadata = {}
    visibility: Visibility = "private"
    context_ids: list[UUID] | UnsetType = UNSET
    tools: list[str] | UnsetType = UNSET

    def to_new(self) -> NewConversation:
        _refuse_unbuilt(context_ids=self.context_ids, tools=self.tools)
        return NewConversation(
            title=self.title,
            system_prompt=self.system_prompt,
            model=self.model,
            metadata=self.metadata,
            visibility=self.visibility,
        )


class UpdateConversation(RequestBody):
    """What is absent stays; an explicit null clears."""

    title: Title | None | UnsetType = UNSET
    system_prompt: Prompt | None | UnsetType = UNSET
    model: ModelName | None | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET

    def changes(self) -> dict[str, object]:
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}


class AttachedDocument(RequestBody):
    name: Annotated[str, Meta(min_length=1, max_length=300)]
    text: Annotated[str, Meta(max_length=1_000_000)]


class ContextBody(RequestBody):
    """`search`: true for the question itself as the query, a text for another one, false for none."""

    search: bool | Annotated[str, Meta(min_length=1, max_length=10_000)]
    item_ids: Annotated[list[UUID], Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    collection_ids: Annotated[list[UUID], Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=20)] = 5

    def to_wanted(self) -> ContextWanted | None:
        if self.search is False:
            return None
        return ContextWanted(
            query=self.search if isinstance(self.search, str) else None,
            item_ids=None if self.item_ids is UNSET else tuple(self.item_ids),
            collection_ids=None if self.collection_ids is UNSET else tuple(self.collection_ids),
            limit=self.limit,
        )


class SendMessage(RequestBody):
    content: Content
    role: Literal["user"] = "user"
    metadata: Metadata | None = None
    model: ModelName | None = None
    stream: bool = False
    documents: Annotated[list[AttachedDocument], Meta(max_length=100)] = []
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    background: bool = False
    context: ContextBody | UnsetType = UNSET
    tools: list[str] | UnsetType = UNSET

    def to_ask(self) -> Ask:
        _refuse_unbuilt(tools=self.tools)
        if self.metadata is not None:
            check_metadata(self.metadata)
        return Ask(
            content=self.content,
            metadata=self.metadata,
            model=self.model,
            documents=tuple(Document(document.name, document.text) for document in self.documents),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            context=None if self.context is UNSET else self.context.to_wanted(),
        )


class Cancelling(msgspec.Struct, frozen=True):
    """What a cancel answers; the message itself tells when it has ended."""

    id: UUID
    status: Literal["cancelling"] = "cancelling"


class GiveFeedback(RequestBody):
    rating: Literal[-1, 1]
    comment: Annotated[str, Meta(max_length=10_000)] | None = None

    def to_feedback(self) -> Feedback:
        return Feedback(rating=self.rating, comment=self.comment)


def _refuse_unbuilt(**fields: object) -> None:
    """Parts of the wire contract that this version does not have yet."""
    faults = {name: "is not available in this version" for name, value in fields.items() if value is not UNSET}
    if faults:
        raise InvalidInput(faults)
