"""Access tokens over HTTP that somebody else made, or that are past their time."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from support.api import JWT_SECRET, PASSWORD, SharedApi, Site, StartApi
from support.clients import Client, eventually, refusal


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims(site: Site, **more: object) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": "llm-copilot-agent",
        "sub": site.acme.user_id,
        "tid": site.acme.tenant_id,
        "sid": str(uuid4()),
        "iat": now,
        "exp": now + 600,
        "jti": str(uuid4()),
    }
    return {name: value for name, value in (good | more).items() if value is not None}


def signed(body: dict[str, Any], *, secret: str = JWT_SECRET, alg: str = "HS256", typ: str = "JWT") -> str:
    return jwt.encode({"alg": alg, "typ": typ}, body, OctKey.import_key(secret), algorithms=[alg])


@pytest.fixture
async def anonymous(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.process.client() as client:
        yield client


async def test_a_token_signed_as_we_sign_is_taken(shared_api: SharedApi, anonymous: Client) -> None:
    """Without this one the refusals below would prove nothing."""
    token = signed(claims(shared_api.site))
    assert (await anonymous.call("GET", "/auth/me", authorization=f"Bearer {token}")).status_code == 200


def forged(site: Site) -> dict[str, str]:
    now = int(time.time())
    body = claims(site)
    real = signed(body)
    head, payload, signature = real.split(".")
    other = part(claims(site, tid=site.other.tenant_id, sub=site.other.user_id))
    rsa = RSAKey.generate_key(2048)
    return {
        "alg none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "alg None, signed": f"{part({'alg': 'None', 'typ': 'JWT'})}.{payload}.{signature}",
        "no signature": f"{head}.{payload}.",
        "another payload": f"{head}.{other}.{signature}",
        "a changed signature": f"{head}.{payload}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BB'}",
        "the signature of nothing": f"{head}.{payload}.{'A' * len(signature)}",
        "a foreign secret": signed(body, secret="somebody else's secret, 0123456789 abc"),
        "the guide's secret": signed(body, secret="your-secure-jwt-secret-minimum-32-chars"),
        "HS512 with our secret": signed(body, secret=JWT_SECRET * 2, alg="HS512"),
        "RS256 with a key of one's own": jwt.encode({"alg": "RS256", "typ": "JWT"}, body, rsa, algorithms=["RS256"]),
        "expired": signed(claims(site, iat=now - 900, exp=now - 1)),
        "from the future": signed(claims(site, iat=now + 3_600, exp=now + 4_000)),
        "good for ever": signed(claims(site, exp=now + 10**9)),
        "without an expiry": signed(claims(site, exp=None)),
        "of another issuer": signed(claims(site, iss="somebody")),
        "of another type": signed(body, typ="refresh+jwt"),
        "for a tenant one is not in": signed(claims(site, tid=site.other.tenant_id)),
        "for nobody": signed(claims(site, sub=str(uuid4()))),
        "with no uuid": signed(claims(site, sub="root")),
        "four parts": f"{real}.{signature}",
        "nothing at all": "..",
        "very long": "a" * 30_000,
    }


async def test_forged_and_stale_tokens_are_refused_alike(shared_api: SharedApi, anonymous: Client) -> None:
    answers = set()
    for what, token in forged(shared_api.site).items():
        answer = await anonymous.call("GET", "/auth/me", authorization=f"Bearer {token}")
        assert answer.status_code == 401, what
        refusal(answer, 401, "UNAUTHORIZED")
        answers.add(answer.json()["message"])
        refusal(await anonymous.call("GET", "/auth/me", x_api_key=token), 401, "UNAUTHORIZED")
    assert len(answers) == 1, "the refusal tells what was wrong"


async def test_a_token_ends_by_itself(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ(access_token_ttl_seconds=1))
    async with api.client() as client:
        token = await client.log_in(site.acme.username, PASSWORD)

        async def refused() -> bool:
            return (await client.call("GET", "/auth/me", authorization=f"Bearer {token}")).status_code == 401

        await eventually(refused, seconds=5)


async def test_a_refresh_token_or_an_invite_is_no_access_token(shared_api: SharedApi, anonymous: Client) -> None:
    session = await anonymous.call(
        "POST", "/auth/login", {"username_or_email": shared_api.site.acme.username, "password": PASSWORD}
    )
    refresh = session.json()["refresh_token"]
    refusal(await anonymous.call("GET", "/auth/me", authorization=f"Bearer {refresh}"), 401, "UNAUTHORIZED")
    refusal(await anonymous.call("POST", "/auth/refresh", {"refresh_token": refresh[:-1]}), 401, "UNAUTHORIZED")
    access = session.json()["access_token"]
    refusal(await anonymous.call("POST", "/auth/refresh", {"refresh_token": access}), 401, "UNAUTHORIZED")
