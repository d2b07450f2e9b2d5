"""Log lines in the deployment guide's JSON format: one line an event, never content, never a secret.

A line's `message` is a constant; what varies is bound: `logger.bind(status=201).info("Request completed")`. Exceptions
are shown as type and code places only: their texts may quote what a user wrote, or a password in a URL.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Literal, TextIO

import msgspec
from loguru import logger

from copilot_common.base.clock import rfc3339
from copilot_common.platform.trace import current_trace

if TYPE_CHECKING:
    from loguru import Message, Record

_encode = msgspec.json.Encoder(enc_hook=str).encode
_FRAMES = 8  # the innermost places of a traceback; enough to find the line, short enough for one log line


def configure_logs(
    service: str, *, level: str, style: Literal["json", "text"] = "json", stream: TextIO | None = None
) -> None:
    """Send every log line of this process, the standard library's included, to `stream` (default: stdout)."""
    out = stream or sys.stdout
    render = _json_line if style == "json" else _text_line

    def write(message: Message) -> None:
        out.write(render(log_fields(service, message.record)))
        out.flush()

    logger.remove()
    logger.add(write, level=level.upper(), format="{message}", backtrace=False, diagnose=False)
    logging.basicConfig(handlers=[_ToLoguru()], level=logging.WARNING, force=True)


def log_fields(service: str, record: Record) -> dict[str, object]:
    """The line as a mapping, in the order of the deployment guide's example."""
    trace = current_trace.get()
    fields: dict[str, object] = {
        "timestamp": rfc3339(record["time"]),
        "level": record["level"].name.lower(),
        "service": service,
        "trace_id": trace.trace_id if trace else None,
        "span_id": trace.span_id if trace else None,
        "tenant_id": trace.tenant_id if trace else None,
        "user_id": trace.user_id if trace else None,
        "message": record["message"],
        **record["extra"],
    }
    exception = record["exception"]
    if exception is not None and exception.type is not None:
        frames = traceback.extract_tb(exception.traceback)[-_FRAMES:]
        fields["error_type"] = exception.type.__name__
        fields["error_at"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return fields


def _json_line(fields: dict[str, object]) -> str:
    return _encode(fields).decode() + "\n"


def _text_line(fields: dict[str, object]) -> str:
    shown = {name: value for name, value in fields.items() if value is not None}
    head = f"{shown.pop('timestamp')} {str(shown.pop('level')).upper():7} {shown.pop('message')}"
    for quiet in ("service", "trace_id", "span_id"):
        shown.pop(quiet, None)
    line = " ".join([head, *(f"{name}={value}" for name, value in shown.items())])
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line) + "\n"


class _ToLoguru(logging.Handler):
    """Libraries' own lines, reduced to where they came from: their texts are not ours to vouch for."""

    def emit(self, record: logging.LogRecord) -> None:
        bound = logger.bind(logger=record.name, place=f"{record.filename}:{record.lineno}")
        level = record.levelname if record.levelname in {"WARNING", "ERROR", "CRITICAL"} else "INFO"
        error = record.exc_info[1] if record.exc_info else None
        bound.opt(exception=error).log(level, "Library log")
