"""Traces for a collector, by OpenTelemetry's protocol: docs/adr/0034-traces.md. Nothing of it is loaded without one."""
