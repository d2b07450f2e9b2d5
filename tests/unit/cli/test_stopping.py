"""SIGTERM ends the tools' waits for other programs."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from copilot_cli.backups.stopping import on_sigterm
from support.stack import eventually


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a thread waits")
def test_a_signal_that_interrupts_no_system_call_ends_its_wait() -> None:
    """As one that comes right before the call: here it comes to another thread."""
    reader, writer = os.pipe()
    main, is_there, has_ended = threading.get_native_id(), threading.Event(), threading.Event()
    answers: list[str] = []

    def signalling() -> None:
        is_there.wait()
        eventually(lambda: _is_waiting(main), what="the wait")
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        if not has_ended.wait(20):
            answers.append("too late")
            os.write(writer, b"-")

    thread = threading.Thread(target=signalling)
    with pytest.raises(SystemExit) as stopped, on_sigterm():  # noqa: PT012
        thread.start()
        is_there.set()
        os.read(reader, 1)
    has_ended.set()
    thread.join()
    os.close(reader)
    os.close(writer)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert answers == []


def test_all_is_as_it_was_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    with on_sigterm():
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before


def _is_waiting(thread_id: int) -> bool:
    """Linux tells the thread's state after its name, which is in parentheses."""
    return Path(f"/proc/self/task/{thread_id}/stat").read_text().rpartition(")")[2].split()[0] == "S"
