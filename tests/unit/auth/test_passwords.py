"""Passwords and keys: what is kept, what is accepted, and how many hashes run at once."""

import asyncio
import threading

import pytest
from argon2 import Parameters, Type

from copilot_common.auth.api_keys import hash_key, key_kind, new_key
from copilot_common.auth.passwords import OWASP_MINIMUM, Passwords, check_password
from copilot_common.base.errors import InvalidInput, Unavailable

CHEAP = Parameters(type=Type.ID, version=19, salt_len=8, hash_len=16, time_cost=1, memory_cost=8, parallelism=1)
GOOD = "correct horse battery staple"


async def test_a_password_verifies_against_its_own_hash_only() -> None:
    passwords = Passwords(CHEAP)
    stored = await passwords.hash(GOOD)
    assert GOOD not in stored
    assert await passwords.verify(stored, GOOD)
    assert not await passwords.verify(stored, GOOD + "r")
    assert not await passwords.verify("no hash at all", GOOD)


async def test_no_password_is_right_for_an_unknown_user() -> None:
    assert not await Passwords(CHEAP).verify(None, GOOD)


async def test_what_follows_the_longest_password_is_not_ignored() -> None:
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("x1y2z" * 25 + "abc")
    assert not await passwords.verify(stored, "x1y2z" * 25 + "abcd")


async def test_hashes_of_other_parameters_want_to_be_made_anew() -> None:
    passwords = Passwords(CHEAP)
    assert not passwords.needs_rehash(await passwords.hash(GOOD))
    assert Passwords(OWASP_MINIMUM).needs_rehash(await passwords.hash(GOOD))


async def test_at_most_two_hashes_run_at_once_and_a_flood_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, lock, release = Passwords(CHEAP), threading.Lock(), threading.Event()
    running = most = 0

    def slow(stored: str | None, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait(30)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(passwords, "_verify", slow)
    tasks = [asyncio.create_task(passwords.verify(None, GOOD)) for _ in range(100)]
    refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    release.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert refused
    assert most == 2
    assert results.count(True) == 64
    assert sum(isinstance(result, Unavailable) for result in results) == 36
    assert await passwords.verify(None, GOOD)


@pytest.mark.parametrize("password", ["x" * 11, "x1y2z3" * 22, "aaaaaaaaaaaaaa", "ann@acme.EXAMPLE"])
def test_weak_and_endless_passwords_are_refused_by_name(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_password(password, names=("ann@acme.example",), field="secret")
    assert list(caught.value.fields) == ["secret"]
    assert password not in str(caught.value.fields)


def test_a_passphrase_in_any_script_is_accepted() -> None:
    check_password("корректная лошадь 🐎", names=("ann",))


def test_a_key_is_known_by_its_form_and_kept_as_a_hash() -> None:
    for kind in ("live", "platform"):
        key = new_key(kind)
        assert key_kind(key.secret) == kind
        assert key.hash == hash_key(key.secret)
        assert key.secret not in repr(key)
        assert len(key.secret) == len(f"cpk_{kind}_") + 43


@pytest.mark.parametrize(
    "text", ["", "cpk_live_", "cpk_test_" + "a" * 43, "cpk_live_" + "a" * 42, "cpk_live_" + "é" * 43]
)
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert key_kind(text) is None
