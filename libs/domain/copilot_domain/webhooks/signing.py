"""Secrets and signatures of Standard Webhooks (https://www.standardwebhooks.com), by its own library."""

import base64
import secrets
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks import Webhook

_SECRET_BYTES = 32  # the standard takes 24 to 64


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(secret: str, delivery_id: UUID, body: str, moment: datetime | None = None) -> dict[str, str]:
    """For one attempt: the receiver refuses a `moment` (by default now) that is minutes away, and takes an id it knows
    for a repetition."""
    moment = moment or datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": str(delivery_id),
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(str(delivery_id), moment, body),
    }
