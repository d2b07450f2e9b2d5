"""Times that cron expressions name in a time zone, above all where clocks change."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import InvalidInput
from copilot_domain.workflows.schedules.cron import Cron

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def firings(expression: str, zone: str, start: str, count: int) -> list[str]:
    """Local times with their offsets, from the moment after `start` on."""
    cron, at, found = Cron(expression, zone), datetime.fromisoformat(start), []
    for _ in range(count):
        following = cron.next_after(at)
        assert following is not None
        assert following.utcoffset() == timedelta()
        assert following > at
        at = following
        found.append(at.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


# Clocks go forward: in Berlin from 02:00 to 03:00 on 2026-03-29, in New York likewise on 2026-03-08, on Lord Howe from
# 02:00 to 02:30 on 2026-10-04. Back: from 03:00 to 02:00 on 2026-10-25, from 02:00 to 01:00 on 2026-11-01, from 02:00
# to 01:30 on 2026-04-05.
SPRING = [
    ("30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
    ("30 2 * * *", NEW_YORK, "2026-03-07T12:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
    ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00+10:30", ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
    # What has several times in the gap fires once for them, also where its next time is the gap's very end.
    ("*/15 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0 2,3 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0 */2 * * *", NEW_YORK, "2026-03-08T00:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-08T04:00-04:00"]),
    ("30 2 29 3 *", BERLIN, "2026-03-01T12:00+01:00", ["2026-03-29T03:00+02:00", "2027-03-29T02:30+02:00"]),
    # Midnight itself may be missing.
    ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00+02:00", ["2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"]),
]
AUTUMN = [
    ("30 2 * * *", BERLIN, "2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
    ("30 1 * * *", NEW_YORK, "2026-10-31T12:00-04:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
    ("45 1 * * *", LORD_HOWE, "2026-04-04T12:00+11:00", ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
    ("0,30 2 * * *", BERLIN, "2026-10-25T02:10+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:00+01:00"]),
    # Begun in the hour that comes again: its times have been.
    ("30 2 * * *", BERLIN, "2026-10-25T02:10+01:00", ["2026-10-26T02:30+01:00"]),
    ("0 3 * * *", BERLIN, "2026-10-25T02:10+02:00", ["2026-10-25T03:00+01:00"]),
]
HOURLY = [
    ("0 * * * *", BERLIN, "2026-03-29T01:30+01:00", ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]),
    ("30 * * * *", BERLIN, "2026-03-29T01:00+01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]),
    ("30 * * * *", BERLIN, "2026-10-25T02:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]),
    ("*/30 * * * *", NEW_YORK, "2026-11-01T01:00-04:00", ["2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00"]),
    ("0 0-23 * * *", NEW_YORK, "2026-11-01T00:30-04:00", ["2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"]),
    ("45 * * * *", LORD_HOWE, "2026-10-04T01:50+10:30", ["2026-10-04T02:45+11:00", "2026-10-04T03:45+11:00"]),
    ("45 * * * *", LORD_HOWE, "2026-04-05T01:00+11:00", ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30"]),
    ("0 * 1 1 *", LORD_HOWE, "2026-01-01T23:00+11:00", ["2027-01-01T00:00+11:00", "2027-01-01T01:00+11:00"]),
]


@pytest.mark.parametrize(("expression", "zone", "start", "expected"), SPRING)
def test_a_time_that_does_not_exist_fires_once_after_the_gap(
    expression: str, zone: str, start: str, expected: list[str]
) -> None:
    assert firings(expression, zone, start, len(expected)) == expected


@pytest.mark.parametrize(("expression", "zone", "start", "expected"), AUTUMN)
def test_a_time_that_exists_twice_fires_once(expression: str, zone: str, start: str, expected: list[str]) -> None:
    assert firings(expression, zone, start, len(expected)) == expected


@pytest.mark.parametrize(("expression", "zone", "start", "expected"), HOURLY)
def test_what_fires_every_hour_goes_on_through_both(
    expression: str, zone: str, start: str, expected: list[str]
) -> None:
    assert firings(expression, zone, start, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("0 9 * * MON-FRI", BERLIN, ["2026-09-07T09:00+02:00", "2026-09-08T09:00+02:00"]),
        ("0 12 L * *", "UTC", ["2026-09-30T12:00+00:00", "2026-10-31T12:00+00:00"]),
        ("0 0 29 2 *", "UTC", ["2028-02-29T00:00+00:00", "2032-02-29T00:00+00:00"]),
        ("59 23 31 12 *", "Asia/Kathmandu", ["2026-12-31T23:59+05:45", "2027-12-31T23:59+05:45"]),
    ],
)
def test_it_is_the_time_of_its_zone(expression: str, zone: str, expected: list[str]) -> None:
    assert firings(expression, zone, "2026-09-05T12:00+00:00", 2) == expected


def test_seconds_of_now_do_not_make_it_fire_twice_or_late() -> None:
    cron = Cron("* * * * *", "UTC")
    for second, microsecond in [(0, 0), (0, 1), (59, 999_999)]:
        now = datetime(2026, 9, 5, 12, 0, second, microsecond, tzinfo=UTC)
        assert cron.next_after(now) == datetime(2026, 9, 5, 12, 1, tzinfo=UTC)


def test_what_is_never_due_says_so() -> None:
    assert Cron("* * */20 * 1L", "UTC").next_after(datetime(2026, 9, 5, tzinfo=UTC)) is None
    assert Cron("0 12 */20 * 1L", BERLIN).next_after(datetime(2026, 9, 5, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("expression", "zone", "field", "says"),
    [
        ("", "UTC", "cron", "five fields"),
        ("* * * *", "UTC", "cron", "five fields"),
        ("* * * * * *", "UTC", "cron", "five fields"),
        ("@daily", "UTC", "cron", "five fields"),
        ("60 * * * *", "UTC", "cron", "its minute"),
        ("* 24 * * *", "UTC", "cron", "its hour"),
        ("* * 0 * *", "UTC", "cron", "its day of the month"),
        ("* * * JANUARY *", "UTC", "cron", "its month"),
        ("* * * * 8", "UTC", "cron", "its day of the week"),
        ("*/0 * * * *", "UTC", "cron", "its minute"),
        ("0 0 30 2 *", "UTC", "cron", "a day that its months do not have"),
        ("0" * 300, "UTC", "cron", "at most 200"),
        ("* * * * *", "Europe/Bielefeld", "timezone", "IANA"),
        ("* * * * *", "Europe", "timezone", "IANA"),
        ("* * * * *", "", "timezone", "IANA"),
        ("* * * * *", "../../etc/passwd", "timezone", "IANA"),
        ("* * * * *", "europe/berlin", "timezone", "IANA"),
    ],
)
def test_what_cannot_be_read_is_named(expression: str, zone: str, field: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Cron(expression, zone)
    assert list(caught.value.fields) == [field]
    assert says in caught.value.fields[field]


@given(st.lists(st.text("0123456789*,-/#LW²\u0661ıſ MONJA", max_size=8), min_size=4, max_size=6).map(" ".join))
def test_no_text_breaks_the_reading(text: str) -> None:
    with suppress(InvalidInput):
        Cron(text, "UTC").next_after(datetime(2026, 9, 5, tzinfo=UTC))


def field(low: int, high: int, *more: str) -> st.SearchStrategy[str]:
    numbers = st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda each: ",".join(map(str, each)))
    return numbers | st.sampled_from(["*", "*/2", "*/7", "*/20", *more])


expressions = st.tuples(
    field(0, 59), field(0, 23, "0-23"), field(1, 28, "L"), field(1, 12), field(0, 7, "MON-FRI", "SUN#2")
).map(" ".join)
zones = st.sampled_from(
    [BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Africa/Cairo", "Antarctica/Troll", "Pacific/Chatham", "Africa/Casablanca"]
)
WALL = datetime(2020, 1, 1)  # noqa: DTZ001 — a wall time has no zone
moments = st.datetimes(WALL, WALL.replace(year=2037), timezones=st.just(UTC))


@given(expressions, zones, moments)
def test_the_next_time_is_later_and_the_clock_shows_it_or_has_jumped_over_it(
    expression: str, zone: str, moment: datetime
) -> None:
    cron, at = Cron(expression, zone), moment
    for _ in range(5):
        following = cron.next_after(at)
        if following is None:
            return
        assert following > at
        at = following
        assert shows(expression, at.astimezone(ZoneInfo(zone))) or has_jumped(zone, at)


def shows(expression: str, local: datetime) -> bool:
    wall = local.replace(tzinfo=None)
    return next(CronSim(expression, wall - timedelta(seconds=1)), None) == wall


def has_jumped(zone: str, moment: datetime) -> bool:
    before, after = (each.astimezone(ZoneInfo(zone)).utcoffset() for each in (moment - timedelta(minutes=1), moment))
    return before is not None and after is not None and before < after


CHANGES = [
    (BERLIN, "2026-03-29T01:00Z"),
    (BERLIN, "2026-10-25T01:00Z"),
    (NEW_YORK, "2026-03-08T07:00Z"),
    (NEW_YORK, "2026-11-01T06:00Z"),
    (LORD_HOWE, "2026-10-03T15:30Z"),
    (LORD_HOWE, "2026-04-04T15:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00Z"),
]


@given(expressions, st.sampled_from(CHANGES))
def test_around_a_change_it_fires_when_a_walk_along_the_minutes_says(expression: str, change: tuple[str, str]) -> None:
    zone, at = change[0], datetime.fromisoformat(change[1])
    start, end = at - timedelta(hours=8), at + timedelta(hours=8)
    cron, found, last = Cron(expression, zone), [], start
    while (following := cron.next_after(last)) is not None and following <= end:
        found.append(following)
        last = following
    assert found == walked(expression, zone, start, end)


def walked(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Minute by minute: what the clock shows for the first time, and what it has just jumped over."""
    is_hourly = CronSim(expression, WALL).hours == set(range(24))
    minutes = [start + timedelta(minutes=each) for each in range(-180, int((end - start).total_seconds()) // 60 + 1)]
    walls = [each.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for each in minutes]
    seen, found = walls[0], []
    for (before, wall), moment in zip(pairwise(walls), minutes[1:], strict=True):
        is_new = wall > seen
        jumped = [before + timedelta(minutes=each) for each in range(1, int((wall - before).total_seconds()) // 60)]
        fires = matches(expression, wall) if is_hourly or is_new else False
        fires = fires or (not is_hourly and any(matches(expression, each) for each in jumped))
        seen = max(seen, wall)
        if fires and moment > start:
            found.append(moment)
    return found


def matches(expression: str, wall: datetime) -> bool:
    sim = CronSim(expression, WALL)
    is_time = wall.minute in sim.minutes and wall.hour in sim.hours
    return is_time and wall.month in sim.months and sim.match_day(wall.date())
