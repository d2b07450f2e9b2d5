"""Settings that are taken, and in which forms. What is refused, `tests/security/test_settings.py` proves."""

import base64

import pytest

from copilot_common.base.errors import SettingsError
from copilot_common.platform.egress.exemptions import Exemptions
from copilot_common.platform.settings import Settings, load_settings

KEY = bytes(range(1, 33))
REQUIRED = {
    "DATABASE_URL": "postgresql://copilot_app@db/copilot",
    "REDIS_URL": "redis://redis:6379",
    "JWT_SECRET": "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuR",
    "ENCRYPTION_KEY": KEY.hex(),
}


def load(**more: str) -> Settings:
    return load_settings(REQUIRED | more)


FORMS = {
    "hex": KEY.hex(),
    "HEX": KEY.hex().upper(),
    "base64": base64.b64encode(KEY).decode(),
    "base64url": base64.urlsafe_b64encode(bytes(range(224, 256))).decode(),
    "raw": "an encryption key of 32 letters!",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_encryption_key_may_be_hex_base64_or_raw(form: str) -> None:
    assert len(load(ENCRYPTION_KEY=form).encryption_key_bytes) == 32


def test_hex_and_base64_of_the_same_bytes_are_the_same_key() -> None:
    assert load(ENCRYPTION_KEY=FORMS["hex"]).encryption_key_bytes == KEY
    assert load(ENCRYPTION_KEY=FORMS["base64"]).encryption_key_bytes == KEY


def test_the_defaults_are_the_guides() -> None:
    settings = load()
    assert (settings.port, settings.log_level, settings.log_format) == (8080, "info", "json")
    assert (settings.rate_limit_requests, settings.rate_limit_window_ms) == (100, 60_000)
    assert (settings.max_conversation_messages, settings.default_model) == (100, "claude-3-sonnet")
    assert (settings.max_retries, settings.timeout_ms) == (3, 30_000)
    assert (settings.registration, settings.trusted_proxies) == ("invite", "")


def test_an_empty_variable_counts_as_unset_and_a_foreign_one_for_nothing() -> None:
    settings = load(PORT="", LOG_LEVEL="", PATH="/bin", SOMETHING_ELSE="x")
    assert (settings.port, settings.log_level) == (8080, "info")


@pytest.mark.parametrize(
    ("given", "level"), [("INFO", "info"), ("warn", "warning"), ("Debug", "debug"), ("fatal", "error")]
)
def test_log_levels_of_other_habits_are_understood(given: str, level: str) -> None:
    assert load(LOG_LEVEL=given).log_level == level


def test_settings_do_not_show_their_secrets() -> None:
    shown = repr(load(OPENAI_API_KEY="sk-the-openai-key"))
    for secret in (REQUIRED["JWT_SECRET"], REQUIRED["ENCRYPTION_KEY"], "sk-the-openai-key"):
        assert secret not in shown


def test_trusted_proxies_are_networks() -> None:
    networks = load(TRUSTED_PROXIES="10.0.0.0/8, 192.168.1.7,fd00::/8").trusted_networks
    assert [str(network) for network in networks] == ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]


def test_egress_exemptions_are_names_and_networks_and_none_by_default() -> None:
    exemptions = load(EGRESS_ALLOW="Hooks.Internal., 10.0.0.5/8,fd00::1").egress_exemptions
    assert exemptions.names == {"hooks.internal"}
    assert [str(network) for network in exemptions.networks] == ["10.0.0.0/8", "fd00::1/128"]
    assert load().egress_exemptions == Exemptions()


def test_a_wrong_exemption_is_one_line_that_names_the_variable_but_not_the_value() -> None:
    with pytest.raises(SettingsError, match=r"^EGRESS_ALLOW must be hosts or CIDR blocks") as refused:
        load(EGRESS_ALLOW="10.0.0.0/8,http://secret-host")
    assert "secret-host" not in refused.value.message


def test_a_pool_takes_sessions_for_its_own_unless_told_otherwise() -> None:
    assert load().database_pool_mode == "session"
    assert load(DATABASE_POOL_MODE="transaction").database_pool_mode == "transaction"
