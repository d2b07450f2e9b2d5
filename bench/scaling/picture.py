"""A day in one picture (SVG): a column for each service; replicas, waits and cost below each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from math import log10

from bench.scaling.cases import Case, Price
from bench.scaling.course import Course
from bench.scaling.fleet import SYNC_SECONDS

_PANEL_WIDTH, _PANEL_HEIGHT = 360, 170
_LEFT, _TOP, _GAP_X, _GAP_Y, _BOTTOM = 50, 100, 60, 60, 0
_COLOURS = ("#0b62a4", "#d1701c", "#8a8a8a", "#222222", "#3a923a")  # of the courses, in their order
_DASHES = ("", "", "3 3", "8 3", "")
_BIN_SECONDS = 600
_LEAST_WAIT = 0.1  # seconds: what is below lies on the axis
_HOUR_TICKS = range(0, 25, 6)


@dataclass(frozen=True)
class Panel:
    """Where it stands, for how many hours; `at` gives the share of its height at which a value lies."""

    left: float
    upper: float
    hours: float
    at: Callable[[float], float]

    def point(self, hour: float, value: float) -> str:
        x = self.left + _PANEL_WIDTH * hour / self.hours
        return f"{x:.1f},{self._y(value):.1f}"

    def line(self, points: Sequence[tuple[float, float]], number: int) -> str:
        path = " ".join(self.point(hour, value) for hour, value in points)
        return (
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[number]}" stroke-width="1.4" '
            f'stroke-dasharray="{_DASHES[number]}"/>'
        )

    def frame(self, title: str, ticks: dict[float, str]) -> list[str]:
        right, lower = self.left + _PANEL_WIDTH, self.upper + _PANEL_HEIGHT
        parts = [_text(self.left, self.upper - 8, title)]
        for value, label in ticks.items():
            y = self._y(value)
            parts.append(f'<path d="M{self.left:.0f} {y:.1f}H{right:.0f}" stroke="#dddddd"/>')
            parts.append(_text(self.left - 5, y + 4, label, anchor="end"))
        for hour in (hour for hour in _HOUR_TICKS if hour <= self.hours):
            x = self.left + _PANEL_WIDTH * hour / self.hours
            parts.append(_text(x, lower + 14, f"{hour}:00", anchor="middle"))
        parts.append(
            f'<path d="M{self.left:.0f} {self.upper:.0f}V{lower:.0f}H{right:.0f}" fill="none" stroke="#555555"/>'
        )
        return parts

    def _y(self, value: float) -> float:
        return self.upper + _PANEL_HEIGHT * (1 - self.at(value))


def draw(cases: Sequence[Case], price: Price) -> str:
    width = _LEFT + len(cases) * (_PANEL_WIDTH + _GAP_X)
    height = _TOP + 3 * (_PANEL_HEIGHT + _GAP_Y) + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="DejaVu Sans, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, case in enumerate(cases):
        parts += _column(case, price, _LEFT + number * (_PANEL_WIDTH + _GAP_X))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _column(case: Case, price: Price, left: float) -> list[str]:
    courses, hourly = case.courses, price.of(case.unit)
    hours = len(courses[0].replicas) * SYNC_SECONDS / 3_600
    uppers = [_TOP + row * (_PANEL_HEIGHT + _GAP_Y) for row in range(3)]
    parts = [_text(left, 24, case.title, size=15), *_legend(courses, left)]
    replicas = Panel(left, uppers[0], hours, _linear(case.unit.scaling.max_replicas + 1))
    parts += replicas.frame("replicas", {float(n): str(n) for n in range(0, case.unit.scaling.max_replicas + 1)})
    waits = {course.name: _waits(course, hours) for course in courses}
    top = max(10.0, *(seconds for points in waits.values() for _, seconds in points))
    panel = Panel(left, uppers[1], hours, _logarithmic(top))
    ticks = {0.1: "0.1", 1.0: "1", 10.0: "10", 100.0: "100", 1_000.0: "1000", 10_000.0: "10⁴"}
    title = f"seconds waited for {case.waited_for}, p99 of ten minutes"
    parts += panel.frame(title, {value: label for value, label in ticks.items() if value <= top})
    cost = Panel(left, uppers[2], hours, _linear(max(course.replica_hours for course in courses) * hourly))
    total = max(course.replica_hours for course in courses) * hourly
    parts += cost.frame("cost so far, US dollars", {share * total: f"{share * total:.2f}" for share in (0.0, 0.5, 1.0)})
    for number, course in reversed(list(enumerate(courses))):  # the chart's own lies on top
        parts.append(replicas.line(_steps(course), number))
        parts.append(panel.line(waits[course.name], number))
        parts.append(cost.line(_costs(course, hourly), number))
    return parts


def _legend(courses: Sequence[Course], left: float) -> list[str]:
    parts = []
    for number, course in enumerate(courses):
        x, y = left + 185 * (number % 2), 40 + 14 * (number // 2)
        parts.append(
            f'<path d="M{x:.0f} {y - 4}h22" stroke="{_COLOURS[number]}" stroke-width="2" '
            f'stroke-dasharray="{_DASHES[number]}"/>'
        )
        parts.append(_text(x + 27, y, course.name))
    return parts


def _steps(course: Course) -> list[tuple[float, float]]:
    """Two points where it changes."""
    points = [(0.0, float(course.replicas[0]))]
    for number, replicas in enumerate(course.replicas):
        if replicas != points[-1][1]:
            hour = number * SYNC_SECONDS / 3_600
            points += [(hour, points[-1][1]), (hour, float(replicas))]
    return [*points, (len(course.replicas) * SYNC_SECONDS / 3_600, points[-1][1])]


def _waits(course: Course, hours: float) -> list[tuple[float, float]]:
    bins = course.waits.over_the_day(99, bin_seconds=_BIN_SECONDS, day_seconds=int(hours * 3_600))
    return [((number + 0.5) * _BIN_SECONDS / 3_600, seconds) for number, seconds in enumerate(bins)]


def _costs(course: Course, hourly: float) -> list[tuple[float, float]]:
    every = _BIN_SECONDS // SYNC_SECONDS
    sums = list(accumulate(course.replicas))[every - 1 :: every]
    return [
        ((number + 1) * _BIN_SECONDS / 3_600, each * SYNC_SECONDS / 3_600 * hourly) for number, each in enumerate(sums)
    ]


def _linear(top: float) -> Callable[[float], float]:
    return lambda value: min(value / top, 1.0)


def _logarithmic(top: float) -> Callable[[float], float]:
    span = log10(top / _LEAST_WAIT)
    return lambda value: min(max(log10(max(value, _LEAST_WAIT) / _LEAST_WAIT) / span, 0.0), 1.0)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
