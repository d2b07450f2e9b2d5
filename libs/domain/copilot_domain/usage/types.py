"""Sums of calls, as the wire shows them."""

from decimal import Decimal
from typing import Literal

import msgspec

GroupBy = Literal["day", "model", "user", "api_key"]


class UsageSum(msgspec.Struct, frozen=True):
    """`input_tokens` includes `cached_tokens`. `cost_usd` is None where no price was known; calls without a price add
    nothing to it. `key` is a UTC day, a model or an id; None for calls made without an API key."""

    key: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal | None


class UsageReport(msgspec.Struct, frozen=True):
    items: list[UsageSum]
