"""What a tenant's calls to providers came to."""

from datetime import datetime, timedelta

from copilot_common.base.clock import utc_now
from copilot_common.base.errors import InvalidInput
from copilot_common.tenancy import Transaction
from copilot_domain.usage import repository
from copilot_domain.usage.types import GroupBy, UsageReport

_DEFAULT_SPAN = timedelta(days=30)
_LONGEST_SPAN = timedelta(days=366)  # every call of the span is read


async def sum_usage(
    tx: Transaction, *, since: datetime | None, until: datetime | None, group_by: GroupBy
) -> UsageReport:
    """From `since` up to, not including, `until`; by default the last 30 days. Who has not the scope admin sees their
    own calls only. Days come in order, other groups with the most calls first. Raises InvalidInput."""
    until = until or utc_now()
    since = since or until - _DEFAULT_SPAN
    _check_span(since, until)
    principal = tx.principal
    user_id = None if "admin" in principal.scopes else principal.acting_user
    return UsageReport(await repository.sum_calls(tx, since=since, until=until, group_by=group_by, user_id=user_id))


def _check_span(since: datetime, until: datetime) -> None:
    if until < since:
        raise InvalidInput({"to": "must not be before from"})
    if until - since > _LONGEST_SPAN:
        raise InvalidInput({"from": f"must be at most {_LONGEST_SPAN.days} days before to"})
