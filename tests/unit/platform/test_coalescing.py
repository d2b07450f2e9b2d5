"""What several ask for at the same time is done for all of them at once, and one's fault is not another's."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from copilot_common.platform.coalescing import Coalesced, CoalescedEach, Grouped, Waiting
from support.clients import eventually

LONG = 600.0  # seconds

trace: ContextVar[str] = ContextVar("trace")


async def test_calls_of_the_same_turn_are_one_and_a_later_one_is_another() -> None:
    calls: list[list[int]] = []

    async def call(parts: Sequence[int]) -> int:
        calls.append(list(parts))
        return sum(parts)

    coalesced = Coalesced(call)
    assert await asyncio.gather(*(coalesced(number) for number in (1, 2, 3))) == [6, 6, 6]
    assert await coalesced(4) == 4
    assert calls == [[1, 2, 3], [4]]


async def test_what_comes_while_a_call_runs_is_the_next_call() -> None:
    gate, calls = asyncio.Event(), list[list[int]]()

    async def call(parts: Sequence[int]) -> int:
        calls.append(list(parts))
        await gate.wait()
        return sum(parts)

    coalesced = Coalesced(call)
    first = asyncio.create_task(coalesced(1))
    await _until(lambda: calls == [[1]])
    second = asyncio.create_task(coalesced(2))
    await _until(lambda: calls == [[1], [2]])
    gate.set()
    assert (await first, await second) == (1, 2)


async def test_a_fault_is_everybodys_and_not_the_next_calls() -> None:
    async def call(parts: Sequence[int]) -> int:
        return 1 // min(parts)

    coalesced = Coalesced(call)
    outcomes = await asyncio.gather(coalesced(0), coalesced(1), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 2
    assert await coalesced(1) == 1


async def test_one_who_no_longer_waits_does_not_end_it_for_the_others() -> None:
    gate = asyncio.Event()

    async def call(parts: Sequence[int]) -> int:
        await gate.wait()
        return sum(parts)

    coalesced = Coalesced(call)
    leaving, staying = asyncio.create_task(coalesced(1)), asyncio.create_task(coalesced(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.set()
    assert await staying == 3


async def test_each_part_has_its_own_result_or_fault() -> None:
    calls: list[list[int]] = []

    async def call(parts: Sequence[int]) -> Sequence[float | BaseException]:
        calls.append(list(parts))
        return [1 / part if part else ZeroDivisionError() for part in parts]

    each = CoalescedEach(call)
    outcomes = await asyncio.gather(each(1), each(0), each(4), each(1), return_exceptions=True)
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert [outcomes[place] for place in (0, 2, 3)] == [1, 0.25, 1]
    begun = each(2)  # awaited later, begun now
    await asyncio.sleep(0)
    assert calls == [[1, 0, 4, 1], [2]]
    assert await begun == 0.5


class Groups:
    """Grouped questions whose answers are themselves with their key; `hold` keeps those of a question until `free`."""

    def __init__(
        self,
        *,
        most: int = 8,
        patience_seconds: float = LONG,
        at_once: int = 4,
        return_seconds: float = LONG,
        together_seconds: float = LONG,
    ) -> None:
        self.groups: list[list[str]] = []
        self.held: dict[str, asyncio.Event] = {}
        self.grouped = Grouped(
            self._answer,
            most=most,
            patience_seconds=patience_seconds,
            at_once=at_once,
            return_seconds=return_seconds,
            together_seconds=together_seconds,
        )

    def ask(self, question: str, key: str = "a") -> "asyncio.Task[str]":
        return asyncio.create_task(self.grouped.ask(key, question))

    def is_at(self, group: list[str]) -> bool:
        return self.groups[-1:] == [group]

    def hold(self, question: str) -> None:
        self.held[question] = asyncio.Event()

    def free(self, question: str) -> None:
        self.held.pop(question).set()

    async def _answer(self, key: str, group: Sequence[Waiting[str, str]]) -> None:
        self.groups.append([one.question for one in group])
        for one in group:
            if one.question in self.held:
                await self.held[one.question].wait()
            if one.question == "bad":
                one.refuse(KeyError(one.question))
            elif one.question == "fatal":
                raise ValueError(key)
            else:
                one.reply(f"{key} {one.question}")


async def _until(is_so: Callable[[], bool]) -> None:
    async def look() -> bool:
        return is_so()

    await eventually(look)


async def test_those_that_come_meanwhile_are_answered_together() -> None:
    one = Groups(most=3)
    one.hold("1")
    asked = [one.ask("1")]
    await _until(lambda: one.groups == [["1"]])
    asked += [one.ask(question) for question in "23456"]
    await asyncio.sleep(0)
    one.free("1")
    assert await asyncio.gather(*asked) == [f"a {question}" for question in "123456"]
    assert one.groups == [["1"], ["2", "3", "4"], ["5", "6"]]


async def test_other_keys_do_not_wait() -> None:
    one = Groups()
    one.hold("1")
    held = one.ask("1")
    assert await one.ask("2", key="b") == "b 2"
    one.free("1")
    assert await held == "a 1"


async def test_a_slow_group_does_not_hold_up_the_next_but_for_the_last_that_may_run() -> None:
    one = Groups(patience_seconds=0.001, at_once=2)
    for question in "12":
        one.hold(question)
    first = one.ask("1")
    await _until(lambda: one.groups == [["1"]])
    second = one.ask("2")
    await _until(lambda: one.groups == [["1"], ["2"]])
    third = one.ask("3")
    await asyncio.sleep(0.01)  # many times its patience
    assert one.groups == [["1"], ["2"]]
    one.free("1")
    assert (await first, await third) == ("a 1", "a 3")
    one.free("2")
    assert await second == "a 2"


async def test_the_next_group_begins_when_the_first_of_one_is_answered() -> None:
    one = Groups()
    for question in "12":
        one.hold(question)
    asked = [one.ask(question) for question in "12"]
    await _until(lambda: one.groups == [["1", "2"]])
    third = one.ask("3")
    one.free("1")
    assert (await asked[0], await third) == ("a 1", "a 3")
    one.free("2")
    assert await asked[1] == "a 2"


async def test_each_gets_its_own_fault_and_all_what_ends_their_group_before_they_are_answered() -> None:
    one = Groups()
    outcomes = await asyncio.gather(*(one.ask(word) for word in ("1", "bad", "fatal", "2")), return_exceptions=True)
    assert outcomes[0] == "a 1"
    assert [type(outcome) for outcome in outcomes[1:]] == [KeyError, ValueError, ValueError]


async def test_who_no_longer_waits_is_not_answered_and_nothing_is_left() -> None:
    one = Groups()
    one.hold("1")
    first = one.ask("1")
    await _until(lambda: one.groups == [["1"]])
    leaving, staying = one.ask("2"), one.ask("3")
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    one.free("1")
    assert (await first, await staying) == ("a 1", "a 3")
    assert one.groups == [["1"], ["3"]]
    await _until(lambda: not one.grouped._lines and not one.grouped._servers)


@pytest.mark.parametrize("leaves", ["1", "2"])
async def test_a_group_is_answered_although_one_of_it_leaves(leaves: str) -> None:
    one = Groups()
    one.hold("2")
    asked = {question: one.ask(question) for question in "12"}
    await _until(lambda: one.groups == [["1", "2"]])
    asked.pop(leaves).cancel()
    one.free("2")
    ((question, task),) = asked.items()
    assert await task == f"a {question}"


async def test_a_later_group_is_answered_in_the_context_of_one_of_its_own_askers() -> None:
    gate, seen = asyncio.Event(), list[tuple[list[str], str]]()

    async def answer(key: str, group: Sequence[Waiting[str, str]]) -> None:
        seen.append(([one.question for one in group], trace.get()))
        await gate.wait()
        for one in group:
            one.reply(one.question)

    grouped = Grouped(answer, most=2, patience_seconds=LONG, at_once=1, return_seconds=0, together_seconds=0)

    async def ask(question: str) -> str:
        trace.set(f"of {question}")
        return await grouped.ask("a", question)

    asked = [asyncio.create_task(ask("1"))]
    await _until(lambda: len(seen) == 1)
    asked += [asyncio.create_task(ask(question)) for question in "23"]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*asked)
    assert seen == [(["1"], "of 1"), (["2", "3"], "of 2")]


async def test_where_all_that_waited_have_left_nothing_is_answered() -> None:
    one = Groups()
    one.hold("1")
    first = one.ask("1")
    await _until(lambda: one.groups == [["1"]])
    leaving = [one.ask(question) for question in "23"]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    one.free("1")
    assert await first == "a 1"
    await _until(lambda: not one.grouped._lines and not one.grouped._servers)
    assert one.groups == [["1"]]


async def test_nobody_waits_for_a_group_that_was_broken_off() -> None:
    async def answer(key: str, group: Sequence[Waiting[str, str]]) -> None:
        group[0].reply(key)
        raise asyncio.CancelledError

    grouped = Grouped(answer, most=8, patience_seconds=LONG, at_once=4, return_seconds=0, together_seconds=0)
    asked = [asyncio.create_task(grouped.ask("a", question)) for question in "123"]
    _, waiting = await asyncio.wait(asked, timeout=10)
    assert not waiting
    assert asked[0].result() == "a"
    assert [task.cancelled() for task in asked[1:]] == [True, True]


async def _take_turns(one: Groups, *, rounds: int = 2, after_seconds: float = 0) -> None:
    """Of three askers two are answered together, and ask again after this time while the third is answered, and so on:
    at last `e` and `f` wait for `d`, which is held."""
    turns = [("1", "23"), *[(f"{turn}", "xy") for turn in range(4, rounds + 3)], ("d", "ef")]
    await _begin(one, *turns[0])
    for (single, pair), (next_single, next_pair) in pairwise(turns):
        one.hold(pair[0])
        one.free(single)
        await _until(partial(one.is_at, list(pair)))
        await _begin(one, next_single, next_pair, instead_of=pair[0], after_seconds=after_seconds)
    one.groups.clear()


async def _begin(
    one: Groups, single: str, pair: str, *, instead_of: str | None = None, after_seconds: float = 0
) -> None:
    """`single` is asked and held, alone, once that is free; the pair waits."""
    one.hold(single)
    one.ask(single)
    await asyncio.sleep(0)
    if instead_of is not None:
        one.free(instead_of)
    await _until(partial(one.is_at, [single]))
    loop = asyncio.get_running_loop()
    again_at = loop.time() + after_seconds
    await _until(lambda: loop.time() > again_at)
    for question in pair:
        one.ask(question)
        await asyncio.sleep(0)


async def test_those_that_ask_again_at_once_are_waited_for_and_answered_with_those_that_wait() -> None:
    one = Groups()
    await _take_turns(one)
    one.free("d")
    await _settle()
    assert one.groups == []  # it waits for the third
    assert await one.ask("g") == "a g"
    assert one.groups == [["e", "f", "g"]]
    asked = []
    for question in "hij":  # all three were answered, all three ask again
        asked.append(one.ask(question))
        await _settle()
    await asyncio.gather(*asked)
    assert one.groups == [["e", "f", "g"], ["h", "i", "j"]]


async def test_who_does_not_ask_again_is_waited_for_once() -> None:
    one = Groups()
    await _take_turns(one)
    one.grouped._lines["a"].returns.within_seconds = 0.1
    one.hold("e")
    one.free("d")
    await _settle()
    assert one.groups == []
    await _until(lambda: one.groups == [["e", "f"]])
    last = one.ask("g")
    await asyncio.sleep(0)
    one.free("e")
    await _settle()
    assert one.groups == [["e", "f"], ["g"]]
    await last
    await _until(lambda: not one.grouped._lines and not one.grouped._servers)


async def test_where_all_leave_that_wait_for_those_to_come_nothing_is_answered_or_left() -> None:
    one = Groups()
    await _take_turns(one)
    one.grouped._lines["a"].returns.within_seconds = 0.1
    leaving = [asked.future for asked in one.grouped._lines["a"].waiting]
    one.free("d")
    await _settle()
    for future in leaving:
        future.cancel()
    await _until(lambda: not one.grouped._lines and not one.grouped._servers)
    assert one.groups == []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"together_seconds": 0}, id="those that asked again came one by one"),
        pytest.param({"most": 2}, id="who waits and who may come are more than a group"),
    ],
)
async def test_nobody_is_waited_for_where(how: dict[str, Any]) -> None:
    one = Groups(**how)
    await _take_turns(one)
    one.free("d")
    await _settle()
    assert one.groups == [["e", "f"]]


async def test_nobody_is_waited_for_who_once_asked_again() -> None:
    one = Groups()
    await _take_turns(one, rounds=1)
    one.free("d")
    await _settle()
    assert one.groups == [["e", "f"]]


async def test_those_that_ask_again_late_are_not_waited_for() -> None:
    one = Groups(return_seconds=0.1)
    await _take_turns(one, after_seconds=0.1)
    one.free("d")
    await _settle()
    assert one.groups == [["e", "f"]]


async def _settle() -> None:
    """Until whatever can go on without time passing has."""
    for _ in range(20):
        await asyncio.sleep(0)
