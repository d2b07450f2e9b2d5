"""Refresh and invite tokens: ids and a MAC over them, so that nothing secret is stored.

Threat model: whoever reads the database or a backup must not be able to make a token, and whoever holds tokens must not
be able to make another. The MAC's key is derived from JWT_SECRET, one per purpose, so an invite never passes for a
refresh token. A valid MAC says only that we made the token: whether it is still good stands in its row, and the tenant
in it tells where to look before any query.
"""

import base64
import binascii
import hmac
import re
from uuid import UUID

from copilot_common.base.errors import Unauthenticated

_ID_BYTES = 16
_MAC_BYTES = 32
_TEXT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class SignedIds:
    """One kind of token. `purpose` is part of its key: renaming it ends every token of that kind."""

    def __init__(self, jwt_secret: str, *, purpose: str, prefix: str, count: int) -> None:
        self._key = hmac.digest(jwt_secret.encode(), f"copilot-signed-ids-1 {purpose}".encode(), "sha256")
        self._prefix = prefix
        self._count = count

    def render(self, *ids: UUID) -> str:
        if len(ids) != self._count:
            raise ValueError(f"expected {self._count} ids")
        body = b"".join(each.bytes for each in ids)
        return self._prefix + _encode(body + self._mac(body))

    def read(self, token: str) -> tuple[UUID, ...]:
        """The ids. Raises Unauthenticated for anything that is not exactly what `render` gives."""
        raw = _decode(token.removeprefix(self._prefix)) if token.startswith(self._prefix) else b""
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(body) != self._count * _ID_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            raise Unauthenticated("The token is not valid.")
        return tuple(UUID(bytes=body[at : at + _ID_BYTES]) for at in range(0, len(body), _ID_BYTES))

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


def refresh_tokens(jwt_secret: str) -> SignedIds:
    """Tenant, user, token."""
    return SignedIds(jwt_secret, purpose="refresh token", prefix="cpr_", count=3)


def invite_tokens(jwt_secret: str) -> SignedIds:
    """Tenant, invite."""
    return SignedIds(jwt_secret, purpose="invite token", prefix="cpi_", count=2)


def is_canonical_base64url(text: str) -> bool:
    """Unpadded and with its spare bits zero. Otherwise several texts would be the same token, and one changed letter
    might not show."""
    return _encode(_decode(text)) == text


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Empty for what is not canonical."""
    if not _TEXT.fullmatch(text):
        return b""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
    return raw if _encode(raw) == text else b""
