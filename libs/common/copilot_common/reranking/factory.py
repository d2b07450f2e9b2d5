"""From the settings to a reranker: Retrying → Metered → adapter.

Not paced, unlike documents that are embedded: whoever searches waits for it, and goes on without where it has no time.
"""

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from copilot_common.base.errors import SettingsError
from copilot_common.embedding.addresses import checked_url, given
from copilot_common.llm.attempts import Attempts
from copilot_common.platform.settings import Settings
from copilot_common.reranking.metering import Metered, RerankMetrics
from copilot_common.reranking.protocol import Reranker, RerankerSpec
from copilot_common.reranking.retrying import Retrying

# Of a search that the API waits 5 s for, retries included; TIMEOUT_MS may make it less.
_DEADLINE_SECONDS: Final = 2.0
_MAX_DOCUMENTS: Final = 100  # what Cohere bills as one search; a TEI takes 32 until it is started to take more
_MAX_TOKENS: Final = 1_024  # more than a chunk has; servers of smaller models cut by themselves
_MAX_NAME: Final = 200


def check_reranker(settings: Settings) -> bool:
    """Whether there is one: for a process that does not ask it itself. Raises SettingsError."""
    if not settings.rerank_model:
        if settings.rerank_base_url or settings.rerank_api_key:
            raise SettingsError("RERANK_MODEL is missing: RERANK_BASE_URL or RERANK_API_KEY is set")
        return False
    if len(settings.rerank_model) > _MAX_NAME:
        raise SettingsError(f"RERANK_MODEL must be a model's name, of at most {_MAX_NAME} characters")
    _url(settings)
    return True


def build_reranker(settings: Settings, *, metrics: RerankMetrics | None = None) -> Reranker | None:
    """None where none is configured. Nothing is connected yet. Raises SettingsError, which names what is missing."""
    if not check_reranker(settings) or settings.rerank_model is None:
        return None
    from copilot_common.reranking.http_adapter import HttpReranker  # noqa: PLC0415 — aiohttp: 8 MB, not for the API

    spec = RerankerSpec(name=settings.rerank_model, max_documents=_MAX_DOCUMENTS, max_tokens=_MAX_TOKENS)
    seconds = min(settings.timeout_ms / 1000, _DEADLINE_SECONDS)
    adapter = HttpReranker(spec, base_url=_url(settings), api_key=settings.rerank_api_key, timeout_seconds=seconds)
    return Retrying(
        Metered(adapter, metrics or RerankMetrics(CollectorRegistry())),
        timeout_seconds=seconds,
        begin=partial(Attempts, settings.max_retries, seconds),
    )


def _url(settings: Settings) -> str:
    url = given(settings.rerank_base_url, "RERANK_BASE_URL", "the address of RERANK_MODEL's server")
    return checked_url(url, "RERANK_BASE_URL", "http://localhost:8000/v1")
