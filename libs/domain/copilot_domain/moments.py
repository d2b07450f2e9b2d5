"""Points in time as a query gives them."""

from datetime import UTC, date, datetime, timedelta

from copilot_common.base.errors import InvalidInput


def parse_moment(text: str | None, *, field: str, ends_span: bool = False) -> datetime | None:
    """RFC 3339, or a date: midnight UTC at its begin, at its end where it `ends_span`. Raises InvalidInput."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if ends_span else day
        # In a query a bare + means a space; no RFC 3339 time has one of its own.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput({field: "must be a date or a time with its offset from UTC, like 2026-01-31T00:00:00Z"})
