"""The result for people: a table for each service."""

from collections.abc import Sequence

from bench.scaling.cases import Case, Price
from bench.scaling.course import Course

_HEADS = ("", "wait p50", "p95", "p99", "max", "depth max", "replicas", "changes", "replica-hours", "cost")


def render_case(case: Case, price: Price) -> str:
    lines = [_HEADS, *(_cells(course, price.of(case.unit)) for course in case.courses)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    rows = [_line(line, widths) for line in lines]
    rows.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([f"{case.title}: waits for {case.waited_for}", *rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def _cells(course: Course, hourly: float) -> tuple[str, ...]:
    replicas = course.replicas
    return (
        course.name,
        *(f"{seconds:.1f} s" for seconds in course.waits.percentiles(50, 95, 99, 100)),
        f"{max(course.depth):.0f}",
        f"{min(replicas)} / {sum(replicas) / len(replicas):.2f} / {max(replicas)}",
        str(course.changes),
        f"{course.replica_hours:.1f}",
        f"${course.replica_hours * hourly:.2f}",
    )
