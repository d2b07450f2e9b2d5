"""Sums over `llm_calls`."""

from datetime import datetime

from copilot_common.base.ids import UserId
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.usage.types import GroupBy, UsageSum

_sql = Queries(__package__)
_MAX_GROUPS = 1_000  # more than a year of days; of users and keys the busiest


async def sum_calls(
    tx: Transaction, *, since: datetime, until: datetime, group_by: GroupBy, user_id: UserId | None
) -> list[UsageSum]:
    params = {
        "tenant_id": tx.principal.tenant_id,
        "since": since,
        "until": until,
        "group_by": group_by,
        "user_id": user_id,
        "limit": _MAX_GROUPS,
    }
    return await tx.fetch_all(UsageSum, _sql["sum_calls"], params, prepare=False)
