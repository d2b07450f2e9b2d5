"""What goes over a child's pipes: a length of four bytes, then that many bytes; the first of a reply is its status."""

from enum import IntEnum
from typing import Final

LENGTH_BYTES: Final = 4


class Status(IntEnum):
    READY = 1  # once, when the entry is imported and the limits hold
    DONE = 2
    DONE_AND_SPENT = 3  # the result is good, but the child has grown too much to be used again
    MEMORY = 4
    OUTPUT = 5
    RAISED = 6  # the payload is the exception's class name


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def reply_frame(status: Status, payload: bytes = b"") -> bytes:
    return (1 + len(payload)).to_bytes(LENGTH_BYTES, "big") + bytes((status,)) + payload
