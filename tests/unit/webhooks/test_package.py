"""The package's names, its signature, its patience."""

import random
import sys
from datetime import UTC, datetime, timedelta
from subprocess import run
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import copilot_domain.webhooks as package
from copilot_domain.webhooks import DELIVER, EVENTS
from copilot_domain.webhooks.publishing import encode_body
from copilot_domain.webhooks.signing import new_secret, signed_headers

DELIVERY = UUID(int=1)


def test_the_public_names_are_these() -> None:
    assert package.__all__ == [
        "DELIVER", "EVENTS", "MAX_WEBHOOKS", "CreatedWebhook", "DeliverPayload", "Delivery", "DeliveryStatus",
        "EventData", "NewWebhook", "Webhook", "WebhookEvent", "WebhookService", "prune", "publish",
    ]  # fmt: skip


def test_the_events_are_those_of_the_wire_contract() -> None:
    assert EVENTS == (
        "conversation.created", "message.created", "workflow.started", "workflow.completed", "workflow.failed",
        "workflow.waiting", "context.ready", "context.failed",
    )  # fmt: skip


def test_the_package_loads_no_http_client() -> None:
    """Whoever only asks for deliveries should not pay for aiohttp."""
    code = "import copilot_domain.webhooks, sys; sys.exit('aiohttp' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_standards_library_accepts_the_signature_and_nothing_else() -> None:
    secret, body = new_secret(), encode_body("message.created", datetime.now(UTC), {"message_id": DELIVERY}).decode()
    headers = signed_headers(secret, DELIVERY, body)
    assert Webhook(secret).verify(body, headers)["data"] == {"message_id": str(DELIVERY)}
    old = signed_headers(secret, DELIVERY, body, datetime.now(UTC) - timedelta(minutes=6))
    for bad_secret, bad_body, bad_headers in (
        (new_secret(), body, headers),
        (secret, body + " ", headers),
        (secret, body, headers | {"webhook-id": str(UUID(int=2))}),
        (secret, body, old),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(bad_secret).verify(bad_body, bad_headers)


def test_secrets_are_as_the_standard_wants_them_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("whsec_") and len(secret) == len("whsec_") + 44 for secret in secrets)


def test_the_last_attempt_falls_about_a_day_after_the_first() -> None:
    limits = [DELIVER.longest_pause_after(failures) for failures in range(DELIVER.max_failures - 1)]
    mean = sum(limits, timedelta()) / 2
    assert timedelta(hours=23.5) < mean < timedelta(hours=24.5)
    chance = random.Random(1)
    spans = sorted(sum((limit * chance.random() for limit in limits), timedelta()) for _ in range(1_000))
    assert spans[25] > timedelta(hours=15)
    assert spans[-25] < timedelta(hours=33)


def test_a_receiver_that_restarts_has_its_news_within_minutes() -> None:
    first = [DELIVER.longest_pause_after(failures) for failures in range(4)]
    assert sum(first, timedelta()) < timedelta(minutes=5)
