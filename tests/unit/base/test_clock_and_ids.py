"""Times and ids as the wire shows them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from copilot_common.base.clock import rfc3339
from copilot_common.base.ids import new_id

CASES = [
    (datetime(2024, 1, 15, 12, tzinfo=UTC), "2024-01-15T12:00:00.000Z"),
    (datetime(2024, 1, 15, 12, 0, 0, 999_999, tzinfo=UTC), "2024-01-15T12:00:00.999Z"),
    (datetime(2024, 1, 15, 1, tzinfo=timezone(timedelta(hours=2))), "2024-01-14T23:00:00.000Z"),
]


@pytest.mark.parametrize(("moment", "text"), CASES)
def test_moments_are_shown_in_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_ids_are_uuids_of_version_7_in_the_order_of_their_making() -> None:
    made = [new_id() for _ in range(1_000)]
    assert {one.version for one in made} == {7}
    assert made == sorted(made)
    assert len(set(made)) == 1_000
