"""Asking another process something that is only worth an answer now: a search while a chat waits for it.

Not in the ledger, and not through arq, whose keeping of a job takes five round trips: a request that nobody answers in
time is over, and its caller goes on without. Questions and answers pass through Redis sealed with the tenant's key;
what is readable there is whose tenant asks, what kind of thing, and in which trace.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import time
from uuid import UUID

import msgspec
from loguru import logger
from redis.asyncio import Redis

from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.base.errors import CopilotError, ErrorCode
from copilot_common.base.ids import ProcessId, TenantId, UserId, new_id
from copilot_common.encryption import DecryptionError, Purpose
from copilot_common.platform.tasks import end_tasks
from copilot_common.platform.trace import Tracer, begin_trace, current_span, current_trace, span
from copilot_common.queue.jobs import Queue
from copilot_common.queue.request_line import RedisFault, RequestLine
from copilot_common.tenancy import Principal, Role, TenantDatabase

_MAX_WAITING = 512
_CONCURRENT = 64  # that are answered at once; each waits for the database most of its time
_TAKEN = 8  # at once: more may be for another process of the queue
_AGAIN_SECONDS = 1.0
_LAST_SECONDS = 2.0  # twice what a look for a question takes, and many times what a search does


class NoAnswer(Exception):
    """Nobody answered in time, Redis is away, or too many are waiting already."""


class _Question(msgspec.Struct, array_like=True):
    """`sealed` is an _Asked: who may write to our Redis must not be able to say who asks. `deadline` is in epoch
    seconds by the asker's clock: between hosts whose clocks differ it is only as good as they are, and the asker keeps
    its own."""

    id: UUID
    tenant_id: UUID
    method: str
    reply_key: str
    deadline: float
    sealed: bytes
    traceparent: str | None = None


class _Asked(msgspec.Struct, array_like=True):
    user_id: UUID
    role: Role
    body: bytes


class _Answer(msgspec.Struct, array_like=True):
    """`code` and `text` where it was refused; they hold no content."""

    id: UUID
    sealed: bytes | None = None
    code: ErrorCode | None = None
    text: str = ""
    fields: dict[str, str] = {}


class Refused(CopilotError):
    """The other process would not do it; `fields` as in InvalidInput."""

    def __init__(self, code: ErrorCode, text: str, fields: dict[str, str]) -> None:
        super().__init__(text, details={"fields": fields} if fields else None)
        self.code = code


_questions = msgspec.msgpack.Decoder(_Question)
_asked = msgspec.msgpack.Decoder(_Asked)
_answers = msgspec.msgpack.Decoder(_Answer)
_encode = msgspec.msgpack.encode


class RequestClient:
    """Start it once per process: one reader takes all answers to this process."""

    def __init__(self, redis: Redis, db: TenantDatabase, process_id: ProcessId) -> None:
        self._line = RequestLine(redis)
        self._db = db
        self._reply_key = f"copilot:{{{process_id}}}:replies"
        self._waiting: dict[UUID, asyncio.Future[_Answer]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._reader = asyncio.create_task(self._read_forever(), name="replies")

    async def stop(self) -> None:
        await end_tasks([self._reader])

    async def ask(self, queue: Queue, method: str, principal: Principal, body: bytes, *, seconds: float) -> bytes:
        """Raises NoAnswer, or Refused with what the other process said."""
        with span(method, "client", _attributes(method)):
            return await self._ask(queue, method, principal, body, seconds=seconds)

    async def _ask(self, queue: Queue, method: str, principal: Principal, body: bytes, *, seconds: float) -> bytes:
        if principal.role is None or len(self._waiting) >= _MAX_WAITING:
            raise NoAnswer
        cipher = await self._db.cipher(principal)
        request_id = new_id()
        asked = _encode(_Asked(principal.acting_user, principal.role, body))
        sealed = cipher.seal(Purpose.REQUEST, request_id, asked)
        trace = current_trace.get()
        question = _Question(
            request_id,
            principal.tenant_id,
            method,
            self._reply_key,
            time() + seconds,
            sealed,
            trace.traceparent if trace else None,
        )
        waiting = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._line.ask(queue, _encode(question))
                answer = await waiting
        except RedisFault:
            raise NoAnswer from None
        finally:
            self._waiting.pop(request_id, None)
        if answer.sealed is None:
            raise Refused(answer.code or "INTERNAL_ERROR", answer.text, answer.fields)
        try:
            return cipher.open(Purpose.REPLY, request_id, answer.sealed)
        except DecryptionError:
            raise NoAnswer from None  # somebody else wrote into our Redis

    async def _read_forever(self) -> None:
        while True:
            try:
                for raw in await self._line.take_answers(self._reply_key):
                    self._settle(raw)
            except RedisFault:
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception as error:  # this loop must outlive any one answer
                logger.opt(exception=error).error("Answer not read")
                await asyncio.sleep(_AGAIN_SECONDS)

    def _settle(self, raw: bytes) -> None:
        with suppress(msgspec.DecodeError):
            answer = _answers.decode(raw)
            waiting = self._waiting.get(answer.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)


Method = Callable[[Principal, bytes], Awaitable[bytes]]


class RequestServer:
    """A companion of a worker of that queue. `methods` by name; an unknown one is not answered, since another build of
    this service may know it."""

    def __init__(
        self,
        redis: Redis,
        db: TenantDatabase,
        queue: Queue,
        methods: Mapping[str, Method],
        tracer: Tracer | None = None,
    ) -> None:
        self._line = RequestLine(redis)
        self._db = db
        self._queue = queue
        self._methods = methods
        self._tracer = tracer
        self._slots = asyncio.Semaphore(_CONCURRENT)
        self._answering: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._serve_forever(), name="requests")

    async def stop(self) -> None:
        """Takes no more questions, and answers those it has: nobody else can, and their askers would wait in vain."""
        self._is_stopping = True
        if self._loop is not None:
            await asyncio.wait({self._loop}, timeout=_LAST_SECONDS)
        if self._answering:
            await asyncio.wait(self._answering, timeout=_LAST_SECONDS)
        await end_tasks([self._loop, *self._answering])

    async def _serve_forever(self) -> None:
        while not self._is_stopping:
            try:
                await self._serve()
            except RedisFault:
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception as error:  # this loop must outlive any one question
                logger.opt(exception=error).error("Question not read")
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _serve(self) -> None:
        """The next questions, once one can be begun."""
        async with self._slots:
            most = max(1, min(_TAKEN, _CONCURRENT - len(self._answering)))
            questions = await self._line.take_questions(self._queue, most)
        for raw in questions:
            task = asyncio.create_task(self._take(raw), name="request")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _take(self, raw: bytes) -> None:
        try:
            question = _questions.decode(raw)
        except msgspec.DecodeError:
            return
        async with self._slots:
            await self._reply(question)

    async def _reply(self, question: _Question) -> None:
        known = self._methods.get(question.method)
        if known is None or time() > question.deadline:
            return
        trace = begin_trace(question.traceparent, self._tracer, question.method, "server")
        trace.tenant_id = str(question.tenant_id)
        trace.span.set(_attributes(question.method) | {"copilot.tenant_id": trace.tenant_id})
        try:
            await self._send(await self._answer(known, question), question)
        finally:
            trace.span.end()

    async def _send(self, answer: _Answer, question: _Question) -> None:
        try:
            await self._line.answer(question.reply_key, _encode(answer))
        except RedisFault as error:
            logger.bind(error_type=type(error).__name__).warning("Request not answered")

    async def _answer(self, method: Method, question: _Question) -> _Answer:
        try:
            cipher = await self._db.cipher(Principal.nobody(TenantId(question.tenant_id)))
            asked = _asked.decode(cipher.open(Purpose.REQUEST, question.id, question.sealed))
            result = await method(_principal(question, asked), asked.body)
            return _Answer(question.id, cipher.seal(Purpose.REPLY, question.id, result))
        except CopilotError as error:
            current_span().tell(error)
            fields = error.details.get("fields")
            return _Answer(question.id, None, error.code, error.message, fields if isinstance(fields, dict) else {})
        except Exception as error:  # an answer that does not come costs the asker its whole patience
            current_span().tell(error)
            logger.opt(exception=error).error("Request failed")
            return _Answer(question.id, None, "INTERNAL_ERROR", "Something went wrong here.")


def _attributes(method: str) -> dict[str, str | int | float | bool]:
    return {"rpc.system.name": "copilot", "rpc.method": method}


def _principal(question: _Question, asked: _Asked) -> Principal:
    return Principal(
        kind="user",
        tenant_id=TenantId(question.tenant_id),
        credential_id=asked.user_id,
        user_id=UserId(asked.user_id),
        role=asked.role,
        scopes=ROLE_SCOPES[asked.role],
    )
