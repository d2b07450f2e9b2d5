"""The workflow engine is killed in the middle of an answer, and the same answer is completed."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer

from copilot_cli.answers import figures
from copilot_cli.client import ApiClient, ApiError, Message, Question, StreamEvent
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.exchange import Transcript
from copilot_devstack.demo.screen import NotAsPromised, Screen
from copilot_devstack.server import Server

_QUESTION = "Say thirty words slowly, whatever happens to whoever says them."
_MODEL = "openai/sim,tokens=30,pace_ms=100"  # 3 s, in which there is time to kill
_KILL_AT = 8
_SECONDS = 60.0


def survive_a_kill(screen: Screen, client: ApiClient, engine: Server, transcript: Transcript) -> None:
    screen.say(f"› {_QUESTION}", "bold cyan")
    screen.say("  to a simulated provider on this machine, as slow as asked for", "dim")
    transcript.asked.append(Asked(_QUESTION, []))
    conversation_id = client.create_conversation(title=_QUESTION).id
    transcript.conversation_ids.append(conversation_id)
    began = time.monotonic()
    pending = client.ask_later(conversation_id, Question(_QUESTION, model=_MODEL))
    with _given_up_after(_SECONDS, client, pending):
        events = _follow(screen, client.replay(conversation_id, pending.id), engine)
    message = client.message(conversation_id, pending.id)
    transcript.messages.append(message)
    screen.say(figures(message, time.monotonic() - began), "dim")
    check_survival(screen, events, message)


def _follow(screen: Screen, stream: Iterable[StreamEvent], engine: Server) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    killed_at = 0.0
    for event in stream:
        events.append(event)
        if event.number == _KILL_AT:
            _show(screen, events)
            screen.say(f"kill -9 {engine.pid}: the workflow engine is dead, and started again", "yellow")
            engine.kill()
            killed_at = time.monotonic()
            engine.start()
            screen.say(f"its successor is process {engine.pid}", "dim")
        elif event.body.type == "restart":
            waited = time.monotonic() - killed_at
            screen.say(f"{event.number}: restart, {waited:.1f} s after the kill: {event.body.reason}", "yellow")
    _show(screen, [event for event in events if event.number > _last_restart(events)])
    return events


def _show(screen: Screen, events: list[StreamEvent]) -> None:
    if events:
        written = _written(events).split()
        kinds = f"{events[0].body.type} … {events[-1].body.type}"
        shown = f"{' '.join(written[:3])} … {' '.join(written[-1:])}"
        screen.say(f"{events[0].number}-{events[-1].number}: {kinds}, “{shown}”", "cyan")


def check_survival(screen: Screen, events: list[StreamEvent], message: Message) -> None:
    restarts = [event for event in events if event.body.type == "restart"]
    if len(restarts) != 1:
        raise NotAsPromised(f"the stream has {len(restarts)} restarts, and the message is {message.status}")
    screen.check(
        f"one message, one stream: {len(events)} events numbered without a gap, with one restart",
        kept=[event.number for event in events] == list(range(1, len(events) + 1))
        and events[-1].body.type == "message_end"
        and message.status == "completed",
        otherwise=f"the events have gaps or no end; the message is {message.status}",
    )
    after = [event for event in events if event.number > restarts[0].number]
    screen.check(
        "the text after the restart is the stored answer",
        kept=bool(message.content) and _written(after) == message.content,
        otherwise="the text after the restart is not the stored answer",
    )


def _last_restart(events: list[StreamEvent]) -> int:
    return max((event.number for event in events if event.body.type == "restart"), default=0)


def _written(events: list[StreamEvent]) -> str:
    return "".join(event.body.delta.text for event in events if event.body.delta is not None)


@contextmanager
def _given_up_after(seconds: float, client: ApiClient, message: Message) -> Iterator[None]:
    """A cancelled answer's stream ends: the demo must not wait for ever for what never comes."""

    def give_up() -> None:
        with suppress(ApiError):
            client.cancel(message.conversation_id, message.id)

    timer = Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
