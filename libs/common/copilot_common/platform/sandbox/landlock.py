"""Landlock: no file is written, and none read but below the given directories. Runs in the child.

The numbers are those of the kernel's documentation (userspace-api/landlock).
"""

import ctypes
import os
from collections.abc import Iterable
from typing import Final

_CREATE_RULESET: Final = 444  # the same numbers on every architecture
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446

_GIVE_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_ALL_THREADS: Final = 1 << 3
_ALL_THREADS_ABI: Final = 8

_READ: Final = 1 << 2 | 1 << 3  # files, directories
# All rights over files that there are from an ABI on: execute, write, read, remove, make; refer; truncate; ioctl.
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NET_RIGHTS: Final = {4: 0b11}  # bind and connect TCP
_SCOPES: Final = {6: 0b11}  # abstract Unix sockets and signals of processes outside


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


def restrict(readable: Iterable[str]) -> int:
    """The ABI that is in force in all threads from now on, 0 where the kernel has none or refuses. Needs "no new
    privileges". Directories that don't exist are passed over."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi: int = libc.syscall(_CREATE_RULESET, None, 0, _GIVE_VERSION)
    if abi <= 0:
        return 0
    handled = _Ruleset(*(_until(abi, rights) for rights in (_FILE_RIGHTS, _NET_RIGHTS, _SCOPES)))
    ruleset: int = libc.syscall(_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            _allow(libc, ruleset, path)
        return abi if _enforce(libc, ruleset, abi) else 0
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _PathBeneath(_READ, directory)
        if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_add_rule")
    finally:
        os.close(directory)


def _enforce(libc: ctypes.CDLL, ruleset: int, abi: int) -> bool:
    """A thread that an import has started is only bound too from an ABI on: before, it is not claimed."""
    is_alone = len(os.listdir("/proc/self/task")) == 1
    flags = _ALL_THREADS if abi >= _ALL_THREADS_ABI and not is_alone else 0
    is_in_force: bool = libc.syscall(_RESTRICT_SELF, ruleset, flags) == 0
    return is_in_force and (is_alone or flags != 0)


def _until(abi: int, rights: dict[int, int]) -> int:
    return sum(bits for since, bits in rights.items() if since <= abi)
