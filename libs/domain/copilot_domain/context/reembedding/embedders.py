"""The embedders of a process, by name: most tenants have the default's vectors, some another model's."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

from loguru import logger

from copilot_common.base.errors import ProviderError, SettingsError
from copilot_common.embedding import Embedder, EmbedderSpec

_MAX_OTHERS: Final = 3  # beside the default: a local model is 100 MB and more
_PAUSE_SECONDS: Final = 10.0


class ModelUnavailable(ProviderError):
    """No embedder of that name can be had here: it is not configured; or, where `retryable`, it does not load."""

    def __init__(self, model: str, *, retryable: bool = False) -> None:
        provider = model.partition("/")[0] if "/" in model else "local"
        super().__init__("The index's embedding model is not available here.", provider=provider, retryable=retryable)


@dataclass(slots=True)
class _Place:
    embedder: Embedder
    users: int = 0


class Embedders:
    """Others than the default are built and loaded at their first use, off the loop, and closed when they were not used
    for longest; one that is in use stays. `build` raises SettingsError for what is not configured; without it there
    are no others. `describe` tells what one is like without building it, None where it does not know. One that did not
    load is tried again after `pause_seconds` at the earliest."""

    def __init__(
        self,
        default: Embedder,
        build: Callable[[str], Embedder] | None = None,
        describe: Callable[[str], EmbedderSpec | None] | None = None,
        *,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._default = default
        self._build = build
        self._describe = describe
        self._others: OrderedDict[str, _Place] = OrderedDict()
        self._building = asyncio.Lock()
        self._pause_seconds = pause_seconds
        self._failed_at: dict[str, float] = {}

    @property
    def default(self) -> EmbedderSpec:
        return self._default.spec

    def spec(self, name: str) -> EmbedderSpec:
        """What the one is like whose vectors are stored under that name, whether or not it can be had here; as the
        default where nothing is known of it."""
        described = self._describe(name) if self._describe is not None else None
        return described or self._default.spec

    @asynccontextmanager
    async def use(self, name: str | None = None) -> AsyncIterator[Embedder]:
        """The default's, or the one whose vectors are stored under that name. Raises ModelUnavailable."""
        if name is None or name == self._default.spec.name:
            yield self._default
            return
        place = await self._place(name)
        place.users += 1
        try:
            yield place.embedder
        finally:
            place.users -= 1
            await self._close_idle(keep=_MAX_OTHERS)

    async def start(self) -> None:
        """The default is loaded before the first job, not by it."""
        await self._default.load()

    async def stop(self) -> None:
        await self._close_idle(keep=0)
        await self._default.aclose()

    async def _place(self, name: str) -> _Place:
        if name not in self._others:
            async with self._building:
                if name not in self._others:
                    self._others[name] = _Place(await self._open(name))
        self._others.move_to_end(name)
        return self._others[name]

    async def _open(self, name: str) -> Embedder:
        if self._build is None:
            raise ModelUnavailable(name)
        self._check_pause(name)
        try:
            embedder = await asyncio.to_thread(self._build, name)
            await embedder.load()
        except Exception as error:  # whatever a model's library raises
            logger.bind(error_type=type(error).__name__).warning("An embedder that an index needs cannot be had")
            is_configured = not isinstance(error, SettingsError)
            if is_configured:
                self._failed_at[name] = monotonic()
            raise ModelUnavailable(name, retryable=is_configured) from None
        return embedder

    def _check_pause(self, name: str) -> None:
        """Loading takes seconds and 100 MB: not for each of many jobs that come one after the other."""
        now = monotonic()
        self._failed_at = {known: at for known, at in self._failed_at.items() if now - at < self._pause_seconds}
        if name in self._failed_at:
            raise ModelUnavailable(name, retryable=True)

    async def _close_idle(self, *, keep: int) -> None:
        idle = [name for name, place in self._others.items() if not place.users]
        # All are out of reach before the first is waited for: somebody may want the second meanwhile.
        leaving = [self._others.pop(name) for name in idle[: max(0, len(self._others) - keep)]]
        for place in leaving:
            await place.embedder.aclose()
