"""The tracer that the settings want."""

from copilot_common.platform.settings import Settings
from copilot_common.platform.trace import Tracer


def build_tracer(settings: Settings, *, service: str, version: str, instance: str) -> Tracer | None:
    """None where no collector is named. `instance`: the process's id."""
    if settings.traces_endpoint is None:
        return None
    from copilot_common.platform.tracing.otlp import OtlpTracer  # noqa: PLC0415 — 10 MB, and only with a collector

    return OtlpTracer(settings, service=service, version=version, instance=instance)
