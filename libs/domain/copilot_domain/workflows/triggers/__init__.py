"""Runs that begin when a program outside calls a URL, signed as Standard Webhooks says."""

from copilot_domain.workflows.triggers.pruning import prune_calls
from copilot_domain.workflows.triggers.service import TriggerService
from copilot_domain.workflows.triggers.types import CreatedTrigger, StartedRun, Trigger

__all__ = ["CreatedTrigger", "StartedRun", "Trigger", "TriggerService", "prune_calls"]
