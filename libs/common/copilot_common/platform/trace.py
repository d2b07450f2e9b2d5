"""The trace a piece of work belongs to: W3C trace context, carried through requests and jobs in a context variable."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(slots=True)
class Trace:
    """`tenant_id` and `user_id` are filled in once the principal is known; log lines show all four."""

    trace_id: str
    span_id: str
    tenant_id: str | None = None
    user_id: str | None = None

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


def begin_trace(traceparent: str | None = None) -> Trace:
    """Continue the caller's trace in a new span, or begin one. A malformed header counts as none."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    known = match and match[1].strip("0") and match[2].strip("0")
    trace = Trace(trace_id=match[1] if match and known else secrets.token_hex(16), span_id=secrets.token_hex(8))
    current_trace.set(trace)
    return trace
