"""The demo's part in which a worker is killed sees when what it promises does not hold."""

from uuid import UUID

import msgspec
import pytest
from rich.console import Console

from copilot_cli.client import Message, StreamEvent
from copilot_cli.client.types import EventBody
from copilot_devstack.demo.crash import check_survival
from copilot_devstack.demo.provider import chooses_models
from copilot_devstack.demo.screen import NotAsPromised, Screen

ID = UUID(int=1)
START = {"type": "message_start", "message_id": str(ID)}
RESTART = {"type": "restart", "reason": "The worker was lost."}
END = {"type": "message_end", "message_id": str(ID)}


def delta(text: str) -> dict[str, object]:
    return {"type": "content_delta", "delta": {"text": text}}


def numbered(*bodies: object, skip: int = 0) -> list[StreamEvent]:
    """`skip` numbers are missing in front of the last event."""
    events = [
        StreamEvent(number, "", msgspec.convert(body, EventBody, strict=False)) for number, body in enumerate(bodies, 1)
    ]
    last = events[-1]
    return [*events[:-1], StreamEvent(last.number + skip, "", last.body)]


def message(content: str, status: str = "completed") -> Message:
    given = {"id": ID, "conversation_id": ID, "role": "assistant", "content": content, "status": status, "usage": None}
    more: dict[str, object] = {
        "model": None,
        "citations": [],
        "finish_reason": None,
        "created_at": "2026-01-01T00:00:00Z",
    }
    return msgspec.convert(given | more, Message)


def judge(events: list[StreamEvent], stored: Message) -> None:
    check_survival(Screen(Console(quiet=True)), events, stored)


def test_one_restart_and_the_stored_text_after_it_is_what_was_promised() -> None:
    judge(numbered(START, delta("a "), RESTART, delta("a "), delta("b"), END), message("a b"))


@pytest.mark.parametrize(
    ("events", "stored"),
    [
        (numbered(START, delta("a "), delta("b"), END), message("a b")),
        (numbered(START, RESTART, RESTART, delta("a b"), END), message("a b")),
        (numbered(START, RESTART, delta("a b"), END, skip=1), message("a b")),
        (numbered(START, RESTART, delta("a b")), message("a b")),
        (numbered(START, RESTART, delta("a b"), END), message("a b", "interrupted")),
        (numbered(START, delta("a "), RESTART, delta("b"), END), message("a b")),
    ],
    ids=["no restart", "two restarts", "a gap", "no end", "interrupted", "not begun again"],
)
def test_anything_else_fails_the_part(events: list[StreamEvent], stored: Message) -> None:
    with pytest.raises(NotAsPromised):
        judge(events, stored)


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "DEFAULT_MODEL"])
def test_a_provider_of_the_environment_keeps_the_other_parts(name: str) -> None:
    assert chooses_models({name: "x"})
    assert not chooses_models({name: "", "PATH": "/bin"})
