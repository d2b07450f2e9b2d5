"""Passwords: what is accepted, how they are kept, how a guess is checked.

Threat model: whoever steals the table must pay Argon2id for every guess; whoever guesses online must not learn from the
time of an answer whether a user exists; whoever floods the log-in must not exhaust the process's memory or stall its
event loop. So an unknown user's guess is checked against a dummy hash of the same parameters, and at most a few hashes
run at once, each in a thread (argon2 lets go of the GIL). Limits on how often one may guess are in `limits.lockout`.
"""

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from copilot_common.base.errors import InvalidInput, Unavailable

_T = TypeVar("_T")

OWASP_MINIMUM = Parameters(
    type=Type.ID,
    version=19,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19_456,  # KiB: OWASP's first choice for Argon2id; two at once stay far below the API's 200 MB
    parallelism=1,
)
MIN_CHARACTERS = 12  # no rules of composition: length is what makes guessing dear (NIST SP 800-63B, 5.1.1.2)
MAX_CHARACTERS = 128  # enough for any passphrase; an unbounded input would be work for free
_MIN_DISTINCT = 5  # refuses "aaaaaaaaaaaa" and its like
_CONCURRENT = 2
_WAITING = 64  # about 2 s of work; beyond it an answer now is better than one after the client has gone


def check_password(password: str, *, names: tuple[str, ...] = (), field: str = "password") -> None:
    """Raise InvalidInput unless it may become a password. `names` (e-mail, username) must not be the password."""
    if len(password) < MIN_CHARACTERS:
        raise InvalidInput({field: f"must have at least {MIN_CHARACTERS} characters"})
    if len(password) > MAX_CHARACTERS:
        raise InvalidInput({field: f"must have at most {MAX_CHARACTERS} characters"})
    if len(set(password)) < _MIN_DISTINCT:
        raise InvalidInput({field: f"must have at least {_MIN_DISTINCT} different characters"})
    if password.lower() in {name.lower() for name in names}:
        raise InvalidInput({field: "must not be the username or e-mail"})


class Passwords:
    """Hashes and verifies; one per process, so that the bound on concurrency holds."""

    def __init__(self, parameters: Parameters = OWASP_MINIMUM) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        # Made here, not at the first unknown user, whose answer would take twice as long.
        self._dummy = self._hasher.hash(os.urandom(16))
        self._slots = asyncio.Semaphore(_CONCURRENT)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` made `stored`. None (no such user) costs the same time and is never true.

        Raises Unavailable when too many are waiting.
        """
        return await self._run(self._verify, stored, password)

    def needs_rehash(self, stored: str) -> bool:
        """`stored` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._hasher.verify(stored or self._dummy, password[:MAX_CHARACTERS])
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None and len(password) <= MAX_CHARACTERS

    async def _run(self, work: Callable[..., _T], *args: object) -> _T:
        if self._waiting >= _WAITING:
            raise Unavailable("Too many log-ins are waiting; try again.")
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *args)
        finally:
            self._waiting -= 1
