"""Work that several ask for at the same time, done for all of them at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Part = TypeVar("Part")
Whole = TypeVar("Whole")
Key = TypeVar("Key")
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Coalesced(Generic[Part, Whole]):
    """A function of many parts: what tasks ask of it in the same turn of the event loop is one call (the pattern of
    Facebook's DataLoader). Each gets the whole result, or the exception, and takes its part."""

    def __init__(self, call: Callable[[Sequence[Part]], Awaitable[Whole]]) -> None:
        self._call = call
        self._parts: list[Part] = []
        self._next: asyncio.Task[Whole] | None = None

    async def __call__(self, part: Part) -> Whole:
        self._parts.append(part)
        if self._next is None:
            # Its first step comes after those of all tasks that are ready now: they may add parts of theirs.
            self._next = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)  # who no longer waits must not end it for the others

    async def _run(self) -> Whole:
        parts, self._parts, self._next = self._parts, [], None
        return await self._call(parts)


@dataclass(slots=True)
class _Line(Generic[Question, Answer]):
    waiting: deque[tuple[Question, asyncio.Future[Answer]]] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)


class Grouped(Generic[Key, Question, Answer]):
    """Questions with the same key that come while others are being answered wait, and are answered together.

    `answer_all` gives an answer, or a refusal, for each question, in their order; what it raises, all get. It has at
    most `most` questions and runs in the context of one of their askers. One that takes longer than `patience_seconds`
    does not hold up the next; at most `at_once` run for a key.
    """

    def __init__(
        self,
        answer_all: Callable[[Key, Sequence[Question]], Awaitable[Sequence[Answer | BaseException]]],
        *,
        most: int,
        patience_seconds: float,
        at_once: int,
    ) -> None:
        self._answer_all = answer_all
        self._most = most
        self._patience_seconds = patience_seconds
        self._at_once = at_once
        self._lines: dict[Key, _Line[Question, Answer]] = {}
        self._servers: set[asyncio.Task[None]] = set()

    async def ask(self, key: Key, question: Question) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
            server = asyncio.create_task(self._serve(key, line))
            self._servers.add(server)
            server.add_done_callback(self._servers.discard)
        line.waiting.append((question, answer))
        return await answer

    async def _serve(self, key: Key, line: _Line[Question, Answer]) -> None:
        """Until nobody waits and nothing runs."""
        try:
            while line.waiting or line.running:
                if line.waiting and len(line.running) < self._at_once:
                    group = [line.waiting.popleft() for _ in range(min(len(line.waiting), self._most))]
                    task = asyncio.create_task(self._answer(key, [one for one in group if not one[1].done()]))
                    line.running.add(task)
                    task.add_done_callback(line.running.discard)
                await asyncio.wait(line.running, timeout=self._patience_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._lines[key]

    async def _answer(self, key: Key, group: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._answer_all(key, [question for question, _ in group])
        except Exception as error:
            answers = [error] * len(group)
        for (_, asked), answer in zip(group, answers, strict=True):
            if asked.done():  # nobody waits for it any more
                continue
            if isinstance(answer, BaseException):
                asked.set_exception(answer)
            else:
                asked.set_result(answer)
