"""Work that several ask for at the same time, done for all of them at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

Part = TypeVar("Part")
Whole = TypeVar("Whole")
One = TypeVar("One")
Key = TypeVar("Key")
Question = TypeVar("Question")
Answer = TypeVar("Answer")


_SIGNS: Final = 2  # one is often chance


class Coalesced(Generic[Part, Whole]):
    """A function of many parts: what tasks ask of it in the same turn of the event loop is one call (the pattern of
    Facebook's DataLoader). Each gets the whole result, or the exception, and takes its part.

    The call goes on when nobody waits for it any more: it must bound its own time.
    """

    def __init__(self, call: Callable[[Sequence[Part]], Awaitable[Whole]]) -> None:
        self._call = call
        self._parts: list[Part] = []
        self._next: asyncio.Task[Whole] | None = None

    async def __call__(self, part: Part) -> Whole:
        whole, _ = self.begin(part)
        return await whole

    def begin(self, part: Part) -> tuple[asyncio.Future[Whole], int]:
        """The whole to come, and the part's place among its parts."""
        self._parts.append(part)
        if self._next is None:
            # Its first step comes after those of all tasks that are ready now: they may add parts of theirs.
            self._next = asyncio.create_task(self._run())
        # Who no longer waits must not end it for the others.
        return asyncio.shield(self._next), len(self._parts) - 1

    async def _run(self) -> Whole:
        parts, self._parts, self._next = self._parts, [], None
        return await self._call(parts)


@dataclass(frozen=True, slots=True)
class _Share(Awaitable[One]):
    results: asyncio.Future[Sequence[One | BaseException]]
    place: int

    def __await__(self) -> Generator[Any, None, One]:
        result = (yield from self.results)[self.place]
        if isinstance(result, BaseException):
            raise result
        return result


class CoalescedEach(Generic[Part, One]):
    """The same for a function that gives a result for each part, in their order, or the exception of that part."""

    def __init__(self, call: Callable[[Sequence[Part]], Awaitable[Sequence[One | BaseException]]]) -> None:
        self._all = Coalesced(call)

    def __call__(self, part: Part) -> Awaitable[One]:
        """Begins whether or not it is awaited."""
        return _Share(*self._all.begin(part))


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[Question, Answer]):
    """A question, where its answer goes, and the context in which it was asked."""

    question: Question
    future: asyncio.Future[Answer]
    context: Context = field(default_factory=copy_context)

    @property
    def is_over(self) -> bool:
        """Answered, or given up by its asker."""
        return self.future.done()

    @property
    def is_answered(self) -> bool:
        """Also where the answer is a refusal."""
        return self.is_over and not self.future.cancelled()

    def reply(self, answer: Answer) -> None:
        if not self.is_over:
            self.future.set_result(answer)

    def refuse(self, error: BaseException) -> None:
        if not self.is_over:
            self.future.set_exception(error)


@dataclass(slots=True)
class _Returns:
    """Whether those that are answered together ask again at once, and together: as the workers of a program do, and
    people don't. Who asks is not looked at, only how many do, and when."""

    within_seconds: float
    together_seconds: float
    signs: int = 0  # that they do, one after the other
    answered: int = 0  # last
    missing: int = 0  # of as many questions
    until: float = 0.0  # when these are no longer expected, and when the first came, by the event loop's clock
    first_at: float = 0.0
    have_come: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def are_expected(self) -> bool:
        return self.signs >= _SIGNS and self.missing > 0

    def expect(self, answered: int) -> None:
        """As many were answered now."""
        self.answered = self.missing = answered
        self.until = asyncio.get_running_loop().time() + self.within_seconds
        self.have_come.clear()

    def note(self) -> None:
        """A question has come."""
        if not self.missing:
            return
        now = asyncio.get_running_loop().time()
        if self.missing == self.answered:
            self.first_at = now
        self.missing -= 1
        if not self.missing:
            self.have_come.set()
            # One is always together; and who is expected is so until he does not come.
            if self.answered > 1 and self.signs < _SIGNS:
                is_sign = now <= min(self.until, self.first_at + self.together_seconds)
                self.signs = self.signs + 1 if is_sign else 0

    async def wait(self) -> None:
        """Until all have come that are expected, or don't come in time."""
        try:
            async with asyncio.timeout_at(self.until):
                await self.have_come.wait()
        except TimeoutError:
            self.signs = self.missing = 0


@dataclass(slots=True)
class _Line(Generic[Question, Answer]):
    most: int
    returns: _Returns
    waiting: deque[Waiting[Question, Answer]] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    def add(self, asked: Waiting[Question, Answer]) -> None:
        self.waiting.append(asked)
        self.returns.note()

    def note_answers(self, group: Sequence[Waiting[Question, Answer]]) -> None:
        answered = sum(asked.is_answered for asked in group)
        if answered:
            self.returns.expect(answered)

    @property
    def grows(self) -> bool:
        """Whether some are expected to come, and will be in one group with those that wait."""
        return self.returns.are_expected and len(self.waiting) + self.returns.missing <= self.most

    def take(self) -> list[Waiting[Question, Answer]]:
        """Of those that still wait."""
        group: list[Waiting[Question, Answer]] = []
        while self.waiting and len(group) < self.most:
            asked = self.waiting.popleft()
            if not asked.is_over:
                group.append(asked)
        return group


class Grouped(Generic[Key, Question, Answer]):
    """Questions with the same key that come while others are being answered wait, and are answered together.

    `answer_all` replies to each of at most `most` questions, in the context of one of their askers; what it raises, all
    get that it has not replied to. The next group begins when the first of one is answered, or after
    `patience_seconds`; who comes after that answer waits until the group ends, or so long. At most `at_once` run for a
    key.

    It is a sign of askers that ask again at once where as many questions as were answered (more than one) come within
    `return_seconds` of the answers and `together_seconds` of one another. After two signs, one after the other, the
    next group waits for as many as were answered, for `return_seconds` from the answers at most, if they and who waits
    are one group: two groups would else take turns for ever, each waiting for the other. Once they don't come, no group
    waits until there are two signs again.
    """

    def __init__(
        self,
        answer_all: Callable[[Key, Sequence[Waiting[Question, Answer]]], Awaitable[None]],
        *,
        most: int,
        patience_seconds: float,
        at_once: int,
        return_seconds: float,
        together_seconds: float,
    ) -> None:
        self._answer_all = answer_all
        self._most = most
        self._patience_seconds = patience_seconds
        self._at_once = at_once
        self._return_seconds = return_seconds
        self._together_seconds = together_seconds
        self._lines: dict[Key, _Line[Question, Answer]] = {}
        self._servers: set[asyncio.Task[None]] = set()

    async def ask(self, key: Key, question: Question) -> Answer:
        asked: Waiting[Question, Answer] = Waiting(question, asyncio.get_running_loop().create_future())
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self._most, _Returns(self._return_seconds, self._together_seconds))
            server = asyncio.create_task(self._serve(key, line))
            self._servers.add(server)
            server.add_done_callback(self._servers.discard)
        line.add(asked)
        return await asked.future

    async def _serve(self, key: Key, line: _Line[Question, Answer]) -> None:
        """Until nobody waits and nothing runs, nor is anybody waited for."""
        try:
            while line.waiting or line.running or line.grows:
                if line.grows:
                    await line.returns.wait()
                awaited: set[asyncio.Future[Any]] = set(line.running)
                group = line.take() if len(line.running) < self._at_once else []
                if group:
                    # Not in this task's context, which is that of whoever began the line, perhaps long ago.
                    task = asyncio.create_task(self._answer(key, group), context=group[0].context)
                    line.running.add(task)
                    task.add_done_callback(line.running.discard)
                    awaited = {task, *(asked.future for asked in group)}
                if awaited:
                    await asyncio.wait(awaited, timeout=self._patience_seconds, return_when=asyncio.FIRST_COMPLETED)
                line.note_answers(group)
        finally:
            del self._lines[key]

    async def _answer(self, key: Key, group: Sequence[Waiting[Question, Answer]]) -> None:
        try:
            await self._answer_all(key, group)
        except Exception as error:
            for asked in group:
                asked.refuse(error)
        finally:
            for asked in group:
                asked.future.cancel()  # broken off: who still waits would do so for ever
