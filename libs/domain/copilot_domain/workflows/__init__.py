"""Workflows: definitions, runs, and the state machine that leads a run from step to step."""
