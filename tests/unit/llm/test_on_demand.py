import asyncio
import threading

import pytest

from copilot_common.base.errors import SettingsError
from copilot_common.llm.on_demand import OnDemand
from copilot_common.llm.protocol import ChatModel
from unit.llm.fakes import ANSWER, REQUEST, FakeModel


async def test_callers_that_come_together_share_one_model() -> None:
    made: list[FakeModel] = []

    def create() -> ChatModel:
        made.append(FakeModel(ANSWER, ANSWER, ANSWER))
        return made[-1]

    model = OnDemand("fake", create)
    assert made == []
    await asyncio.gather(*(model.complete(REQUEST) for _ in range(3)))
    assert [fake.calls for fake in made] == [3]


async def test_a_caller_that_gives_up_does_not_stop_the_making_for_others() -> None:
    go = threading.Event()

    def create() -> ChatModel:
        go.wait(10)
        return FakeModel(ANSWER)

    model = OnDemand("fake", create)
    impatient, patient = asyncio.create_task(model.prepare()), asyncio.create_task(model.complete(REQUEST))
    await asyncio.sleep(0)
    impatient.cancel()
    go.set()
    assert (await patient).text == "hi"
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_a_failed_making_is_tried_again() -> None:
    results: list[SettingsError | FakeModel] = [SettingsError("no"), FakeModel(ANSWER)]

    def create() -> ChatModel:
        result = results.pop(0)
        if isinstance(result, SettingsError):
            raise result
        return result

    model = OnDemand("fake", create)
    with pytest.raises(SettingsError):
        await model.complete(REQUEST)
    assert (await model.complete(REQUEST)).text == "hi"
