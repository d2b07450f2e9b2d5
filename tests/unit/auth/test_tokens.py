"""Access tokens and signed ids: what is refused, and that every refusal reads the same."""

import base64
import hmac
import json
import time
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from copilot_common.auth.signed_ids import SignedIds, invite_tokens, refresh_tokens
from copilot_common.auth.tokens import REFUSAL, AccessTokens
from copilot_common.base.errors import Unauthenticated
from copilot_common.base.ids import TenantId, UserId

SECRET = "a secret that only these tests know, 0123456789"
TOKENS = AccessTokens(SECRET, ttl_seconds=900)
USER, TENANT, SESSION = UserId(uuid4()), TenantId(uuid4()), uuid4()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    good = {
        "iss": "llm-copilot-agent",
        "sub": str(USER),
        "tid": str(TENANT),
        "sid": str(SESSION),
        "iat": now,
        "exp": now + 900,
        "jti": str(uuid4()),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(header: dict[str, object], body: dict[str, object], secret: str = SECRET) -> str:
    return jwt.encode({"typ": "JWT"} | header, body, OctKey.import_key(secret), algorithms=[str(header["alg"])])


def unsigned(header: dict[str, object], body: dict[str, object], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def hmac_with_public_key() -> str:
    """The classic confusion: the public key of an asymmetric algorithm used as the HMAC's secret."""
    public = RSAKey.generate_key(2048).as_pem(private=False)
    text = unsigned({"alg": "HS256", "typ": "JWT"}, claims()).rstrip(".")
    return text + "." + base64.urlsafe_b64encode(hmac.digest(public, text.encode(), "sha256")).decode().rstrip("=")


def refuse(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        TOKENS.read(token)
    assert caught.value.message == REFUSAL


def test_a_token_of_ours_says_who_where_and_in_which_session() -> None:
    read = TOKENS.read(TOKENS.issue(USER, TENANT, SESSION))
    assert (read.user_id, read.tenant_id, read.sid) == (USER, TENANT, SESSION)
    assert read.exp - read.iat == 900


def test_the_tests_own_maker_makes_good_tokens() -> None:
    assert TOKENS.read(signed({"alg": "HS256"}, claims())).user_id == USER


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "\0.\0.\0",
        "é.é.é",
        "A" * 10_000,
        unsigned({"alg": "none", "typ": "JWT"}, claims()),
        unsigned({"alg": "None", "typ": "JWT"}, claims()),
        unsigned({"alg": "HS256", "typ": "JWT"}, claims()),
        unsigned({"alg": "HS256", "typ": "JWT"}, claims(), b"x" * 32),
        unsigned({"alg": ["HS256"], "typ": "JWT"}, claims(), b"x" * 32),
        unsigned({"typ": "JWT"}, claims(), b"x" * 32),
        signed({"alg": "HS512"}, claims()),
        signed({"alg": "HS256"}, claims(), "somebody else's secret, just as long"),
        signed({"alg": "HS256", "typ": "at+jwt"}, claims()),
        signed({"alg": "HS256"}, claims(iss="somebody")),
        signed({"alg": "HS256"}, claims(iss=None)),
        signed({"alg": "HS256"}, claims(exp=int(time.time()))),
        signed({"alg": "HS256"}, claims(exp=None)),
        signed({"alg": "HS256"}, claims(exp="tomorrow")),
        signed({"alg": "HS256"}, claims(exp=10**400)),
        signed({"alg": "HS256"}, claims(iat=int(time.time()) + 3_600, exp=int(time.time()) + 7_200)),
        signed({"alg": "HS256"}, claims(sub="nobody")),
        signed({"alg": "HS256"}, claims(tid=None)),
        signed({"alg": "HS256"}, claims(sid=None)),
        signed({"alg": "HS256"}, claims(exp=int(time.time()) + 901)),
        hmac_with_public_key(),
    ],
)
def test_anything_else_is_refused_in_the_same_words(token: str) -> None:
    refuse(token)


@given(position=st.integers(0, 10_000), letter=st.sampled_from(ALPHABET))
def test_no_letter_of_a_token_can_be_changed(position: int, letter: str) -> None:
    token = TOKENS.issue(USER, TENANT, SESSION)
    at = position % len(token)
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        refuse(changed)


@pytest.mark.parametrize("kind", [refresh_tokens(SECRET), invite_tokens(SECRET)])
def test_signed_ids_give_back_their_ids(kind: SignedIds) -> None:
    ids = tuple(uuid4() for _ in range(kind._count))
    assert kind.read(kind.render(*ids)) == ids


@given(position=st.integers(0, 10_000), letter=st.sampled_from(ALPHABET))
def test_no_letter_of_signed_ids_can_be_changed(position: int, letter: str) -> None:
    kind = refresh_tokens(SECRET)
    token = kind.render(USER, TENANT, SESSION)
    at = position % len(token)
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        with pytest.raises(Unauthenticated):
            kind.read(changed)


@given(st.text(max_size=200))
def test_no_text_but_a_token_passes(text: str) -> None:
    for kind in (refresh_tokens(SECRET), invite_tokens(SECRET)):
        for token in (text, f"cpr_{text}", f"cpi_{text}"):
            with pytest.raises(Unauthenticated):
                kind.read(token)


def test_one_kind_of_signed_ids_never_passes_for_another() -> None:
    other = SignedIds(SECRET, purpose="something else", prefix="cpr_", count=3)
    with pytest.raises(Unauthenticated):
        refresh_tokens(SECRET).read(other.render(UUID(int=1), UUID(int=2), UUID(int=3)))
