"""Lock-out of password guessing, by account and by client address.

Threat model: many guesses at one account from many addresses; a few guesses at each of many accounts from one address;
parallel guesses that hope to be checked before they are counted; and finding out from a lock-out which accounts exist.
So a guess is counted before it is checked, under a hash of what was typed, whether or not such a user exists. A right
password forgives the account's guesses, but gives the address only its own one back: otherwise a guesser would log in
to an account of theirs now and then and guess on.

An address cannot lock an account once it is locked itself, because it is asked first. Locking somebody out from many
addresses remains possible; the account opens again guess by guess as its bucket refills.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from copilot_common.base.errors import RateLimited
from copilot_common.limits.gcra import Bucket, Limit
from copilot_common.limits.limiter import Limiter

_WINDOW_MS = 15 * 60_000
ACCOUNT_GUESSES = Limit(10, _WINDOW_MS)  # then one in 90 s: 350 000 a year, nothing against 12 characters
ADDRESS_GUESSES = Limit(100, _WINDOW_MS)  # an office behind one address must still get in


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted guess, to be forgiven when it was right."""

    account: Bucket
    address: Bucket | None


class Lockout:
    def __init__(
        self, limiter: Limiter, *, per_account: Limit = ACCOUNT_GUESSES, per_address: Limit = ADDRESS_GUESSES
    ) -> None:
        self._limiter = limiter
        self._per_account = per_account
        self._per_address = per_address

    async def begin(self, identifier: str, address: str | None) -> Attempt:
        """Count a guess before it is checked. Raises RateLimited."""
        attempt = Attempt(
            account=Bucket(_key("account", identifier.strip().lower()), self._per_account),
            address=Bucket(_key("address", _who(address)), self._per_address) if address else None,
        )
        if attempt.address:
            await self._consume(attempt.address)
        await self._consume(attempt.account)
        return attempt

    async def forgive(self, attempt: Attempt) -> None:
        """The guess was right."""
        await self._limiter.refill(attempt.account)
        if attempt.address:
            await self._limiter.give_back(attempt.address)

    async def _consume(self, bucket: Bucket) -> None:
        allowance = await self._limiter.consume(bucket)
        if not allowance.allowed:
            raise RateLimited(
                limit=allowance.limit,
                remaining=allowance.remaining,
                retry_after_seconds=allowance.retry_after_seconds,
            )


def _who(address: str) -> str:
    """Of an IPv6 address its /64: that much everybody has, and may change at will."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return parsed.exploded[:19] if isinstance(parsed, IPv6Address) else address


def _key(kind: str, value: str) -> str:
    """Hashed, because people type passwords into the wrong field and Redis must hold nothing readable."""
    digest = hashlib.sha256(f"{kind} {value}".encode()).hexdigest()
    return f"copilot:lockout:{kind}:{{{digest}}}"
