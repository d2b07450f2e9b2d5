"""What calls to providers came to, summed up for whoever pays. They are recorded where an answer ends."""

from copilot_domain.usage.service import sum_usage
from copilot_domain.usage.types import GroupBy, UsageReport, UsageSum

__all__ = ["GroupBy", "UsageReport", "UsageSum", "sum_usage"]
