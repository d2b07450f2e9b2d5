"""Is a call signed with a trigger's secret, and signed just now? By the library of Standard Webhooks."""

from collections.abc import Mapping

from standardwebhooks import Webhook, WebhookVerificationError


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """`headers` by their names in lower case. False too for a timestamp more than 5 minutes away."""
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # the library leaves what is malformed to int, base64 and split
        return False
    return True
