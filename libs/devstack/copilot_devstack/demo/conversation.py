"""Parts one to three: an answer in one piece, one that streams, and the same stream again."""

import re
import time
from dataclasses import dataclass, field
from uuid import UUID

from copilot_cli.answers import citation_lines, figures, shorten
from copilot_cli.client import ApiClient, Message, Question, StreamEvent
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.screen import NotAsPromised, Screen

_ANSWER_CHARACTERS = 300
_QUOTE_CHARACTERS = 60
_QUOTE_MARK = re.compile(r"^> ?", re.M)


@dataclass
class Transcript:
    """What was said, for the parts that come after."""

    conversation_ids: list[UUID] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Everything that must be readable nowhere."""
        documents = [document.text for asked in self.asked for document in asked.documents]
        return [*(asked.question for asked in self.asked), *(message.content for message in self.messages), *documents]


def answer_plainly(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> None:
    conversation_id = _begin(screen, client, asked, transcript)
    began = time.monotonic()
    message = client.ask(conversation_id, Question(asked.question, asked.documents))
    _end(screen, asked, message, transcript, seconds=time.monotonic() - began)


def answer_streamed(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> None:
    conversation_id = _begin(screen, client, asked, transcript)
    began, first_text = time.monotonic(), None
    stream = client.ask_streamed(conversation_id, Question(asked.question, asked.documents))
    for event in stream:
        transcript.events.append(event)
        if first_text is None and event.body.delta is not None:
            first_text = time.monotonic() - began
    seconds = time.monotonic() - began
    message = client.message(conversation_id, _message_id(stream.message_id))
    _end(screen, asked, message, transcript, seconds=seconds)
    _check_events(screen, transcript.events, message, first_text)


def replay(screen: Screen, client: ApiClient, transcript: Transcript) -> None:
    """From the start and from the middle, byte for byte."""
    events = transcript.events
    if not events:
        raise NotAsPromised("there was no stream to repeat")
    conversation_id, message_id = transcript.conversation_ids[-1], _message_id(events[0].body.message_id)
    for after in (0, len(events) // 2):
        again = list(client.replay(conversation_id, message_id, after=after))
        where = f"after Last-Event-ID {after}" if after else "from the start"
        screen.check(
            f"{where}: the same {len(again)} events, byte for byte",
            kept=[(event.number, event.raw) for event in again] == [(one.number, one.raw) for one in events[after:]],
            otherwise=f"{where} the events differ from those that were streamed",
        )


def _begin(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> UUID:
    names = ", ".join(f"{document.name} ({len(document.text) // 1000 or 1} kB)" for document in asked.documents)
    screen.say(f"› {asked.question}", "bold cyan")
    screen.say(f"  attached: {names}", "dim")
    transcript.asked.append(asked)
    conversation_id = client.create_conversation(title=asked.question).id
    transcript.conversation_ids.append(conversation_id)
    return conversation_id


def _end(screen: Screen, asked: Asked, message: Message, transcript: Transcript, *, seconds: float) -> None:
    transcript.messages.append(message)
    screen.say(shorten(_QUOTE_MARK.sub("", message.content), _ANSWER_CHARACTERS))
    for line in citation_lines(message, asked.documents, quote_characters=_QUOTE_CHARACTERS):
        screen.say(f"  {line}", "cyan")
    screen.say(figures(message, seconds), "dim")
    texts = {document.name: document.text for document in asked.documents}
    wrong = [one for one in message.citations if texts.get(one.name, "")[one.start : one.end] != one.quote]
    screen.check(
        f"every citation found in its document at its place ({len(message.citations)} of them)",
        kept=message.status == "completed" and bool(message.citations) and not wrong,
        otherwise=f"status {message.status}, {len(message.citations)} citations, {len(wrong)} of them wrong",
    )


def _check_events(screen: Screen, events: list[StreamEvent], message: Message, first_text: float | None) -> None:
    numbers = [event.number for event in events]
    written = "".join(event.body.delta.text for event in events if event.body.delta is not None)
    screen.check(
        f"{len(events)} events, numbered without a gap; first text after {(first_text or 0) * 1000:.0f} ms",
        kept=numbers == list(range(1, len(events) + 1)) and events[-1].body.type == "message_end",
        otherwise="the events have gaps or no end",
    )
    if written != message.content:
        raise NotAsPromised("the streamed text is not the stored answer")


def _message_id(message_id: UUID | None) -> UUID:
    if message_id is None:
        raise NotAsPromised("the stream never named its message")
    return message_id
