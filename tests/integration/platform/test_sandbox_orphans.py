"""A parent that is killed has no time to tidy up."""

import subprocess
import sys
from pathlib import Path

import psutil

_PARENT = """
import asyncio, sys
sys.path.append(sys.argv[1])
from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.pool import Sandbox

async def main():
    limits = Limits(memory_bytes=2**26, wall_seconds=600.0, cpu_seconds=600, open_files=0, output_bytes=100)
    sandbox = Sandbox("support.sandboxed:run", size=2, limits=limits)
    await sandbox.start()
    busy, idle = await asyncio.gather(sandbox.call(b"pid"), sandbox.call(b"pid"))
    asyncio.create_task(sandbox.call(b"loop"))
    await asyncio.sleep(0)
    print(busy.decode(), idle.decode(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_children_die_with_their_parent_also_in_the_middle_of_a_call() -> None:
    tests = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tests)], stdout=subprocess.PIPE, text=True)
    try:
        if parent.stdout is None:
            raise RuntimeError
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len({child.pid for child in children}) == 2
        assert all(child.ppid() == parent.pid for child in children)
    finally:
        parent.kill()
        parent.communicate()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (2, [])
