"""The answer of /models."""

import msgspec

from copilot_common.llm.types import ModelProfile, Prices


class ModelView(msgspec.Struct, frozen=True):
    """`prices` are USD per million tokens; null where unknown."""

    id: str
    provider: str
    context_window: int
    capabilities: tuple[str, ...]
    prices: Prices | None
    configured: bool

    @classmethod
    def of(cls, profile: ModelProfile, configured: bool) -> "ModelView":
        return cls(
            id=profile.alias,
            provider=profile.provider,
            context_window=profile.context_window,
            capabilities=profile.capabilities,
            prices=profile.prices,
            configured=configured,
        )
