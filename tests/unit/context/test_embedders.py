"""Which embedders a process holds, and for how long."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from copilot_common.base.errors import SettingsError
from copilot_common.embedding import Embedded, EmbedderSpec, Purpose
from copilot_domain.context.reembedding.embedders import _MAX_OTHERS, Embedders, ModelUnavailable


class Fake:
    def __init__(self, name: str) -> None:
        self.spec = EmbedderSpec(name=name, dimensions=1, max_batch=1, max_batch_tokens=1, max_input_tokens=1)
        self.loads = 0
        self.is_closed = False
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        return Embedded(np.ones((len(texts), 1), np.float32))

    async def load(self) -> None:
        self.loads += 1
        if self.spec.name == "broken":
            raise ValueError

    async def aclose(self) -> None:
        self.is_closed = True
        self.closing.set()
        await self.may_close.wait()


class Factory:
    def __init__(self) -> None:
        self.built: list[Fake] = []

    def __call__(self, name: str) -> Fake:
        if name == "unknown":
            raise SettingsError("X is missing")
        self.built.append(Fake(name))
        return self.built[-1]


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def embedders(factory: Factory) -> Embedders:
    return Embedders(Fake("default"), factory)


async def test_the_default_is_never_built_anew(embedders: Embedders, factory: Factory) -> None:
    async with embedders.use() as first, embedders.use("default") as second:
        assert first is second
    assert factory.built == []


async def test_who_comes_together_shares_one(embedders: Embedders, factory: Factory) -> None:
    async def use() -> None:
        async with embedders.use("a"):
            pass

    await asyncio.gather(use(), use(), use())
    await use()
    assert [(made.spec.name, made.loads) for made in factory.built] == [("a", 1)]


async def test_those_not_used_for_longest_are_closed(embedders: Embedders, factory: Factory) -> None:
    for number in range(_MAX_OTHERS + 2):
        async with embedders.use(str(number)):
            pass
    assert [made.is_closed for made in factory.built] == [True, True] + [False] * _MAX_OTHERS
    async with embedders.use("0") as again:
        assert again is factory.built[-1]


async def test_one_in_use_is_not_closed(embedders: Embedders, factory: Factory) -> None:
    async with embedders.use("first"):
        for number in range(_MAX_OTHERS + 1):
            async with embedders.use(str(number)):
                pass
        assert not factory.built[0].is_closed
    await embedders.stop()
    assert all(made.is_closed for made in factory.built)


async def test_one_that_somebody_wants_while_others_are_closed_is_not_closed_under_their_hands(
    embedders: Embedders, factory: Factory
) -> None:
    for name in ("a", "b"):
        async with embedders.use(name):
            pass
    factory.built[0].may_close.clear()
    stopping = asyncio.create_task(embedders.stop())
    await factory.built[0].closing.wait()
    async with embedders.use("b") as used:
        factory.built[0].may_close.set()
        await stopping
        assert isinstance(used, Fake)
        assert not used.is_closed


async def test_what_is_not_configured_is_no_use_trying_again(embedders: Embedders) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        async with embedders.use("unknown"):
            pass
    assert not raised.value.retryable


@pytest.mark.parametrize(("pause_seconds", "tries"), [(3_600, 1), (0, 3)])
async def test_what_does_not_load_is_tried_again_after_a_pause(
    factory: Factory, pause_seconds: float, tries: int
) -> None:
    embedders = Embedders(Fake("default"), factory, pause_seconds=pause_seconds)
    for _ in range(3):
        with pytest.raises(ModelUnavailable) as raised:
            async with embedders.use("broken"):
                pass
        assert raised.value.retryable
    assert len(factory.built) == tries


async def test_without_a_builder_there_is_only_the_default() -> None:
    with pytest.raises(ModelUnavailable):
        async with Embedders(Fake("default")).use("a"):
            pass
