"""Which models can answer."""

from prometheus_client import CollectorRegistry

from copilot_cli.checks.report import Check, fail, ok, warn
from copilot_common.base.errors import SettingsError
from copilot_common.llm.adapters.factory import is_installed
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.settings import Settings


def check_providers(settings: Settings) -> list[Check]:
    try:
        models = ModelRegistry(settings, CollectorRegistry(), answers_here=False)
    except SettingsError as error:
        return [fail("providers", error.message, "Correct it; the API would not start.")]
    found = [provider for provider in models.configured_providers if provider != "local"]
    if not found:
        advice = "Set ANTHROPIC_API_KEY, OPENAI_API_KEY, GOOGLE_API_KEY or OPENAI_BASE_URL for a model that writes."
        return [warn("providers", "none: answers only quote the given texts (local/extractive)", advice)]
    checks = [ok("providers", ", ".join(found))]
    missing = [provider for provider in models.configured_providers if not is_installed(provider)]
    if missing:
        advice = (
            "Their SDKs must be where the API and the workflow engine run: copilot-common[anthropic,openai,google]."
        )
        checks.append(warn("SDKs", f"not installed here: {', '.join(missing)}", advice))
    if models.warnings:
        return [*checks, warn("default model", models.warnings[0], "Set DEFAULT_MODEL or that key.")]
    return [*checks, ok("default model", settings.default_model)]
