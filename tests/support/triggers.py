"""Calls of triggers, as a program outside makes them."""

from datetime import UTC, datetime, timedelta

import httpx
from standardwebhooks import Webhook

from support.clients import Client


async def call_trigger(
    client: Client, url: str, secret: str, body: str | bytes, *, call_id: str = "msg_1", ago_seconds: float = 0.0
) -> httpx.Response:
    """Signed, and without a credential."""
    content = body.encode() if isinstance(body, str) else body
    moment = datetime.now(UTC) - timedelta(seconds=ago_seconds)
    headers = {
        "content-type": "application/json",
        "webhook-id": call_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(call_id, moment, content.decode("utf-8", "replace")),
    }
    async with httpx.AsyncClient(base_url=client.http.base_url, trust_env=False, timeout=30) as outside:
        return await outside.post(httpx.URL(url).path, content=content, headers=headers)
