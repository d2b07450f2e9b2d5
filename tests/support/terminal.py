"""The command line at a pseudo terminal."""

import codecs
import os
import pty
import re
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SILENCE_SECONDS = 20


class Terminal:
    """A command at a terminal; what it shows is waited for, never slept for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._unseen = ""

    def until(self, pattern: str) -> None:
        """Reads until it shows what matches, behind what matched last. Fails when nothing more comes."""
        while not (match := re.search(pattern, self._unseen)):
            ready, _, _ = select.select([self._descriptor], [], [], _SILENCE_SECONDS)
            assert ready, f"waited for {pattern!r}, saw {self._unseen!r}"
            self._unseen += self._decoder.decode(os.read(self._descriptor, 65_536))
        self._unseen = self._unseen[match.end() :]

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())


@contextmanager
def at_terminal(environ: dict[str, str], *arguments: str) -> Iterator[Terminal]:
    command = str(Path(sys.executable).with_name("copilot"))
    pid, descriptor = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test run under nohup has it ignored, and would wait for ever
        os.execve(command, [command, *arguments], {**os.environ, "TERM": "xterm", **environ})
    try:
        yield Terminal(descriptor)
    finally:
        os.close(descriptor)  # hangs up: whatever still runs there ends
        os.waitpid(pid, 0)
