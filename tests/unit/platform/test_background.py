"""What nobody waits for stands back."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from copilot_common.platform.background import in_background

AUTOGROUP = Path("/proc/self/autogroup")
STAND_BACK = (
    f"from copilot_common.platform.background import stand_back_together as f; f();print(open('{AUTOGROUP}').read())"
)


async def test_background_computing_has_one_niced_thread() -> None:
    first, second = [await in_background(_identify) for _ in range(2)]
    assert first == second
    assert first[1] == os.getpriority(os.PRIO_PROCESS, 0) + 10


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not part the processor by session")
@pytest.mark.parametrize(("leads_session", "niceness"), [(True, "nice 10"), (False, "nice 0")])
def test_a_service_stands_back_in_a_session_of_its_own(leads_session: bool, niceness: str) -> None:
    inner = [sys.executable, "-c", STAND_BACK]
    # What does not lead its session has another process around it that does.
    around = [sys.executable, "-c", f"import subprocess; subprocess.run({inner!r}, check=True)"]
    command = inner if leads_session else around
    shown = subprocess.run(command, start_new_session=True, check=True, capture_output=True, text=True).stdout
    assert shown.strip().endswith(niceness)


def _identify() -> tuple[int, int]:
    return threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
