"""Calls of models in traces, by OpenTelemetry's conventions for generative AI."""

from copilot_common.platform.trace import Attributes, SpanKind


def gen_ai_call(operation: str, provider: str, model: str) -> tuple[str, SpanKind, Attributes]:
    """What a span is begun with. `model` is a listed one, or `other`: callers choose ids freely."""
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "gcp.gemini" if provider == "google" else provider,
        "gen_ai.request.model": model,
    }
    return f"{operation} {model}", "client", attributes
