"""A question and its answer as the demo shows them, and what is kept of both for the parts that come after."""

import re
from dataclasses import dataclass, field
from uuid import UUID

from copilot_cli.answers import citation_lines, figures, shorten
from copilot_cli.client import ApiClient, Item, Message, Question, StreamEvent
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.screen import NotAsPromised, Screen

_ANSWER_CHARACTERS = 300
_QUOTE_CHARACTERS = 60
_QUOTE_MARK = re.compile(r"^> ?", re.M)


@dataclass
class Transcript:
    """`events` are those of the answer that was streamed; `items` what the context was given."""

    conversation_ids: list[UUID] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Everything that must be readable nowhere."""
        documents = [document.text for asked in self.asked for document in asked.documents]
        return [*(asked.question for asked in self.asked), *(message.content for message in self.messages), *documents]


def question_of(asked: Asked) -> Question:
    if asked.from_context:
        return Question(asked.question, searches_context=True)
    return Question(asked.question, asked.documents)


def begin(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> UUID:
    screen.say(f"› {asked.question}", "bold cyan")
    if not asked.from_context:
        names = ", ".join(f"{document.name} ({len(document.text) // 1000 or 1} kB)" for document in asked.documents)
        screen.say(f"  attached: {names}", "dim")
    transcript.asked.append(asked)
    conversation_id = client.create_conversation(title=asked.question).id
    transcript.conversation_ids.append(conversation_id)
    return conversation_id


def end(screen: Screen, asked: Asked, message: Message, transcript: Transcript, *, seconds: float) -> None:
    transcript.messages.append(message)
    screen.say(shorten(_QUOTE_MARK.sub("", message.content), _ANSWER_CHARACTERS))
    for line in citation_lines(message, asked.documents, quote_characters=_QUOTE_CHARACTERS):
        screen.say(f"  {line}", "cyan")
    screen.say(figures(message, seconds), "dim")
    source = "context" if asked.from_context else "document"
    texts = {document.name: document.text for document in asked.documents}
    wrong = [
        one
        for one in message.citations
        if one.source != source or texts.get(one.name, "")[one.start : one.end] != one.quote
    ]
    screen.check(
        f"every citation found in its document at its place ({len(message.citations)} of them)",
        kept=message.status == "completed" and bool(message.citations) and not wrong,
        otherwise=f"status {message.status}, {len(message.citations)} citations, {len(wrong)} of them wrong",
    )


def named(message_id: UUID | None) -> UUID:
    if message_id is None:
        raise NotAsPromised("the stream never named its message")
    return message_id
