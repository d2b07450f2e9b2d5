"""An answer's stream over connections that break."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import httpx
import pytest

from copilot_cli.client.errors import ApiError
from copilot_cli.client.streams import AnswerStream

MESSAGE = UUID(int=7)
Piece = bytes | Exception

START = b'id: 1\ndata: {"type":"message_start","message_id":"%s"}\n\n' % str(MESSAGE).encode()
TEXT = [b'id: %d\ndata: {"type":"content_delta","delta":{"text":"t%d"}}\n\n' % (n, n) for n in range(2, 5)]
END = b'id: 5\ndata: {"type":"message_end","finish_reason":"stop"}\n\ndata: [DONE]\n\n'
WHOLE = [START, *TEXT, END]
CUT = httpx.ReadError("cut")


class Server:
    """Serves one script per connection; notes what each asked for."""

    def __init__(self, *scripts: Sequence[Piece] | Exception) -> None:
        self._scripts = list(scripts)
        self.asked: list[str] = []
        self.waits: list[float] = []

    def stream(self) -> AnswerStream:
        return AnswerStream(
            begin=lambda: self._serve("begin"),
            resume=lambda message_id, after: self._serve(f"resume {message_id.int} after {after}"),
            wait=self.waits.append,
        )

    @contextmanager
    def _serve(self, asked: str) -> Iterator[Iterator[bytes]]:
        self.asked.append(asked)
        script = self._scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        yield self._pieces(script)

    def _pieces(self, script: Sequence[Piece]) -> Iterator[bytes]:
        for piece in script:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def numbers(server: Server) -> list[int]:
    return [event.number for event in server.stream()]


def test_a_whole_stream_is_read_over_one_connection() -> None:
    server = Server(WHOLE)
    assert numbers(server) == [1, 2, 3, 4, 5]
    assert server.asked == ["begin"]


@pytest.mark.parametrize("ending", [[CUT], []], ids=["an error", "a silent end"])
def test_after_a_cut_it_reads_on_behind_the_last_number(ending: list[Piece]) -> None:
    server = Server([*WHOLE[:3], *ending], WHOLE[3:])
    assert numbers(server) == [1, 2, 3, 4, 5]
    assert server.asked == ["begin", "resume 7 after 3"]


def test_events_that_come_twice_are_shown_once() -> None:
    assert numbers(Server([*WHOLE[:3], CUT], WHOLE)) == [1, 2, 3, 4, 5]


def test_a_missing_number_is_fetched() -> None:
    server = Server([WHOLE[0], WHOLE[2]], WHOLE[1:])
    assert numbers(server) == [1, 2, 3, 4, 5]
    assert server.asked[1] == "resume 7 after 1"


def test_a_cut_before_the_first_event_sends_the_question_again() -> None:
    server = Server([CUT], WHOLE)
    assert numbers(server) == [1, 2, 3, 4, 5]
    assert server.asked == ["begin", "begin"]


def test_a_server_that_restarts_is_waited_for() -> None:
    away = [httpx.ConnectError("refused"), ApiError(status=503, code="UNAVAILABLE", message="not ready")]
    server = Server([*WHOLE[:2], CUT], *away, WHOLE[2:])
    assert numbers(server) == [1, 2, 3, 4, 5]
    assert server.waits == sorted(server.waits)
    assert len(server.waits) == 3


def test_a_server_that_was_never_reached_is_not_waited_for() -> None:
    server = Server(httpx.ConnectError("refused"), WHOLE)
    with pytest.raises(httpx.ConnectError):
        numbers(server)
    assert server.waits == []


@pytest.mark.parametrize("code", ["NOT_FOUND", "VALIDATION_ERROR", "UNAVAILABLE"])
def test_a_refused_question_is_not_asked_again(code: str) -> None:
    server = Server(ApiError(status=400, code=code, message="no"), WHOLE)
    with pytest.raises(ApiError, match=code):
        numbers(server)
    assert server.asked == ["begin"]


def test_progress_between_cuts_renews_the_patience() -> None:
    ten_cuts: list[list[Piece]] = []
    for number in range(1, 11):
        event = b'id: %d\ndata: {"type":"ping","message_id":"%s"}\n\n' % (number, str(MESSAGE).encode())
        ten_cuts.append([event, CUT])
    assert numbers(Server(*ten_cuts, [b"data: [DONE]\n\n"])) == list(range(1, 11))


def test_without_progress_it_gives_up_and_says_so() -> None:
    server = Server(WHOLE[:1], *([[]] * 20))
    with pytest.raises(ApiError, match="again and again"):
        numbers(server)
    assert len(server.asked) < 10


def test_an_unknown_event_is_no_obstacle() -> None:
    odd = b'id: 2\ndata: {"type":"something_new","value":[1,2]}\n\n'
    assert numbers(Server([START, odd, b"data: [DONE]\n\n"])) == [1, 2]
