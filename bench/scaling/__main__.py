"""The command line: `python -m bench.scaling` plays a day, `python -m bench.scaling record` records the bursts anew."""

import argparse
import signal
import sys
from pathlib import Path
from time import monotonic
from types import FrameType

from bench.load.http1 import BadResponse
from bench.progress import hush
from bench.report import FOLDER
from bench.scaling import recording
from bench.scaling.cases import Inputs, Price, play_all
from bench.scaling.picture import draw
from bench.scaling.rates import Rates, read_rates
from bench.scaling.table import render_case
from copilot_devstack import StackError

_RECORDING_LIMIT_SECONDS = 1_800


def main() -> None:
    options = _parser().parse_args()
    if options.command == "record":
        _record(options.recording)
        return
    rates = read_rates(options.results) if options.results else Rates()
    inputs, began = Inputs(recording.load(options.recording), rates, options.seed), monotonic()
    cases, price = play_all(inputs), Price(options.core_hour, options.gib_hour)
    print("\n\n".join(render_case(case, price) for case in cases))
    options.picture.parent.mkdir(exist_ok=True)
    options.picture.write_text(draw(cases, price))
    print(f"\n{rates}\ndrawn to {options.picture} in {monotonic() - began:.0f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description="A day of autoscaling, computed")
    parser.add_argument(
        "command", nargs="?", choices=["play", "record"], default="play", help="record: the bursts, anew"
    )
    parser.add_argument("--seed", type=int, default=1, help="another one is another day (%(default)s)")
    parser.add_argument("--results", type=Path, help="take rates from the newest results of `python -m bench` there")
    parser.add_argument("--recording", type=Path, default=recording.FILE, help="%(default)s")
    parser.add_argument("--picture", type=Path, default=FOLDER / "scaling.svg", help="%(default)s")
    parser.add_argument("--core-hour", type=float, default=Price.core, help="US dollars (%(default)s)")
    parser.add_argument("--gib-hour", type=float, default=Price.gib, help="US dollars (%(default)s)")
    return parser


def _record(path: Path) -> None:
    from bench.scaling.record import record  # noqa: PLC0415 — loads the product, which playing does without

    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(_RECORDING_LIMIT_SECONDS)
    try:
        found = record()
    except* (StackError, RuntimeError, BadResponse, OSError) as group:
        hush()
        sys.exit(f"bench.scaling: {_first(group)}")
    hush()
    recording.save(found, path)
    print(f"written to {path}")


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _stop(number: int, _: FrameType | None) -> None:
    """Through the exits of all `with` blocks, so that no server is left behind."""
    sys.exit(f"bench.scaling: {'took too long' if number == signal.SIGALRM else 'stopped'}")


if __name__ == "__main__":
    main()
