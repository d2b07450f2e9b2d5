"""A stack that exists for one demo: in a temporary folder, on a free port, gone whatever happens."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from copilot_devstack.accounts import server_account
from copilot_devstack.home import Home
from copilot_devstack.progress import Progress
from copilot_devstack.stack import Stack, delete_data

_ANY_FREE_PORT = "0"


@contextmanager
def temporary_stack(progress: Progress, settings: Mapping[str, str]) -> Iterator[Stack]:
    """Provider keys of the environment reach it; where this checkout's own stack lives does not matter."""
    folder = Path(tempfile.mkdtemp(prefix="copilot-demo-"))
    if server_account() is not None:
        folder.chmod(0o711)  # root's servers run as another account
    stack = Stack(Home(folder / "home"), _environ(settings), ends_with_parent=True)
    try:
        stack.up(progress)
        yield stack
    finally:
        _end(stack)
        delete_data(stack.home)
        shutil.rmtree(folder, ignore_errors=True)


def changed(stack: Stack, settings: Mapping[str, str]) -> Stack:
    """The same stack, its API and workflow engine started anew with `settings`."""
    anew = Stack(stack.home, _environ(settings), ends_with_parent=True)
    for server in (stack.api, stack.engine):
        server.stop()
    anew.up(Progress(Console(quiet=True)))
    return anew


def _environ(settings: Mapping[str, str]) -> Mapping[str, str]:
    return {**os.environ, "PORT": _ANY_FREE_PORT, "HOST": "127.0.0.1", **settings}


def _end(stack: Stack) -> None:
    """In order, else PostgreSQL would leave its shared memory behind; at once when it is interrupted again."""
    try:
        stack.down(Progress(Console(quiet=True)))
    except BaseException:
        stack.kill()
        raise
