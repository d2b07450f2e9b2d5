"""Putting a question and following its answer; an interrupted one is cancelled where it is being written."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from copilot_cli.client import AnswerStream, ApiClient, ApiError, Message, Question, StreamEvent

ShowText = Callable[[str], None]

RESTARTED = "\n(the answer begins again)\n"


@dataclass(frozen=True)
class Answered:
    message: Message
    seconds: float


def ask_at_once(client: ApiClient, conversation_id: UUID, question: Question) -> Answered:
    began = time.monotonic()
    message = client.ask(conversation_id, question)
    return Answered(message, time.monotonic() - began)


def ask_streamed(client: ApiClient, conversation_id: UUID, question: Question, show: ShowText) -> Answered:
    """Raises ApiError when the answer ends in an error, KeyboardInterrupt after it was cancelled."""
    began = time.monotonic()
    stream = client.ask_streamed(conversation_id, question)
    try:
        _follow(stream, show)
    except KeyboardInterrupt:
        _cancel(client, conversation_id, stream)
        raise
    seconds = time.monotonic() - began
    if stream.message_id is None:
        raise ApiError(status=200, code="UNEXPECTED_ANSWER", message="The stream ended without an answer.")
    return Answered(client.message(conversation_id, stream.message_id), seconds)


def _follow(events: Iterable[StreamEvent], show: ShowText) -> None:
    for event in events:
        body = event.body
        if body.delta is not None:
            show(body.delta.text)
        elif body.type == "restart":
            show(RESTARTED)
        elif body.type == "error":
            raise ApiError(status=200, code=body.code or "INTERNAL_ERROR", message=body.error or "The answer failed.")


def _cancel(client: ApiClient, conversation_id: UUID, stream: AnswerStream) -> None:
    """Waits until the answer has ended, so that the next question is not refused."""
    if stream.message_id is None:
        return  # not begun, as far as we know
    with suppress(ApiError):  # it may just have ended by itself
        client.cancel(conversation_id, stream.message_id)
        for _ in client.replay(conversation_id, stream.message_id, after=stream.last_number):
            pass
