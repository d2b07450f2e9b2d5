"""`python -m copilot_devstack.simulator --port 9999`: prints its address when it listens."""

import argparse
import asyncio
import os
import signal
import sys

import uvloop

from copilot_devstack.simulator.server import Simulator

# Thousands of benchmark clients may connect in the same instant.
_BACKLOG = 2048
_MAX_HEAD_BYTES = 256 * 1024


async def serve(host: str, port: int, *, until_stdin_closes: bool) -> None:
    """Serve until SIGTERM or SIGINT, or until whoever holds the other end of stdin has died."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_input, stopped)
    simulator = Simulator()
    server = await asyncio.start_server(simulator.serve_connection, host, port, backlog=_BACKLOG, limit=_MAX_HEAD_BYTES)
    address = server.sockets[0].getsockname()
    sys.stdout.write(f"simulator listens on http://{address[0]}:{address[1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()


def _stop_at_end_of_input(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stopped.set()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m copilot_devstack.simulator", description="LLM provider simulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started it")
    options = parser.parse_args()
    uvloop.run(serve(options.host, options.port, until_stdin_closes=options.until_stdin_closes))


if __name__ == "__main__":
    main()
