"""Which model answers a request."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import InvalidInput, SettingsError
from copilot_common.llm.adapters.factory import check_installed, create_adapter
from copilot_common.llm.metering import LlmMetrics, Metered
from copilot_common.llm.on_demand import OnDemand
from copilot_common.llm.profiles import PROVIDERS, Provider, load_profiles
from copilot_common.llm.protocol import ChatModel
from copilot_common.llm.retrying import Retrying, RetryPolicy
from copilot_common.llm.types import ModelProfile, Prices
from copilot_common.platform.settings import Settings

# A model we know nothing of: small enough for what people run themselves.
_UNLISTED_WINDOW: Final = 32_000
_UNLISTED_MAX_OUTPUT: Final = 4_096
# Google puts the id into the URL: nothing that could leave its place in it.
_MODEL_ID: Final = re.compile(r"(?!.*\.\.)[\w.:@,=+/-]{1,200}")
_KEY_VARIABLES: Final[Mapping[str, str]] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GOOGLE_API_KEY",
}


class ResolvedModel(msgspec.Struct, frozen=True):
    """`name` is what clients read: the alias, or provider/model-id. `model` is what a ChatRequest takes."""

    name: str
    provider: str
    model: str
    profile: ModelProfile | None
    chat: ChatModel

    @property
    def prices(self) -> Prices | None:
        return self.profile.prices if self.profile else None

    @property
    def context_window(self) -> int:
        return self.profile.context_window if self.profile else _UNLISTED_WINDOW

    @property
    def max_output_tokens(self) -> int:
        return self.profile.max_output_tokens if self.profile else _UNLISTED_MAX_OUTPUT


class ModelRegistry:
    """The process's models. Raises SettingsError for a DEFAULT_MODEL or MODELS_FILE that makes no sense.

    `warnings` are for the log at start. Adapters, and with them SDKs, are made on first use: `prepare` makes the
    default model's beforehand. All three SDKs together would cost an idle process 150 MB.
    """

    def __init__(self, settings: Settings, metrics: CollectorRegistry, *, answers_here: bool = True) -> None:
        """`answers_here=False`: to be looked at only, so no SDK need be installed."""
        self._settings = settings
        self._metrics = LlmMetrics(metrics)
        self._profiles = load_profiles(Path(settings.models_file) if settings.models_file else None)
        self._by_alias = {profile.alias: profile for profile in self._profiles}
        self._adapters: dict[str, OnDemand] = {}
        self._chats: dict[str, ChatModel] = {}
        self.configured_providers = _configured_providers(settings)
        for provider in self.configured_providers if answers_here else ():
            check_installed(provider)
        self.warnings: list[str] = []
        self._default = self._choose_default()

    def resolve(self, model: str | None = None) -> ResolvedModel:
        """Raises InvalidInput for an unknown model, or one whose provider has no key (naming the variable)."""
        profile, provider, model_id = self._default if model is None else self._find(model)
        if provider not in self.configured_providers:
            variable = _KEY_VARIABLES[provider]
            raise InvalidInput({"model": f"The provider {provider} is not configured here: set {variable}."})
        name = profile.alias if profile else f"{provider}/{model_id}"
        return ResolvedModel(name, provider, model_id, profile, self._chat(provider))

    @property
    def has_provider(self) -> bool:
        """Somebody else than `local` answers."""
        return self.configured_providers != ("local",)

    def models(self) -> list[tuple[ModelProfile, bool]]:
        """Every listed model, and whether its provider is configured."""
        return [(profile, profile.provider in self.configured_providers) for profile in self._profiles]

    def describe(self, name: str) -> tuple[str, ModelProfile | None]:
        """The provider and the profile of a name that was resolved once, whether or not it would be today."""
        try:
            profile, provider, _ = self._find(name)
        except InvalidInput:
            return name.partition("/")[0], None
        return provider, profile

    async def prepare(self) -> None:
        """Make the default model's adapter. Others are made, off the event loop, when a request first names them."""
        provider = self._default[1]
        self._chat(provider)
        await self._adapters[provider].prepare()

    async def aclose(self) -> None:
        for chat in self._chats.values():
            await chat.aclose()

    def _find(self, name: str) -> tuple[ModelProfile | None, Provider, str]:
        profile = self._by_alias.get(name)
        if profile is not None:
            return profile, _as_provider(profile.provider), profile.model
        prefix, _, model_id = name.partition("/")
        provider = next((known for known in PROVIDERS if known == prefix and known != "local"), None)
        if provider is None or not _MODEL_ID.fullmatch(model_id):
            raise InvalidInput({"model": "No such model: use a name that GET /models lists, or provider/model-id."})
        listed = (entry for entry in self._profiles if entry.provider == provider and entry.model == model_id)
        return next(listed, None), provider, model_id

    def _choose_default(self) -> tuple[ModelProfile | None, Provider, str]:
        wanted = self._settings.default_model
        try:
            chosen = self._find(wanted)
        except InvalidInput:
            raise SettingsError("DEFAULT_MODEL names no model of models.toml and is no provider/model-id") from None
        if chosen[1] in self.configured_providers:
            return chosen
        fallback = next(
            profile for profile in self._ordered_defaults() if profile.provider in self.configured_providers
        )
        missing = _KEY_VARIABLES[chosen[1]]
        self.warnings.append(f"DEFAULT_MODEL={wanted} needs {missing}; requests without a model use {fallback.alias}")
        if fallback.provider == "local":
            self.warnings.append("no LLM provider is configured: answers are quotations of the given passages only")
        return fallback, _as_provider(fallback.provider), fallback.model

    def _ordered_defaults(self) -> list[ModelProfile]:
        """The first listed model of each provider, local last; local is there even if the file leaves it out."""
        firsts = {profile.provider: profile for profile in reversed(self._profiles)}
        return [firsts.get(provider) or _local_profile() for provider in PROVIDERS if provider in {*firsts, "local"}]

    def _chat(self, provider: Provider) -> ChatModel:
        chat = self._chats.get(provider)
        if chat is None:
            adapter = OnDemand(provider, partial(create_adapter, provider, self._settings))
            policy = RetryPolicy(
                max_retries=self._settings.max_retries,
                timeout_seconds=self._settings.timeout_ms / 1000,
                stall_seconds=self._settings.stall_timeout_ms / 1000,
            )
            # Several names of one id are counted under the first.
            aliases = {entry.model: entry.alias for entry in reversed(self._profiles) if entry.provider == provider}
            chat = Metered(Retrying(adapter, policy), self._metrics, aliases)
            self._adapters[provider], self._chats[provider] = adapter, chat
        return chat


def _configured_providers(settings: Settings) -> tuple[Provider, ...]:
    """In the order of preference. A server of one's own that speaks OpenAI's format needs no key."""
    configured: dict[Provider, bool] = {
        "anthropic": bool(settings.anthropic_api_key),
        "openai": bool(settings.openai_api_key or settings.openai_base_url),
        "google": bool(settings.google_api_key),
        "local": True,
    }
    return tuple(provider for provider in PROVIDERS if configured[provider])


def _as_provider(name: str) -> Provider:
    return next(provider for provider in PROVIDERS if provider == name)


def _local_profile() -> ModelProfile:
    return next(profile for profile in load_profiles() if profile.provider == "local")
