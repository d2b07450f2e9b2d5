"""What the sandbox's tests have a child do. Imported by children, with little."""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO

_kept: list[bytes] = []
_MISSING = "/nowhere/at-all"  # a child that is not locked down finds nothing there to spoil


def run(request: bytes) -> bytes:
    command, _, rest = request.partition(b" ")
    return _COMMANDS[command](rest) if command in _COMMANDS else request


def _loop(_: bytes) -> bytes:
    while True:
        pass


def _switches(seconds: bytes) -> bytes:
    """How often it let go of the processor while it computed for so long."""
    before, end = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw, time.thread_time() + float(seconds)
    while time.thread_time() < end:
        pass
    return str(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before).encode()


def _grow(size: bytes) -> bytes:
    return str(len(b"x" * int(size))).encode()


def _keep(size: bytes) -> bytes:
    _kept.append(b"x" * int(size))
    return _pid(size)


def _long(size: bytes) -> bytes:
    return b"x" * int(size)


def _size(rest: bytes) -> bytes:
    return str(len(rest)).encode()


def _raise(text: bytes) -> bytes:
    raise LookupError(text.decode())


def _exit(_: bytes) -> bytes:
    os._exit(0)


def _abort(_: bytes) -> bytes:
    os.abort()


def _pid(_: bytes) -> bytes:
    return str(os.getpid()).encode()


def _facts(_: bytes) -> bytes:
    limits = {name: resource.getrlimit(getattr(resource, name))[0] for name in ("RLIMIT_NPROC", "RLIMIT_FSIZE")}
    return json.dumps({"environment": dict(os.environ), "limits": limits, "session": os.getsid(0)}).encode()


def _open(path: bytes) -> bytes:
    try:
        with open(path, "rb") as opened:
            return opened.read(10)
    except OSError as error:
        return str(error.errno).encode()


def _try(name: bytes) -> bytes:
    """ "done", or the number of the error."""
    try:
        _TRIES[name]()
    except OSError as error:
        return str(error.errno).encode()
    except RuntimeError:  # what Python makes of a thread that does not start
        return str(errno.EPERM).encode()
    return b"done"


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _open_and_close(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def _libraries() -> str:
    return next(path for path in sys.path if path.endswith("site-packages"))


def _thread() -> None:
    thread = threading.Thread(target=_pid, args=(b"",))
    thread.start()
    thread.join()


def _call_of_another_architecture() -> None:
    """getpid of 32-bit programs: `mov eax, 20; int 0x80; ret`, on x86_64 only."""
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    page = libc.mmap(None, 4096, 7, 0x22, -1, 0)
    ctypes.memmove(page, code, len(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(page)()


def _raw(number: int, *arguments: int) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


_TRIES: dict[bytes, Callable[[], object]] = {
    b"socket": lambda: socket.socket().close(),
    b"unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    b"socketpair": socket.socketpair,
    b"fork": _fork,
    b"exec": lambda: os.execv("/bin/true", ["true"]),
    b"spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    b"signal to parent": lambda: os.kill(os.getppid(), 0),
    b"signal to all": lambda: os.kill(-1, 0),
    b"signal to itself": lambda: os.kill(os.getpid(), 0),
    b"limits of parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE),
    b"limits of itself": lambda: resource.getrlimit(resource.RLIMIT_CORE),
    b"write": lambda: _open_and_close(os.devnull, os.O_WRONLY),
    b"write own package": lambda: _open_and_close(__file__, os.O_WRONLY),  # opened, not written
    b"append": lambda: _open_and_close(os.devnull, os.O_RDWR | os.O_APPEND),
    b"create": lambda: _open_and_close(_MISSING, os.O_RDONLY | os.O_CREAT),
    b"truncate": lambda: os.truncate(_MISSING, 0),
    b"chmod": lambda: os.chmod(_MISSING, 0o600),
    b"touch": lambda: os.utime(_MISSING),
    b"mkdir": lambda: os.mkdir(_MISSING),
    b"unlink": lambda: os.unlink(_MISSING),
    b"rename": lambda: os.rename(_MISSING, _MISSING),
    b"read own package": lambda: _open_and_close(__file__, os.O_RDONLY),
    b"read standard library": lambda: _open_and_close(os.__file__, os.O_RDONLY),
    b"read libraries": lambda: _open_and_close(_libraries(), os.O_RDONLY),
    b"read settings": lambda: _open_and_close("/etc/passwd", os.O_RDONLY),
    b"read parent": lambda: _open_and_close(f"/proc/{os.getppid()}/environ", os.O_RDONLY),
    b"read itself": lambda: _open_and_close("/proc/self/environ", os.O_RDONLY),
    b"read beside a package": lambda: _open_and_close(os.path.dirname(os.path.dirname(__file__)), os.O_RDONLY),
    b"thread": _thread,
    b"io_uring": lambda: _raw(425, 1, 0),  # the same numbers everywhere
    b"pidfd": lambda: _raw(434, os.getppid(), 0),
    b"too new": lambda: _raw(4_000_000),
    b"another architecture": _call_of_another_architecture,
}


def _print(text: bytes) -> bytes:
    for stream in (sys.stdout, sys.stderr):
        stream.write(repr(text))
        stream.flush()
    return sys.stdin.read().encode()


def _lie(frame: bytes) -> bytes:
    """A child that does not keep to the protocol: into every descriptor, one of which is the parent's pipe."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, bytes.fromhex(frame.decode()))
        except OSError:
            continue
    return b""


_COMMANDS = {
    b"loop": _loop,
    b"switches": _switches,
    b"grow": _grow,
    b"keep": _keep,
    b"long": _long,
    b"size": _size,
    b"raise": _raise,
    b"exit": _exit,
    b"abort": _abort,
    b"pid": _pid,
    b"facts": _facts,
    b"open": _open,
    b"try": _try,
    b"print": _print,
    b"lie": _lie,
}


def stream(header: bytes, body: BytesIO) -> Iterator[bytes]:
    """The entry of streams: `header` is the command."""
    command, _, rest = header.partition(b" ")
    return _STREAMS[command](rest, body)


def _size_of_body(_: bytes, body: BytesIO) -> Iterator[bytes]:
    yield b"%d %d" % (body.seek(0, os.SEEK_END), sum(body.getvalue()[::4096]))


def _echo(size: bytes, body: BytesIO) -> Iterator[bytes]:
    while part := body.read(int(size)):
        yield part


def _count(number: bytes, _: BytesIO) -> Iterator[bytes]:
    for index in range(int(number)):
        yield b"%d" % index


def _then(command: bytes, _: BytesIO) -> Iterator[bytes]:
    """One part, then what `run` does, then another part."""
    yield b"%d" % os.getpid()
    yield b""  # is no part
    yield run(command) or b"nothing"


def _sleep(_: bytes, __: BytesIO) -> Iterator[bytes]:
    while True:
        yield b"awake"
        time.sleep(0.02)


def _endless(size: bytes, _: BytesIO) -> Iterator[bytes]:
    while True:
        yield b"x" * int(size)


def _freeze(_: bytes, __: BytesIO) -> Iterator[bytes]:
    yield b"%d" % os.getpid()
    signal.pause()


_STREAMS = {
    b"size": _size_of_body,
    b"echo": _echo,
    b"count": _count,
    b"then": _then,
    b"sleep": _sleep,
    b"endless": _endless,
    b"freeze": _freeze,
}
