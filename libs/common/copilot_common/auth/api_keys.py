"""API keys: 256 random bits, shown once, kept as a SHA-256.

Threat model: whoever reads the table must not be able to use a key. A fast hash is enough because nobody can search 256
random bits; the database compares whole hashes, so timing tells nothing about a key. The prefix makes leaked keys
findable by secret scanners.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

KeyKind = Literal["live", "platform"]

_SECRET_BYTES = 32
_SHOWN_CHARACTERS = 6  # of the secret, to tell keys apart in a list: 220 bits stay unknown
_KEY = re.compile(r"cpk_(live|platform)_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True)
class NewKey:
    """`secret` is what its owner gets, once; `prefix` and `hash` are what is kept."""

    secret: str = field(repr=False)
    prefix: str
    hash: bytes


def new_key(kind: KeyKind) -> NewKey:
    start = f"cpk_{kind}_"
    secret = start + secrets.token_urlsafe(_SECRET_BYTES)
    return NewKey(secret=secret, prefix=secret[: len(start) + _SHOWN_CHARACTERS], hash=hash_key(secret))


def key_kind(secret: str) -> KeyKind | None:
    """Which kind of key this has the form of, or None: then nothing needs to be looked up."""
    match = _KEY.fullmatch(secret)
    if match is None:
        return None
    return "platform" if match[1] == "platform" else "live"


def hash_key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
