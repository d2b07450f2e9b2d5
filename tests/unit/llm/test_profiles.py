import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from copilot_common.base.errors import SettingsError
from copilot_common.llm import Prices, TokenUsage, cost_usd, load_profiles

ENTRY = """\
[[models]]
alias = "a"
provider = "openai"
model = "m"
context_window = 100
max_output_tokens = 10
prices = [
  { input = "1", output = "2", cached_input = "0.5", as_of = 2026-01-01 },
  { input = "3", output = "4", cached_input = "0.5", as_of = 2026-06-01 },
]
"""
PRICES = Prices(Decimal(3), Decimal(15), Decimal("0.30"), "2026-01-01")


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_the_built_in_list_is_valid_and_knows_every_provider_and_the_guides_default() -> None:
    profiles = load_profiles()
    assert {profile.provider for profile in profiles} == {"anthropic", "openai", "google", "local"}
    assert next(profile for profile in profiles if profile.alias == "claude-3-sonnet").provider == "anthropic"
    assert all(profile.prices for profile in profiles)


@pytest.mark.parametrize(
    ("day", "price"), [("2025-12-31", None), ("2026-01-01", Decimal(1)), ("2026-06-01", Decimal(3))]
)
def test_the_price_that_holds_on_the_day_is_taken(tmp_path: Path, day: str, price: Decimal | None) -> None:
    profile = load_profiles(write(tmp_path, ENTRY), on=datetime.date.fromisoformat(day))[0]
    assert (profile.prices.input if profile.prices else None) == price


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("context_window = 100", "context_window = 0", "$.models[0].context_window"),
        ('provider = "openai"', 'provider = "nobody"', "$.models[0].provider"),
        ('input = "1"', 'input = "-1"', "$.models[0].prices[0].input"),
        ('alias = "a"', 'alias = "a"\nsurprise = 1', "surprise"),
        ('alias = "a"', "", "alias"),
        ("[[models]]", "[[models", "models.toml"),
    ],
)
def test_a_fault_is_named_by_its_path(tmp_path: Path, old: str, new: str, path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_profiles(write(tmp_path, ENTRY.replace(old, new)))
    assert path in caught.value.message


def test_two_models_of_one_name_are_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"models\[1\]"):
        load_profiles(write(tmp_path, ENTRY + ENTRY))


def test_cached_input_has_its_own_price_and_is_not_paid_twice() -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=50)
    assert cost_usd(usage, PRICES) == Decimal("0.00342")  # 600 × 3 + 400 × 0.30 + 100 × 15, per million


def test_the_cost_of_a_model_without_prices_is_unknown() -> None:
    assert cost_usd(TokenUsage(1, 1), None) is None


def test_costs_are_exact() -> None:
    assert cost_usd(TokenUsage(input_tokens=1), PRICES) == Decimal("0.000003")
