"""From a name to an embedder. The one place that imports an adapter, and only the one that is asked for."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, assert_never

from prometheus_client import CollectorRegistry

from copilot_common.base.errors import SettingsError
from copilot_common.embedding.addresses import checked_url, given
from copilot_common.embedding.catalogue import MINILM, EmbeddingModel, ModelName, describe, parse_name
from copilot_common.embedding.metering import EmbeddingMetrics, Metered
from copilot_common.embedding.pacing import Paced, Rate
from copilot_common.embedding.protocol import Embedder, EmbedderSpec
from copilot_common.embedding.retrying import Retrying
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.llm.attempts import Attempts
from copilot_common.platform.settings import Settings

_WORDLLAMA: Final = WordLlamaEmbedder.spec.name
_MINILM: Final = MINILM.name
_OPENAI_URL: Final = "https://api.openai.com/v1"
_GOOGLE_URL: Final = "https://generativelanguage.googleapis.com"
# Local models share this process's cores with searches: one batch of documents at a time.
_LOCAL_CONCURRENCY: Final = 1


def build_embedder(settings: Settings, name: str | None = None, *, metrics: EmbeddingMetrics | None = None) -> Embedder:
    """The embedder of EMBEDDING_MODEL, or of another name: one that vectors are stored under, too. It takes any number
    of texts at once, keeps the provider's limits, and tries again. Nothing is loaded yet.

    Raises SettingsError, which names what is missing. `metrics` is the process's; EMBEDDING_DIMENSIONS is for
    EMBEDDING_MODEL alone.
    """
    wanted = name or settings.embedding_model
    metrics = metrics or EmbeddingMetrics(CollectorRegistry())
    if wanted == _WORDLLAMA:
        return _local(WordLlamaEmbedder(), metrics)
    if wanted == _MINILM:
        return _local(_minilm(settings), metrics)
    parsed = parse_name(wanted)
    if parsed is None:
        raise SettingsError(
            f"EMBEDDING_MODEL names no embedder: it must be {_WORDLLAMA}, {_MINILM}, or a provider (openai, "
            "google, compatible), / and a model's name"
        )
    if name is None and settings.embedding_dimensions is not None:
        parsed = ModelName(parsed.provider, parsed.model, settings.embedding_dimensions)
    return _remote(settings, parsed, metrics)


def stored_name(settings: Settings, name: str | None = None) -> str | None:
    """What vectors of EMBEDDING_MODEL, or of another name, are stored under. None where there is no such model; whether
    it is configured is not looked at."""
    wanted = name or settings.embedding_model
    parsed = parse_name(wanted)
    if parsed is not None and name is None and settings.embedding_dimensions is not None:
        wanted = f"{parsed.listed_name}@{settings.embedding_dimensions}"
    described = describe_embedder(wanted)
    return described.name if described else None


def describe_embedder(name: str) -> EmbedderSpec | None:
    """What the embedder is like whose vectors are stored under that name. None where there is no such model; whether it
    is configured is not looked at, and nothing is built."""
    if name == _WORDLLAMA:
        return WordLlamaEmbedder.spec
    if name == _MINILM:
        return MINILM
    parsed = parse_name(name)
    described = parsed and describe(parsed)
    return described[1] if described else None


def _local(embedder: Embedder, metrics: EmbeddingMetrics) -> Embedder:
    metered = Metered(embedder, metrics, provider="local", model=embedder.spec.name)
    return _batching(metered, concurrency=_LOCAL_CONCURRENCY, cuts=False)


def _remote(settings: Settings, name: ModelName, metrics: EmbeddingMetrics) -> Embedder:
    described = describe(name)
    if described is None:
        raise SettingsError(
            f"EMBEDDING_DIMENSIONS must be the number of dimensions of {name.provider}'s model: it is not listed with "
            "this number"
        )
    model, spec = described
    adapter = _adapter(settings, model, spec)
    label = name.listed_name if model.is_listed else "other"
    timeout_seconds = settings.timeout_ms / 1000
    retrying = Retrying(
        Metered(adapter, metrics, provider=model.provider, model=label),
        model.provider,
        timeout_seconds=timeout_seconds,
        begin=partial(Attempts, settings.max_retries, timeout_seconds),
    )
    rates = (Rate(settings.embedding_requests_per_minute), Rate(settings.embedding_tokens_per_minute))
    return _batching(Paced(retrying, *rates), concurrency=settings.embedding_concurrency, cuts=True)


def _batching(embedder: Embedder, *, concurrency: int, cuts: bool) -> Embedder:
    from copilot_common.embedding.batching import Batching  # noqa: PLC0415 — numpy

    return Batching(embedder, concurrency=concurrency, cuts=cuts)


def _adapter(settings: Settings, model: EmbeddingModel, spec: EmbedderSpec) -> Embedder:
    # Half of the whole deadline: one request that hangs leaves time for another.
    timeout_seconds = settings.timeout_ms / 2000
    match model.provider:
        case "google":
            from copilot_common.embedding.google_adapter import GoogleEmbedder  # noqa: PLC0415 — numpy

            key = given(settings.google_api_key, "GOOGLE_API_KEY", "google's embedder needs it")
            url = settings.google_base_url or _GOOGLE_URL
            return GoogleEmbedder(model, spec, base_url=url, api_key=key, timeout_seconds=timeout_seconds)
        case "openai":
            # A compatible server in OpenAI's place needs no key, as for chat.
            own_key = settings.openai_api_key
            if settings.openai_base_url is None:
                own_key = given(own_key, "OPENAI_API_KEY", "openai's embedder needs it")
            url = settings.openai_base_url or _OPENAI_URL
            return _openai(model, spec, url, own_key, timeout_seconds)
        case "compatible":
            url = given(settings.embedding_base_url, "EMBEDDING_BASE_URL", "a compatible embedder's address")
            url = checked_url(url, "EMBEDDING_BASE_URL", "http://localhost:11434/v1")
            return _openai(model, spec, url, settings.embedding_api_key, timeout_seconds)
        case _:
            assert_never(model.provider)


def _openai(model: EmbeddingModel, spec: EmbedderSpec, url: str, key: str | None, timeout_seconds: float) -> Embedder:
    from copilot_common.embedding.openai_adapter import OpenAIEmbedder  # noqa: PLC0415 — numpy

    return OpenAIEmbedder(model, spec, base_url=url, api_key=key, timeout_seconds=timeout_seconds)


def _minilm(settings: Settings) -> Embedder:
    if find_spec("onnxruntime") is None:
        raise SettingsError(f"EMBEDDING_MODEL={_MINILM} needs a library that is missing: copilot-common[minilm]")
    folder = Path(given(settings.embedding_model_path, "EMBEDDING_MODEL_PATH", f"the folder of {_MINILM}'s files"))
    # Hugging Face keeps ONNX files in a folder of their own.
    models = [path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.is_file()]
    tokenizer = folder / "tokenizer.json"
    if not models or not tokenizer.is_file():
        raise SettingsError("EMBEDDING_MODEL_PATH must name a folder with tokenizer.json and model.onnx")
    from copilot_common.embedding.minilm_adapter import MiniLMEmbedder  # noqa: PLC0415 — an extra

    return MiniLMEmbedder(models[0], tokenizer)
