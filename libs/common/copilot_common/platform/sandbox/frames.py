"""What goes over a child's pipes: a length of four bytes, then that many bytes, the first of which says what it is.

A STREAM's payload is the body's size and the header; the body follows outside of frames, as many bytes as were said.
"""

from enum import IntEnum
from typing import Final

LENGTH_BYTES: Final = 4
BODY_SIZE_BYTES: Final = 8
MAX_PART_BYTES: Final = 2**20  # what the parent holds of an answer at a time


class Kind(IntEnum):
    CALL = 1
    STREAM = 2


class Status(IntEnum):
    READY = 1  # once, when the entry is imported and the limits hold; the payload is a Lockdown as JSON
    DONE = 2
    DONE_AND_SPENT = 3  # the result is good, but the child has grown too much to be used again
    MEMORY = 4
    OUTPUT = 5
    RAISED = 6  # the payload is the exception's class name
    PART = 7  # of a stream's answer, never empty; DONE follows, without payload


def call_frame(request: bytes) -> bytes:
    return _frame(Kind.CALL, request)


def stream_frame(header: bytes, body_bytes: int) -> bytes:
    return _frame(Kind.STREAM, body_bytes.to_bytes(BODY_SIZE_BYTES, "big") + header)


def reply_frame(status: Status, payload: bytes = b"") -> bytes:
    return _frame(status, payload)


def _frame(first: int, payload: bytes) -> bytes:
    return (1 + len(payload)).to_bytes(LENGTH_BYTES, "big") + bytes((first,)) + payload
