"""A run's events over connections that break."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import pytest

from copilot_cli.client.errors import ApiError
from copilot_cli.client.run_streams import RunStream

Piece = bytes | Exception

EVENTS = [b'id: %d\ndata: {"type":"step_started","path":"s%d"}\n\n' % (n, n) for n in range(1, 5)]
DONE = b"data: [DONE]\n\n"
CUT = httpx.ReadError("cut")
REFUSED = httpx.ConnectError("refused")


class Server:
    """Serves one script per connection; notes what each asked for."""

    def __init__(self, *scripts: Sequence[Piece] | Exception) -> None:
        self._scripts = list(scripts)
        self.asked: list[int] = []
        self.waits: list[float] = []
        self.connected: list[bool] = []

    def numbers(self) -> list[int]:
        stream = RunStream(self._serve, connected=self.connected.append, wait=self.waits.append)
        return [event.number for event in stream]

    @contextmanager
    def _serve(self, after: int) -> Iterator[Iterator[bytes]]:
        self.asked.append(after)
        script = self._scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        yield self._pieces(script)

    def _pieces(self, script: Sequence[Piece]) -> Iterator[bytes]:
        for piece in script:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.mark.parametrize("ending", [[CUT], []], ids=["an error", "a silent end"])
def test_after_a_cut_it_reads_on_behind_the_last_number(ending: list[Piece]) -> None:
    server = Server([*EVENTS[:2], *ending], REFUSED, [*EVENTS[2:], DONE])
    assert server.numbers() == [1, 2, 3, 4]
    assert server.asked == [0, 2, 2]
    assert server.connected == [False, False, True]


def test_what_comes_twice_or_too_early_is_not_shown() -> None:
    server = Server([EVENTS[0], EVENTS[2], DONE], [*EVENTS, DONE])
    assert server.numbers() == [1, 2, 3, 4]
    assert server.asked == [0, 1]


def test_a_server_that_was_never_reached_is_not_waited_for() -> None:
    server = Server(REFUSED)
    with pytest.raises(httpx.ConnectError):
        server.numbers()
    assert server.waits == []


def test_one_that_stays_away_is_given_up_after_a_while() -> None:
    server = Server(EVENTS[:1], *[REFUSED] * 20)
    with pytest.raises(httpx.ConnectError):
        server.numbers()
    assert server.waits == sorted(server.waits)
    assert 20 < sum(server.waits) < 120


def test_connections_that_bring_something_are_not_counted() -> None:
    server = Server(*[[event] for event in EVENTS] * 1, *[[]] * 5, [DONE])
    assert server.numbers() == [1, 2, 3, 4]


def test_a_refusal_is_final_and_a_server_that_starts_is_not() -> None:
    def refusal(code: str) -> ApiError:
        return ApiError(status=400, code=code, message="No.")

    assert Server(EVENTS[:2], refusal("UNAVAILABLE"), [*EVENTS[2:], DONE]).numbers() == [1, 2, 3, 4]
    with pytest.raises(ApiError, match="UNAUTHORIZED"):
        Server(EVENTS[:2], refusal("UNAUTHORIZED")).numbers()
