"""The command line. Exit code 0 also when a target is missed: the table says so. 1 when it could not be measured."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import msgspec

from bench.load.runner import LoadFailed
from bench.measures import CHAT, MEASURES, QUEUE, RETRIEVAL
from bench.peers.environment import FOLDER, install
from bench.plan import FULL, QUICK, Plan
from bench.product import DEFAULT_POOL
from bench.progress import hush
from bench.report import render, save
from bench.run import run
from copilot_devstack import StackError

_LIMIT_SECONDS = 480
_RETRIEVAL_LIMIT_SECONDS = 600
_SLOWEST_CHUNKS_PER_SECOND = 200  # a quarter of what is promised


def main() -> None:
    options = _parser().parse_args()
    if options.command == "peers":
        _install_peers()
        return
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    names, plan = options.only or [*CHAT, *QUEUE], _plan(options)
    signal.alarm(_limit_seconds(names, plan))
    try:
        report = run(plan, names=names, pool=options.pool)
    except (LoadFailed, StackError, RuntimeError) as error:
        hush()
        sys.exit(f"bench: {error}")
    hush()
    print(render(report))
    print(f"written to {save(report)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed against targets and peers")
    parser.add_argument("command", nargs="?", choices=["run", "peers"], default="run", help="peers: install them")
    parser.add_argument("--quick", action="store_true", help="one short round each")
    parser.add_argument("--only", action="append", choices=MEASURES, help="several times; retrieval, quality: so only")
    parser.add_argument("--chunks", type=int, help="how many the retrieval measure fills the database with")
    parser.add_argument("--cranfield", type=Path, help="folder of cran.all.1400, cran.qry, cranqrel: for quality")
    parser.add_argument("--pool", type=int, default=DEFAULT_POOL, help="the API's DATABASE_POOL_MAX (%(default)s)")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    cranfield = str(options.cranfield) if options.cranfield else ""
    return msgspec.structs.replace(plan, chunks=options.chunks or plan.chunks, cranfield=cranfield)


def _limit_seconds(names: list[str], plan: Plan) -> int:
    if not set(names) & set(RETRIEVAL):
        return _LIMIT_SECONDS
    return _RETRIEVAL_LIMIT_SECONDS + plan.chunks // _SLOWEST_CHUNKS_PER_SECOND


def _install_peers() -> None:
    print(f"Installing the peers into {FOLDER} (takes minutes)")
    try:
        install()
    except (subprocess.SubprocessError, OSError) as error:
        sys.exit(f"bench: the peers could not be installed: {error}")


def _stop(number: int, _: FrameType | None) -> None:
    """Through the exits of all `with` blocks, so that no server is left behind."""
    name = "took too long" if number == signal.SIGALRM else "stopped"
    sys.exit(f"bench: {name}")


if __name__ == "__main__":
    main()
