"""The models we know, read from models.toml, and what their use costs."""

import datetime
from collections.abc import Sequence
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from copilot_common.base.errors import SettingsError
from copilot_common.llm.types import ModelProfile, Prices, TokenUsage

Provider = Literal["anthropic", "openai", "google", "local"]
# In the order in which a default is looked for.
PROVIDERS: tuple[Provider, ...] = get_args(Provider)

_TOKENS_PER_PRICE = 1_000_000


# Text, since TOML knows no exact decimals.
Price = Annotated[str, Meta(pattern=r"^\d{1,6}(\.\d{1,6})?$")]


class _PriceEntry(msgspec.Struct, forbid_unknown_fields=True):
    input: Price
    output: Price
    cached_input: Price
    as_of: datetime.date


class _ModelEntry(msgspec.Struct, forbid_unknown_fields=True):
    alias: Annotated[str, Meta(pattern=r"^[\w.:/-]{1,100}$")]
    provider: Provider
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    context_window: Annotated[int, Meta(ge=1)]
    max_output_tokens: Annotated[int, Meta(ge=1)]
    capabilities: tuple[str, ...] = ()
    prices: list[_PriceEntry] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: Annotated[list[_ModelEntry], Meta(min_length=1)]


def load_profiles(path: Path | None = None, *, on: datetime.date | None = None) -> list[ModelProfile]:
    """The file's models with the prices that hold on that day (today), in the file's order.

    Raises SettingsError that names the file and the path of the fault in it (`$.models[2].context_window`).
    """
    source = path or files("copilot_common.llm").joinpath("models.toml")
    day = on or datetime.datetime.now(datetime.UTC).date()
    try:
        entries = msgspec.toml.decode(source.read_text("utf-8"), type=_File).models
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{source.name} is not valid: {error}") from None
    _check_unique([entry.alias for entry in entries], source.name)
    return [_profile(entry, day) for entry in entries]


def cost_usd(usage: TokenUsage, prices: Prices | None) -> Decimal | None:
    """None where the price is unknown. Exact: rounding is for whoever shows it."""
    if prices is None:
        return None
    fresh = usage.input_tokens - usage.cached_tokens
    total = fresh * prices.input + usage.cached_tokens * prices.cached_input + usage.output_tokens * prices.output
    return total / _TOKENS_PER_PRICE


def _profile(entry: _ModelEntry, day: datetime.date) -> ModelProfile:
    return ModelProfile(
        alias=entry.alias,
        provider=entry.provider,
        model=entry.model,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        capabilities=entry.capabilities,
        prices=_prices_on(entry.prices, day),
    )


def _prices_on(entries: Sequence[_PriceEntry], day: datetime.date) -> Prices | None:
    valid = [entry for entry in entries if entry.as_of <= day]
    if not valid:
        return None
    entry = max(valid, key=lambda entry: entry.as_of)
    input_price, output, cached_input = map(Decimal, (entry.input, entry.output, entry.cached_input))
    return Prices(input_price, output, cached_input, entry.as_of.isoformat())


def _check_unique(aliases: Sequence[str], name: str) -> None:
    for index, alias in enumerate(aliases):
        if alias in aliases[:index]:
            raise SettingsError(f"{name} is not valid: a second model of the same name - at `$.models[{index}].alias`")
