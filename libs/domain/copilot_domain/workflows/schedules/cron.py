"""Cron expressions in a time zone: the times they name, and the moments at which these are.

cronsim knows the calendar; it is asked without a zone, because its own way with zones loses times where clocks change
by half an hour (Lord Howe). What happens when clocks change is decided here:

- A time of day that does not exist is the first moment after the gap; several of them are that one moment.
- A time of day that exists twice is the first of the two.
- Where every hour is meant, no time of day is: it is each moment at which the clock shows such a minute. `*/15 * * * *`
  goes on every quarter of an hour, whatever the clock does.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from copilot_common.base.errors import InvalidInput

MAX_CHARACTERS = 200
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_EVERY_HOUR = frozenset(range(24))
_CALENDAR = datetime(2000, 1, 1)  # noqa: DTZ001 — any wall time will do to read an expression
_DAY, _MINUTE, _SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)


class Cron:
    """Raises InvalidInput that names `cron` or `timezone`."""

    def __init__(self, expression: str, timezone: str) -> None:
        self._expression = expression
        self._is_hourly = _read(expression).hours >= _EVERY_HOUR
        self._zone = _zone(timezone)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first moment after `moment`, in UTC; None where none comes within 50 years. May take 50 ms where times
        are that far apart."""
        if self._is_hourly:
            return self._next_shown(moment)
        return self._next_of_the_day(moment)

    def _next_of_the_day(self, moment: datetime) -> datetime | None:
        for wall in CronSim(self._expression, moment.astimezone(self._zone).replace(tzinfo=None)):
            found = self._moment_of(wall)
            if found > moment:  # it is not where the clock was put back since, or jumped over that time
                return found
        return None

    def _moment_of(self, wall: datetime) -> datetime:
        first = wall.replace(tzinfo=self._zone).astimezone(UTC)
        if first.astimezone(self._zone).replace(tzinfo=None) == wall:
            return first
        # PEP 495: of a time in a gap, fold 1 gives a moment before the gap and fold 0 one after it.
        before = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        return _first_change(self._zone, before, first) or first

    def _next_shown(self, moment: datetime) -> datetime | None:
        """While the offset from UTC stays the same, wall time goes as time does; so from one change to the next."""
        after = since = moment
        while True:
            offset = _offset(self._zone, since)
            wall = next(CronSim(self._expression, (after.astimezone(UTC) + offset).replace(tzinfo=None)), None)
            if wall is None:
                return None
            found = (wall - offset).replace(tzinfo=UTC)
            change = _first_change(self._zone, since, found)
            if change is None:
                return found
            after, since = change - _SECOND, change


def _read(expression: str) -> CronSim:
    if len(expression) > MAX_CHARACTERS:
        raise InvalidInput({"cron": f"must be at most {MAX_CHARACTERS} characters"})
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise InvalidInput({"cron": f"must have five fields: {', '.join(_FIELDS)}"})
    try:
        return CronSim(expression, _CALENDAR)
    except CronSimError:
        raise InvalidInput({"cron": _fault(fields)}) from None


def _fault(fields: list[str]) -> str:
    """Each field is tried on its own."""
    for place, (field, name) in enumerate(zip(fields, _FIELDS, strict=True)):
        alone = ["*"] * len(fields)
        alone[place] = field
        try:
            CronSim(" ".join(alone), _CALENDAR)
        except CronSimError:
            return f"its {name} cannot be read"
    return "names a day that its months do not have"


def _zone(name: str) -> ZoneInfo:
    """By membership in a list: other names would be looked for as files."""
    if name not in _zone_names():
        raise InvalidInput({"timezone": "is no time zone of the IANA database, such as Europe/Berlin or UTC"})
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())


def _first_change(zone: tzinfo, start: datetime, end: datetime) -> datetime | None:
    """The first moment after `start`, up to `end`, at which the zone's offset is another one. No zone changes it twice
    within a day, or anywhere but at a full minute."""
    offset = _offset(zone, start)
    low = start
    while low < end:
        high = min(low + _DAY, end)
        if _offset(zone, high) != offset:
            return _narrowed(zone, low, high)
        low = high
    return None


def _narrowed(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The change between two moments, of which the second one has the new offset."""
    offset = _offset(zone, low)
    start = low.astimezone(UTC).replace(second=0, microsecond=0)
    few, many = 0, -(-(high - start) // _MINUTE)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _offset(zone, start + middle * _MINUTE) != offset else (middle, many)
    return start + many * _MINUTE


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
