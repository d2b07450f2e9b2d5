"""The filter's program, run as the kernel runs it."""

import errno
import os
import struct

import pytest

from copilot_common.platform.sandbox.seccomp import build
from copilot_common.platform.sandbox.syscalls import ARCHITECTURES, LAST_KNOWN

ALLOW = 0x7FFF0000
KILL = 0x80000000
REFUSE = 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS
PID = 4321
THREAD = 0x3D0F00  # what the C library asks clone for
FORK = 0x1200011


def decide(machine: str, number: int, *arguments: int, threads: bool = False, audit: int | None = None) -> int:
    architecture = ARCHITECTURES[machine]
    program = build(architecture, pid=PID, threads=threads)
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("IIQ6Q", number, architecture.audit if audit is None else audit, 0, *words)
    return run(program, data)


def run(program: bytes, data: bytes) -> int:
    """Classic BPF, as much of it as is used. Ends, for it only jumps forward."""
    steps = list(struct.iter_unpack("HBBI", program))
    position = loaded = 0
    while True:
        code, jump_if, jump_else, value = steps[position]
        match code:
            case 0x20:
                loaded = struct.unpack_from("I", data, value)[0]
                position += 1
                continue
            case 0x06:
                return int(value)
            case 0x15:
                holds = loaded == value
            case 0x25:
                holds = loaded > value
            case 0x45:
                holds = bool(loaded & value)
            case _:
                pytest.fail(f"unknown code {code:#x}")
        position += 1 + (jump_if if holds else jump_else)


NUMBERS = {  # of asm/unistd_64.h and asm-generic/unistd.h
    "x86_64": {
        **{"read": 0, "write": 1, "open": 2, "mmap": 9, "clone": 56, "kill": 62, "execve": 59, "ptrace": 101},
        **{"socket": 41, "unlinkat": 263, "tgkill": 234, "openat": 257, "prlimit64": 302, "futex": 202},
    },
    "aarch64": {
        **{"read": 63, "write": 64, "mmap": 222, "clone": 220, "kill": 129, "execve": 221, "ptrace": 117},
        **{"socket": 198, "unlinkat": 35, "tgkill": 131, "openat": 56, "prlimit64": 261, "futex": 98},
    },
}
both = pytest.mark.parametrize("machine", list(NUMBERS))


@both
def test_what_every_program_needs_is_allowed(machine: str) -> None:
    numbers = NUMBERS[machine]
    assert {decide(machine, numbers[name], 1, 2, 3) for name in ("read", "write", "mmap", "futex")} == {ALLOW}


@both
def test_network_processes_and_changes_are_refused(machine: str) -> None:
    numbers = NUMBERS[machine]
    assert {decide(machine, numbers[name]) for name in ("socket", "execve", "ptrace", "unlinkat")} == {REFUSE}


@both
def test_another_architecture_ends_the_process_whatever_it_calls(machine: str) -> None:
    assert {decide(machine, number, audit=0x40000003) for number in range(LAST_KNOWN + 10)} == {KILL}


@both
def test_numbers_beyond_the_tables_are_unknown_also_those_of_x32(machine: str) -> None:
    x32 = [0x40000000 + number for number in range(600)]
    assert {decide(machine, number) for number in (LAST_KNOWN + 1, 2**31, 2**32 - 1, *x32)} == {UNKNOWN}


@both
def test_clone_is_for_threads_only_and_only_where_they_may_be(machine: str) -> None:
    clone = NUMBERS[machine]["clone"]
    assert decide(machine, clone, THREAD, threads=True) == ALLOW
    assert decide(machine, clone, FORK, threads=True) == REFUSE
    assert {decide(machine, clone, flags) for flags in (THREAD, FORK)} == {REFUSE}
    assert {decide(machine, 435, 0, threads=threads) for threads in (True, False)} == {UNKNOWN}  # clone3


@both
def test_a_process_signals_and_limits_itself_only(machine: str) -> None:
    for name in ("kill", "tgkill"):
        number = NUMBERS[machine][name]
        assert decide(machine, number, PID, 6) == ALLOW
        assert {decide(machine, number, other, 6) for other in (0, 1, PID + 1, 2**32 - 1)} == {REFUSE}
    assert decide(machine, NUMBERS[machine]["prlimit64"], 0) == ALLOW
    assert decide(machine, NUMBERS[machine]["prlimit64"], PID + 1) == REFUSE


@both
def test_files_are_opened_for_reading_only(machine: str) -> None:
    openat = NUMBERS[machine]["openat"]
    assert decide(machine, openat, 2**32 - 100, 0, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY) == ALLOW
    for flag in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_TMPFILE | os.O_RDWR):
        assert decide(machine, openat, 2**32 - 100, 0, flag) == REFUSE
    assert decide(machine, 437) == UNKNOWN  # openat2, whose flags are behind a pointer


def test_the_older_open_of_x86_64_is_held_to_the_same() -> None:
    assert decide("x86_64", 2, 0, os.O_RDONLY) == ALLOW
    assert decide("x86_64", 2, 0, os.O_WRONLY) == REFUSE


@both
def test_no_number_is_twice_in_the_tables(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    special = (*architecture.unknown, *architecture.signals, architecture.clone, architecture.prlimit)
    numbers = (*architecture.refused, *special, *(number for number, _ in architecture.opens))
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) <= LAST_KNOWN
