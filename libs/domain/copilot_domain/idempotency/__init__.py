"""Idempotency-Key: the same request twice is one effect and one answer."""

from copilot_domain.idempotency.requests import Claim, Fresh, IdempotentRequest, Outcome, Replay, idempotent_request
from copilot_domain.idempotency.service import claim, discard, finish, release, settle_failure

__all__ = [
    "Claim",
    "Fresh",
    "IdempotentRequest",
    "Outcome",
    "Replay",
    "claim",
    "discard",
    "finish",
    "idempotent_request",
    "release",
    "settle_failure",
]
