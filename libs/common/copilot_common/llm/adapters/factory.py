"""Adapters by provider. The one place that imports an SDK, and only when its provider is asked for."""

from importlib.util import find_spec

from copilot_common.base.errors import SettingsError
from copilot_common.llm.adapters.extractive import ExtractiveModel
from copilot_common.llm.profiles import Provider
from copilot_common.llm.protocol import ChatModel
from copilot_common.platform.settings import Settings

_SDK_MODULES = {"anthropic": "anthropic", "openai": "openai", "google": "google.genai"}
# Ollama, vLLM and llama.cpp want no key, the SDK wants one.
_KEYLESS = "none"


def is_installed(provider: Provider) -> bool:
    """Whether its SDK is there, where it has one. Imports nothing."""
    module = _SDK_MODULES.get(provider)
    return module is None or _is_found(module)


def check_installed(provider: Provider) -> None:
    """Raises SettingsError for a provider that is configured, but whose SDK this image lacks."""
    if not is_installed(provider):
        raise SettingsError(f"{provider} is configured, but its SDK is not: install copilot-common[{provider}]")


def create_adapter(provider: Provider, settings: Settings) -> ChatModel:
    match provider:
        case "anthropic":
            from copilot_common.llm.adapters.anthropic_adapter import AnthropicModel  # noqa: PLC0415 — imports the SDK

            return AnthropicModel(api_key=settings.anthropic_api_key or "", base_url=settings.anthropic_base_url)
        case "openai":
            from copilot_common.llm.adapters.openai_adapter import OpenAIModel  # noqa: PLC0415 — imports the SDK

            return OpenAIModel(api_key=settings.openai_api_key or _KEYLESS, base_url=settings.openai_base_url)
        case "google":
            from copilot_common.llm.adapters.google_adapter import GoogleModel  # noqa: PLC0415 — imports the SDK

            return GoogleModel(api_key=settings.google_api_key or "", base_url=settings.google_base_url)
        case "local":
            return ExtractiveModel()


def _is_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package of a dotted name
        return False
