"""Pages: limits, cursors and totals."""

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import InvalidInput
from copilot_domain.moments import parse_moment
from copilot_domain.pagination import Page, PageRequest, page, page_request


def cut(rows: list[int], request: PageRequest, counted: int | None = None) -> Page[str]:
    return page(request, rows, key=lambda row: row, item=str, counted=counted)


@given(total=st.integers(0, 60), limit=st.integers(1, 100))
def test_following_the_cursor_gives_every_row_once_in_order(total: int, limit: int) -> None:
    rows, seen, cursor = list(range(total)), [], None
    while True:
        request = page_request(limit, None, cursor)
        after = request.position(int)
        found = cut([row for row in rows if after is None or row > after][: request.fetch], request)
        seen += found.items
        assert found.has_more == (found.next_cursor is not None)
        if found.next_cursor is None:
            break
        cursor = found.next_cursor
    assert seen == [str(row) for row in rows]


@given(st.tuples(st.datetimes(timezones=st.just(UTC)), st.uuids()))
def test_a_cursor_gives_back_its_sort_key(key: tuple[datetime, UUID]) -> None:
    cursor = page(PageRequest(1), [0, 1], key=lambda _: key, item=str, counted=None).next_cursor
    assert PageRequest(1, cursor=cursor).position(tuple[datetime, UUID]) == key


@given(st.text(min_size=1, max_size=100))
def test_any_other_text_is_no_cursor_and_says_so(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        PageRequest(1, cursor=text).position(tuple[datetime, UUID])
    assert list(caught.value.fields) == ["cursor"]


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = page(PageRequest(1), [0, 1], key=lambda _: uuid4(), item=str, counted=None).next_cursor
    with pytest.raises(InvalidInput):
        PageRequest(1, cursor=cursor).position(tuple[datetime, UUID])


@pytest.mark.parametrize(
    ("limit", "offset", "cursor", "field"),
    [
        (0, None, None, "limit"),
        (101, None, None, "limit"),
        (-1, None, None, "limit"),
        (None, -1, None, "offset"),
        (None, 10_001, None, "offset"),
        (None, 1, "x", "offset"),
        (None, None, "", "cursor"),
        (None, None, "x" * 513, "cursor"),
    ],
)
def test_what_is_out_of_range_is_named(limit: int | None, offset: int | None, cursor: str | None, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_request(limit, offset, cursor)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(("counted", "total"), [(0, 0), (1_000, 1_000), (1_001, None), (None, None)])
def test_the_total_is_exact_up_to_a_thousand(counted: int | None, total: int | None) -> None:
    assert cut([], PageRequest(20), counted).total == total


@pytest.mark.parametrize(
    ("text", "ends_span", "moment"),
    [
        ("2026-01-31", False, datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31", True, datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-01-31T10:00:00Z", True, datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T10:00:00.5+02:00", False, datetime(2026, 1, 31, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T10:00:00 02:00", False, datetime(2026, 1, 31, 8, tzinfo=UTC)),
        (None, False, None),
    ],
)
def test_a_moment_is_a_date_or_a_time_with_its_offset(text: str, ends_span: bool, moment: datetime) -> None:
    assert parse_moment(text, field="from", ends_span=ends_span) == moment


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-31T10:00:00", "2026-02-30", "9999-12-31", "0001-01-01T00:00:00+14:00"]
)
def test_any_other_text_is_no_moment_and_names_the_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_moment(text, field="to", ends_span=True)
    assert list(caught.value.fields) == ["to"]


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_moments(text: str) -> None:
    with suppress(InvalidInput):
        parse_moment(text, field="to", ends_span=True)
