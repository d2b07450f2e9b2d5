"""The result for people (a table and its notes) and for programs (a JSON file)."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.contenders import Record
from bench.machine import Machine
from bench.plan import Plan
from bench.queueing.rounds import QueueRecord
from bench.rows import Row

FOLDER = Path(__file__).parent / "results"
_HEADS = ("what", "target", "measured", "peer", "ratio", "verdict")


class Report(msgspec.Struct, kw_only=True):
    started_at: datetime
    seconds: float
    machine: Machine
    settings: dict[str, str]
    plan: Plan
    rows: list[Row]
    records: list[Record]
    queue_records: list[QueueRecord]


def render(report: Report) -> str:
    lines = [_HEADS, *(_cells(row) for row in report.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    table.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([*table, "", *_notes(report.rows), *_footer(report)])


def save(report: Report, folder: Path = FOLDER) -> Path:
    """The file's name is the time at which the run began."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{report.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return path


def _cells(row: Row) -> tuple[str, ...]:
    times = f"{row.ratio:.1f} ×" if row.ratio is not None else ""
    return (row.name, row.target, row.measured, row.peer, times, row.verdict)


def _notes(rows: list[Row]) -> list[str]:
    return [line for row in rows if row.notes for line in (row.name, *(f"  · {note}" for note in row.notes))]


def _footer(report: Report) -> list[str]:
    machine = report.machine
    settings = ", ".join(f"{name}={value}" for name, value in report.settings.items())
    return [
        "",
        f"ratio: times better than the peer in the same run. {report.plan.rounds} rounds in turns, medians shown.",
        f"{machine.cores} cores ({machine.processor}), Python {machine.python}, {machine.system}; load average at the "
        f"start {machine.load_average}",
        settings,
    ]
