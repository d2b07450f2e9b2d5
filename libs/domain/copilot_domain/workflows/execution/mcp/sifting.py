"""What the library's session gets to hear: answers to what was asked, and nothing else.

It would try a question on every kind of question that it knows, and list what is wrong with it for each; and it logs
the list and the question by the root logger, as it does an answer's unknown id. So questions are answered here, without
a look at what they say.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import (
    METHOD_NOT_FOUND,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from copilot_common.base.errors import EgressFailed
from copilot_domain.workflows.execution.mcp.failures import broke_off, not_mcp
from copilot_domain.workflows.execution.mcp.transport import GuardedTransport

Heard: TypeAlias = SessionMessage | Exception
Hearing: TypeAlias = MemoryObjectReceiveStream[Heard]

_MAX_QUESTIONS: Final = 16  # a server may ask whether we are there; of the rest nothing is offered


@asynccontextmanager
async def sifted(
    heard: Hearing, said: MemoryObjectSendStream[SessionMessage], transport: GuardedTransport
) -> AsyncIterator[Hearing]:
    passing, passed = anyio.create_memory_object_stream[Heard](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_sift, heard, passing, said, transport)
        yield passed
        tasks.cancel_scope.cancel()


async def _sift(
    heard: Hearing,
    passing: MemoryObjectSendStream[Heard],
    said: MemoryObjectSendStream[SessionMessage],
    transport: GuardedTransport,
) -> None:
    questions = 0
    async with passing:
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # the session has ended meanwhile
            async for message in heard:
                root = None if isinstance(message, Exception) else message.message.root
                if isinstance(root, JSONRPCNotification):
                    continue
                if isinstance(root, JSONRPCRequest) and questions < _MAX_QUESTIONS:
                    questions += 1
                    await said.send(SessionMessage(JSONRPCMessage(_answer(root))))
                elif isinstance(root, JSONRPCResponse | JSONRPCError) and transport.has_asked(root.id):
                    await passing.send(message)
                else:
                    transport.fail(_too_many_questions() if isinstance(root, JSONRPCRequest) else not_mcp())
                    return
        transport.fail(broke_off())


def _answer(question: JSONRPCRequest) -> JSONRPCResponse | JSONRPCError:
    if question.method == "ping":
        return JSONRPCResponse(jsonrpc="2.0", id=question.id, result={})
    error = ErrorData(code=METHOD_NOT_FOUND, message="This client offers nothing to servers.")
    return JSONRPCError(jsonrpc="2.0", id=question.id, error=error)


def _too_many_questions() -> EgressFailed:
    return EgressFailed("protocol", "The server asks instead of answering.")
