"""Traces for a collector, by OpenTelemetry's protocol: docs/adr/0038-traces.md. Nothing of it is loaded without one."""
