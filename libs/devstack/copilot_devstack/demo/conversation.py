"""An answer in one piece, one that streams, and the same stream again."""

import time

from copilot_cli.client import ApiClient, Message, StreamEvent
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.exchange import Transcript, begin, end, named, question_of
from copilot_devstack.demo.screen import NotAsPromised, Screen


def answer_plainly(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> None:
    conversation_id = begin(screen, client, asked, transcript)
    began = time.monotonic()
    message = client.ask(conversation_id, question_of(asked))
    end(screen, asked, message, transcript, seconds=time.monotonic() - began)


def answer_streamed(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> None:
    conversation_id = begin(screen, client, asked, transcript)
    began, first_text = time.monotonic(), None
    stream = client.ask_streamed(conversation_id, question_of(asked))
    for event in stream:
        transcript.events.append(event)
        if first_text is None and event.body.delta is not None:
            first_text = time.monotonic() - began
    seconds = time.monotonic() - began
    message = client.message(conversation_id, named(stream.message_id))
    end(screen, asked, message, transcript, seconds=seconds)
    _check_events(screen, transcript.events, message, first_text)


def replay(screen: Screen, client: ApiClient, transcript: Transcript) -> None:
    """From the start and from the middle, byte for byte."""
    events = transcript.events
    if not events:
        raise NotAsPromised("there was no stream to repeat")
    conversation_id, message_id = transcript.conversation_ids[-1], named(events[0].body.message_id)
    for after in (0, len(events) // 2):
        again = list(client.replay(conversation_id, message_id, after=after))
        where = f"after Last-Event-ID {after}" if after else "from the start"
        screen.check(
            f"{where}: the same {len(again)} events, byte for byte",
            kept=[(event.number, event.raw) for event in again] == [(one.number, one.raw) for one in events[after:]],
            otherwise=f"{where} the events differ from those that were streamed",
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
