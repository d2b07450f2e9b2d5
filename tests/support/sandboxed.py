"""What the sandbox's tests have a child do. Imported by children, with little."""

import json
import os
import resource
import socket
import sys

_kept: list[bytes] = []


def run(request: bytes) -> bytes:
    command, _, rest = request.partition(b" ")
    return _COMMANDS[command](rest) if command in _COMMANDS else request


def _loop(_: bytes) -> bytes:
    while True:
        pass


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


def _socket(_: bytes) -> bytes:
    try:
        socket.socket().close()
    except OSError as error:
        return str(error.errno).encode()
    return b"open"


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
    b"socket": _socket,
    b"print": _print,
    b"lie": _lie,
}
