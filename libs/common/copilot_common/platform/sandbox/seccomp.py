"""A seccomp filter: which system calls a child may make, and with which arguments. Runs in the child.

Classic BPF over `struct seccomp_data`: load a word, compare, return what is to be done. Every rule is a comparison that
jumps over its own return; the kernel remembers which calls are always allowed, so that those cost nothing.

Kernel reference: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import ctypes
import errno
import os
import struct
import sys
from typing import Final

from copilot_common.platform.sandbox.syscalls import ARCHITECTURES, LAST_KNOWN, Architecture

_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC: imports may have started some

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_REFUSE: Final = _ERRNO | errno.EPERM
_UNKNOWN: Final = _ERRNO | errno.ENOSYS  # as an older kernel answers: the C library then does it the older way

_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_GREATER: Final = 0x25
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_NUMBER: Final = 0  # offsets in struct seccomp_data
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16

_CLONE_THREAD: Final = 0x10000
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def restrict(*, threads: bool) -> bool:
    """Whether the filter is in force, in all threads. Needs "no new privileges"."""
    architecture = ARCHITECTURES.get(os.uname().machine)
    if architecture is None or sys.maxsize < 2**32:  # a 32-bit Python has other numbers
        return False
    program = build(architecture, pid=os.getpid(), threads=threads)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(architecture.seccomp, _SET_MODE_FILTER, _ALL_THREADS, header)
    return result == 0


def build(architecture: Architecture, *, pid: int, threads: bool) -> bytes:
    """The program. `pid` is who may be signalled: the process itself, which aborts so."""
    return b"".join(
        [
            _load(_ARCHITECTURE),
            _step(_IF_EQUAL, architecture.audit, 1, 0),
            _answer(_KILL),
            _load(_NUMBER),
            _on(_IF_GREATER, LAST_KNOWN, _UNKNOWN),  # also the numbers of x32, which begin far above
            *(_on(_IF_EQUAL, number, _UNKNOWN) for number in architecture.unknown),
            *(_on(_IF_EQUAL, number, _REFUSE) for number in architecture.refused),
            *(_only(number, 0, _IF_EQUAL, pid) for number in architecture.signals),
            _only(architecture.prlimit, 0, _IF_EQUAL, 0),
            _only(architecture.clone, 0, _IF_ANY_BIT, _CLONE_THREAD if threads else 0),
            *(_never(number, argument, _IF_ANY_BIT, _WRITES) for number, argument in architecture.opens),
            _answer(_ALLOW),
        ]
    )


def _on(comparison: int, value: int, answer: int) -> bytes:
    return _step(comparison, value, 0, 1) + _answer(answer)


def _only(number: int, argument: int, comparison: int, value: int) -> bytes:
    """This call, if the low word of its argument compares; else it is refused."""
    return _of_call(number, argument, _step(comparison, value, 1, 0))


def _never(number: int, argument: int, comparison: int, value: int) -> bytes:
    return _of_call(number, argument, _step(comparison, value, 0, 1))


def _of_call(number: int, argument: int, step: bytes) -> bytes:
    """The step goes on to a refusal, or over it to an allowance."""
    rule = _load(_ARGUMENTS + 8 * argument) + step + _answer(_REFUSE) + _answer(_ALLOW)
    return _step(_IF_EQUAL, number, 0, len(rule) // 8) + rule


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset, 0, 0)


def _answer(action: int) -> bytes:
    return _step(_RETURN, action, 0, 0)


def _step(code: int, value: int, jump_if: int, jump_else: int) -> bytes:
    return struct.pack("HBBI", code, jump_if, jump_else, value)
