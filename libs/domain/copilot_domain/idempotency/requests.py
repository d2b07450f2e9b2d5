"""What a request with an Idempotency-Key is, and what claiming it can come to."""

import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from copilot_common.base.errors import Conflict, InvalidInput

MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """Together with the principal: whose repeat this may be. Another `body_hash` under the same key is a mistake."""

    method: str
    path: str
    key: str
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """This request does the work. `id` fences it: when the claim was taken over meanwhile, `finish` raises."""

    request: IdempotentRequest
    id: UUID


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nobody has done it yet: do the work, then `finish` in its transaction."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Replay:
    """It has been done. `body` is None where it was not kept; then `resource_id` says what was made."""

    status: int
    body: bytes | None = field(repr=False)
    resource_id: UUID | None

    def kept_body(self) -> bytes:
        """The first answer's body. Raises Conflict naming the id where it showed a secret once.

        A route whose answer is read anew (a message) uses `resource_id` and does not call this.
        """
        if self.body is None:
            raise Conflict(
                "This request was answered before, with a secret that is shown once.",
                details={"id": str(self.resource_id)} if self.resource_id else None,
            )
        return self.body


Outcome = Fresh | Replay


def idempotent_request(method: str, path: str, key: str, body: bytes) -> IdempotentRequest:
    """`path` without the query; `body` as it came. Raises InvalidInput for a key that will not do."""
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
        raise InvalidInput({"Idempotency-Key": f"must be 1 to {MAX_KEY_CHARACTERS} printable characters"})
    return IdempotentRequest(method=method, path=path, key=key, body_hash=hashlib.sha256(body).digest())
