"""The child's side: import the entry, give up rights, then answer calls until the pipe ends."""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from io import BytesIO
from typing import Any, Final, NoReturn

from copilot_common.platform.sandbox.frames import (
    BODY_SIZE_BYTES,
    LENGTH_BYTES,
    MAX_PART_BYTES,
    Kind,
    Status,
    reply_frame,
)
from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.lockdown import Meter, die_with_parent, give_up_rights
from copilot_common.platform.scheduling import Pauses

# Requests are trees of many small values, and no garbage: looking through them again and again doubles the time.
_GC_THRESHOLD: Final = 100_000

Entry = Callable[[bytes], bytes]
StreamEntry = Callable[[bytes, BytesIO], Iterator[bytes]]


class _TooLong(Exception):
    """More output than the limits allow."""


def main() -> NoReturn:
    """Arguments: the entry, the parent's process id, the limits as JSON; the rest is the import path."""
    name, parent_pid, limits_json = sys.argv[1:4]
    die_with_parent(int(parent_pid))
    requests, replies = _take_pipes()
    try:
        limits = Limits(**json.loads(limits_json))
        entry = _load(name)
        meter = Meter(limits)
        pauses = Pauses() if limits.niceness else nullcontext()
        lockdown = give_up_rights(limits)
    except Exception as error:
        _write(replies, reply_frame(Status.RAISED, type(error).__name__.encode()))
        os._exit(1)
    _write(replies, reply_frame(Status.READY, json.dumps(asdict(lockdown)).encode()))
    service = _Service(entry, requests, replies, meter, pauses, limits.output_bytes)
    while True:
        status, reply = service.serve()
        _write(replies, reply_frame(status, reply))
        if status is not Status.DONE:
            os._exit(0)


class _Service:
    def __init__(
        self,
        entry: Any,
        requests: int,
        replies: int,
        meter: Meter,
        pauses: AbstractContextManager[None],
        output_bytes: int,
    ) -> None:
        self._entry = entry  # an Entry or a StreamEntry: whoever asks knows which
        self._requests = requests
        self._replies = replies
        self._meter = meter
        self._pauses = pauses
        self._output_bytes = output_bytes

    def serve(self) -> tuple[Status, bytes]:
        """One request; what is left to be said at its end."""
        try:
            reply = self._answer()
        except MemoryError:
            return Status.MEMORY, b""
        except _TooLong:
            return Status.OUTPUT, b""
        except BaseException as error:  # also a panic of native code, which is no Exception
            return Status.RAISED, type(error).__name__.encode(errors="replace")
        return (Status.DONE_AND_SPENT if self._meter.is_spent else Status.DONE), reply

    def _answer(self) -> bytes:
        head = _read(self._requests, LENGTH_BYTES + 1)
        payload = _read(self._requests, int.from_bytes(head[:LENGTH_BYTES], "big") - 1)
        if head[LENGTH_BYTES] == Kind.STREAM:
            self._stream(payload)
            return b""
        self._meter.renew_cpu()
        entry: Entry = self._entry
        with self._pauses:
            reply = entry(payload)
        if len(reply) > self._output_bytes:
            raise _TooLong
        return reply

    def _stream(self, payload: bytes) -> None:
        body = _read_body(self._requests, int.from_bytes(payload[:BODY_SIZE_BYTES], "big"))
        self._meter.renew_cpu()
        entry: StreamEntry = self._entry
        left = self._output_bytes
        with self._pauses:
            for part in entry(payload[BODY_SIZE_BYTES:], body):
                left -= len(part)
                if left < 0 or len(part) > MAX_PART_BYTES:
                    raise _TooLong
                if part:
                    _write(self._replies, reply_frame(Status.PART, part))


def _load(name: str) -> Any:
    """Import it, and let it load now what it would load late: no file can be opened later."""
    module_name, _, function = name.partition(":")
    module = importlib.import_module(module_name)
    entry = getattr(module, function)
    if (warm_up := getattr(module, "warm_up", None)) is not None:
        warm_up()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    return entry


def _take_pipes() -> tuple[int, int]:
    """Move them away from 0 and 1, so that nothing that reads or prints can break the frames."""
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return pipes


def _read(source: int, size: int) -> bytes:
    whole = bytearray(size)
    _fill(source, memoryview(whole))
    return bytes(whole)


def _read_body(source: int, size: int) -> BytesIO:
    """Held once: its room is taken at once, and `getvalue` copies nothing."""
    body = BytesIO()
    if size:
        body.seek(size - 1)
        body.write(b"\0")
        with body.getbuffer() as room:
            _fill(source, room)
        body.seek(0)
    return body


def _fill(source: int, rest: memoryview) -> None:
    while rest:
        count = os.readv(source, [rest])
        if count == 0:
            os._exit(0)
        rest = rest[count:]


def _write(target: int, frame: bytes) -> None:
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(target, rest) :]
