"""The API's routes as this client uses them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from uuid import UUID, uuid4

from copilot_cli.client.context import ContextRoutes
from copilot_cli.client.http import GENERATION_SECONDS, Http, Query
from copilot_cli.client.jobs import JobRoutes
from copilot_cli.client.pages import V1, items
from copilot_cli.client.streams import AnswerStream, Opening
from copilot_cli.client.types import ApiKey, Conversation, GroupBy, Me, Message, Model, NewApiKey, Page, UsageRow
from copilot_cli.client.workflows import RunRoutes, WorkflowRoutes
from copilot_cli.places import Remote


@dataclass(frozen=True)
class Document:
    """A text that goes with one question."""

    name: str
    text: str


@dataclass(frozen=True)
class Question:
    content: str
    documents: Sequence[Document] = ()
    model: str | None = None
    searches_context: bool = False

    def body(self) -> dict[str, object]:
        body: dict[str, object] = {"role": "user", "content": self.content}
        if self.documents:
            body["documents"] = [{"name": document.name, "text": document.text} for document in self.documents]
        if self.model:
            body["model"] = self.model
        if self.searches_context:
            body["context"] = {"search": True}
        return body


class ApiClient:
    """Every method raises ApiError for a refusal and httpx.HTTPError where no answer came."""

    def __init__(self, remote: Remote, http: Http | None = None) -> None:
        self.base_url = remote.base_url
        self._http = http or Http(remote)
        self.context = ContextRoutes(self._http)
        self.jobs = JobRoutes(self._http)
        self.workflows = WorkflowRoutes(self._http)
        self.runs = RunRoutes(self._http)

    def create_conversation(self, *, title: str | None = None, model: str | None = None) -> Conversation:
        given = {"title": title, "model": model}
        body = {name: value for name, value in given.items() if value is not None}
        return self._http.post(f"{V1}/conversations", body, Conversation)

    def conversations(self, limit: int) -> Iterator[Conversation]:
        """Newest activity first, at most `limit`."""
        return items(self._http, f"{V1}/conversations", Page[Conversation], limit)

    def conversation(self, conversation_id: UUID) -> Conversation:
        return self._http.get(_conversation(conversation_id), Conversation)

    def messages(self, conversation_id: UUID, limit: int) -> Iterator[Message]:
        """Oldest first, at most `limit`."""
        return items(self._http, f"{_conversation(conversation_id)}/messages", Page[Message], limit)

    def message(self, conversation_id: UUID, message_id: UUID) -> Message:
        return self._http.get(f"{_conversation(conversation_id)}/messages/{message_id}", Message)

    def ask(self, conversation_id: UUID, question: Question) -> Message:
        """The whole answer at once."""
        path = f"{_conversation(conversation_id)}/messages"
        return self._http.post(path, question.body(), Message, seconds=GENERATION_SECONDS, key=str(uuid4()))

    def ask_later(self, conversation_id: UUID, question: Question) -> Message:
        """The answer that a worker will make: pending."""
        path = f"{_conversation(conversation_id)}/messages"
        return self._http.post(path, {**question.body(), "background": True}, Message, key=str(uuid4()))

    def ask_streamed(self, conversation_id: UUID, question: Question) -> AnswerStream:
        key = str(uuid4())
        path = f"{_conversation(conversation_id)}/messages/stream"

        def begin() -> Opening:
            return self._http.stream("POST", path, body=question.body(), headers={"Idempotency-Key": key})

        def resume(message_id: UUID, after: int) -> Opening:
            return self._events(conversation_id, message_id, after)

        return AnswerStream(begin=begin, resume=resume)

    def replay(self, conversation_id: UUID, message_id: UUID, *, after: int = 0) -> AnswerStream:
        """The same events again, from the start or after a number; live while the answer is being written."""

        def resume(message_id: UUID, after: int) -> Opening:
            return self._events(conversation_id, message_id, after)

        return AnswerStream(begin=lambda: resume(message_id, after), resume=resume, message_id=message_id, after=after)

    def cancel(self, conversation_id: UUID, message_id: UUID) -> None:
        self._http.post(f"{_conversation(conversation_id)}/messages/{message_id}/cancel", None, dict[str, object])

    def tenant_id(self) -> UUID:
        """Whose key it is."""
        return self._http.get(f"{V1}/auth/me", Me).tenant_id

    def models(self) -> list[Model]:
        return self._http.get(f"{V1}/models", Page[Model]).items

    def usage(self, *, since: date | None, until: date | None, group_by: GroupBy) -> list[UsageRow]:
        query: Query = {
            "from": since.isoformat() if since else None,
            "to": until.isoformat() if until else None,
            "group_by": group_by,
        }
        return self._http.get(f"{V1}/usage", Page[UsageRow], query).items

    def create_key(self, name: str, scopes: Sequence[str], *, expires_in_days: int | None) -> NewApiKey:
        body: dict[str, object] = {"name": name, "scopes": list(scopes)}
        if expires_in_days is not None:
            body["expires_in_days"] = expires_in_days
        return self._http.post(f"{V1}/auth/api-keys", body, NewApiKey)

    def keys(self, limit: int) -> Iterator[ApiKey]:
        return items(self._http, f"{V1}/auth/api-keys", Page[ApiKey], limit)

    def revoke_key(self, key_id: UUID) -> None:
        self._http.delete(f"{V1}/auth/api-keys/{key_id}")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "ApiClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _events(self, conversation_id: UUID, message_id: UUID, after: int) -> Opening:
        path = f"{_conversation(conversation_id)}/messages/{message_id}/stream"
        return self._http.stream("GET", path, headers={"Last-Event-ID": str(after)} if after else None)


def _conversation(conversation_id: UUID) -> str:
    return f"{V1}/conversations/{conversation_id}"
