"""Time as the wire shows it. Leases and due times use the database's clock, not this one."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2024-01-15T12:00:00.000Z`: UTC, milliseconds, as in the log format of the deployment guide."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
