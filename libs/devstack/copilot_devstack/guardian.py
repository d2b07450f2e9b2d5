"""Deletes throwaway stacks whose owner has gone, however it went.

    python -m copilot_devstack.guardian FOLDER…

Standard input is a pipe whose other end the owner holds. When it closes, servers that still live below the folders are
killed and the folders deleted. The owner's normal end takes the same way, so that there is only one.
"""

import signal
import sys
from pathlib import Path


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean_up([Path(argument) for argument in sys.argv[1:]])


def clean_up(folders: list[Path]) -> None:
    import shutil

    from copilot_devstack.processes import living_in

    for folder in folders:
        for data, program in ((folder / "postgres" / "data", "postgres"), (folder / "redis", "redis-server")):
            for process in living_in(data, program):
                process.stop(((signal.SIGQUIT, 5.0), (signal.SIGKILL, 10.0)))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
