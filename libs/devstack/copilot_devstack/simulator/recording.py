"""What the simulator remembers of requests, so that a test can see what really went over the wire."""

import asyncio
from collections import OrderedDict, deque
from typing import Literal

import msgspec

from copilot_devstack.simulator.http import Request
from copilot_devstack.simulator.wire import Ask

State = Literal["answering", "finished", "faulted", "disconnected"]

# A benchmark sends millions of requests, some with megabytes in them: remember the last few, the small ones whole.
_MAX_REQUESTS = 1_000
_MAX_BODY_BYTES = 262_144
_MAX_MODELS = 10_000
_CREDENTIALS = frozenset({"authorization", "x-api-key", "x-goog-api-key"})


class Recorded(msgspec.Struct):
    format: str
    path: str
    model: str
    key: str
    connection: int
    headers: dict[str, str]
    body: msgspec.Raw
    state: State = "answering"


class Recorder:
    """Keeps the newest requests and lets a caller wait for one to come to a state."""

    def __init__(self) -> None:
        self._requests: deque[Recorded] = deque(maxlen=_MAX_REQUESTS)
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._changed = asyncio.Event()
        self.total = 0
        self.active = 0

    def begin(self, format_name: str, ask: Ask, key: str, request: Request) -> Recorded:
        kept = request.body if len(request.body) <= _MAX_BODY_BYTES else b"null"
        headers = {name: value for name, value in request.headers.items() if name not in _CREDENTIALS}
        recorded = Recorded(format_name, request.path, ask.model, key, request.connection, headers, msgspec.Raw(kept))
        self._requests.append(recorded)
        self.total += 1
        self.active += 1
        return recorded

    def end(self, recorded: Recorded, state: State) -> None:
        recorded.state = state
        self.active -= 1
        self._changed.set()

    def occurrence(self, format_name: str, model: str) -> int:
        """How many requests with this model id came before."""
        name = f"{format_name} {model}"
        seen = self._seen.pop(name, 0)
        self._seen[name] = seen + 1
        if len(self._seen) > _MAX_MODELS:
            self._seen.popitem(last=False)
        return seen

    def matching(self, key: str | None) -> list[Recorded]:
        return [recorded for recorded in self._requests if key is None or recorded.key == key]

    async def wait(self, key: str | None, state: str, seconds: float) -> list[Recorded]:
        """Those in `state`, as soon as there is one; empty when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := [recorded for recorded in self.matching(key) if recorded.state == state]):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            return []
