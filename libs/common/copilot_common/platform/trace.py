"""The trace a piece of work belongs to: W3C trace context, carried through requests and jobs in a context variable.

    trace = begin_trace(traceparent, tracer, "process webhook.deliver", "consumer")   at an entrance of the process
    with span("context.search", "client", {"rpc.method": …}):                         around a part that is worth seeing

Where no collector is named, or this trace is not sampled, both are ids alone. What spans are named and hold is fixed in
code, or an id of ours: never content, nor what a tenant has named.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self

from copilot_common.base.errors import CopilotError, ProviderError

SpanKind = Literal["server", "client", "consumer", "internal"]
Attributes = Mapping[str, str | int | float | bool]

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1  # the bit of a traceparent's flags


class Span:
    """A piece of work as a collector will see it. This one is seen by nobody: `tracing/otlp.py` has those that are."""

    __slots__ = ()

    def begin(self, name: str, kind: SpanKind, attributes: Attributes) -> "Trace | None":
        """A part of this work, as the trace of what is done in it; None where nobody will see it."""
        return None

    def set(self, attributes: Attributes) -> None:
        """More about it, or otherwise."""

    def rename(self, name: str) -> None:
        """For a name that is known late."""

    def note(self, event: str) -> None:
        """That something happened just now."""

    def fail(self, error_type: str) -> None:
        """It went wrong; how, in a word of a closed set."""

    def end(self) -> None:
        """What comes later is not seen any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.tell(error)
        self.end()

    def tell(self, error: BaseException) -> None:
        """What ended this work. What is cancelled or refused has not failed: nobody is to be called for it."""
        match error:
            case asyncio.CancelledError() | GeneratorExit():
                self.note("cancelled")
            case CopilotError(is_refusal=True):
                self.note("refused")
            case _:
                self.fail(_error_type(error))


NO_SPAN = Span()


@dataclass(slots=True)
class Trace:
    """`tenant_id` and `user_id` are filled in once the principal is known; log lines show all four. `span` is the one
    whose id this is."""

    trace_id: str
    span_id: str
    tenant_id: str | None = None
    user_id: str | None = None
    is_sampled: bool = True
    span: Span = NO_SPAN

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


class Caller(NamedTuple):
    """What a traceparent says of who calls."""

    trace_id: str
    span_id: str
    is_sampled: bool


class Tracer(Protocol):
    """Makes the spans of a process, and sends them off."""

    def begin(self, name: str, kind: SpanKind, caller: Caller | None) -> Trace: ...

    async def stop(self) -> None:
        """Send what is left, within some seconds. Nothing is recorded any more."""


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


def begin_trace(
    traceparent: str | None = None, tracer: Tracer | None = None, name: str = "", kind: SpanKind = "internal"
) -> Trace:
    """Continue the caller's trace in a new span, or begin one. A malformed header counts as none. Whoever has a tracer
    ends the span."""
    caller = _caller(traceparent)
    if tracer is None:
        # Who has no collector decides nothing for those that have; W3C's flag can't say so. Sampled, a part of the
        # trace may be seen; otherwise nobody would ever see any of it.
        trace = Trace(
            trace_id=caller.trace_id if caller else secrets.token_hex(16),
            span_id=secrets.token_hex(8),
            is_sampled=caller.is_sampled if caller else True,
        )
    else:
        trace = tracer.begin(name, kind, caller)
    current_trace.set(trace)
    return trace


def _caller(traceparent: str | None) -> Caller | None:
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or not match[1].strip("0") or not match[2].strip("0"):
        return None
    return Caller(match[1], match[2], bool(int(match[3], 16) & _SAMPLED))


def current_span() -> Span:
    trace = current_trace.get()
    return NO_SPAN if trace is None else trace.span


def begin_span(name: str, kind: SpanKind, attributes: Attributes) -> Span:
    """As `span`, for generators, in which a context variable would not stay: only what it is given is in it."""
    begun = current_span().begin(name, kind, attributes)
    return NO_SPAN if begun is None else begun.span


def span(name: str, kind: SpanKind, attributes: Attributes) -> AbstractContextManager[Span]:
    """A part of the current span; what is done, logged and enqueued within belongs to it. See `Span.tell`."""
    trace = current_trace.get()
    begun = trace.span.begin(name, kind, attributes) if trace else None
    if trace is None or begun is None:
        return NO_SPAN
    begun.tenant_id, begun.user_id = trace.tenant_id, trace.user_id
    return _Within(begun)


def _error_type(error: BaseException) -> str:
    match error:
        case ProviderError(status=int(status)):
            return str(status)
        case _:
            return type(error).__name__


class _Within:
    __slots__ = ("_token", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._token: Token[Trace | None] | None = None

    def __enter__(self) -> Span:
        self._token = current_trace.set(self._trace)
        return self._trace.span

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._token is not None:
            current_trace.reset(self._token)
        self._trace.span.__exit__(kind, error, traceback)
