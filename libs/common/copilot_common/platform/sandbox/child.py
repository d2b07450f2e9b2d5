"""The child's side: import the entry, give up rights, then answer calls until the pipe ends."""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from copilot_common.platform.sandbox.frames import LENGTH_BYTES, Status, reply_frame
from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.lockdown import Meter, die_with_parent, give_up_rights

# Requests are trees of many small values, and no garbage: looking through them again and again doubles the time.
_GC_THRESHOLD: Final = 100_000

Entry = Callable[[bytes], bytes]


def main() -> NoReturn:
    """Arguments: the entry, the parent's process id, the limits as JSON; the rest is the import path."""
    name, parent_pid, limits_json = sys.argv[1:4]
    die_with_parent(int(parent_pid))
    requests, replies = _take_pipes()
    try:
        limits = Limits(**json.loads(limits_json))
        entry = _load(name)
        meter = Meter(limits)
        give_up_rights(limits)
    except Exception as error:
        _write(replies, reply_frame(Status.RAISED, type(error).__name__.encode()))
        os._exit(1)
    _write(replies, reply_frame(Status.READY))
    while True:
        status, reply = _serve(entry, requests, meter, limits.output_bytes)
        _write(replies, reply_frame(status, reply))
        if status is not Status.DONE:
            os._exit(0)


def _serve(entry: Entry, requests: int, meter: Meter, output_bytes: int) -> tuple[Status, bytes]:
    try:
        request = _read(requests, int.from_bytes(_read(requests, LENGTH_BYTES), "big"))
        meter.renew_cpu()
        reply = entry(request)
    except MemoryError:
        return Status.MEMORY, b""
    except BaseException as error:  # also a panic of native code, which is no Exception
        return Status.RAISED, type(error).__name__.encode(errors="replace")
    if len(reply) > output_bytes:
        return Status.OUTPUT, b""
    return (Status.DONE_AND_SPENT if meter.is_spent else Status.DONE), reply


def _load(name: str) -> Entry:
    """Import it, and let it load now what it would load late: no file can be opened later."""
    module_name, _, function = name.partition(":")
    module = importlib.import_module(module_name)
    entry: Entry = getattr(module, function)
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
    rest = memoryview(whole)
    while rest:
        count = os.readv(source, [rest])
        if count == 0:
            os._exit(0)
        rest = rest[count:]
    return bytes(whole)


def _write(target: int, frame: bytes) -> None:
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(target, rest) :]
