"""Which terms a text is found by, and what is kept of them."""

from uuid import uuid4

import pytest

from copilot_common.base.ids import TenantId
from copilot_common.encryption import HashPurpose, TenantCipher
from copilot_domain.context.terms import TermHasher, count_terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The ships are sailing", {"ship": 1, "sail": 1}),
        ("Ship SHIP ships", {"ship": 3}),
        ("getUserName", {"getusernam": 1, "get": 1, "user": 1, "name": 1}),
        ("max_batch_2", {"max_batch_2": 1, "max": 1, "batch": 1, "2": 1}),
        ("HTTPServer", {"httpserver": 1, "http": 1, "server": 1}),
        ("ﬁne", {"fine": 1}),
        ("Straße", {"strass": 1}),
        ("漢字文", {"漢字": 1, "字文": 1}),
        ("caf\u0065\u0301", {"café": 1}),
        ("", {}),
        ("!?…", {}),
    ],
)
def test_the_terms_of_a_text(text: str, terms: dict[str, int]) -> None:
    assert dict(count_terms(text)) == terms


def cipher(*keys: int) -> TenantCipher:
    return TenantCipher(TenantId(uuid4()), {number: bytes([number]) * 32 for number in keys})


def test_a_hash_is_short_and_the_same_each_time() -> None:
    hasher = TermHasher(cipher(1))
    assert hasher("ship") == hasher("ship") == TermHasher(cipher(1))("ship")
    assert -(1 << 63) <= hasher("ship") < 1 << 63
    assert hasher("ship") != hasher("shop")


def test_another_key_or_purpose_makes_other_hashes() -> None:
    assert TermHasher(cipher(1))("ship") != TermHasher(cipher(2))("ship")
    keys = {cipher(1).hash_key(purpose) for purpose in HashPurpose}
    assert len(keys) == len(HashPurpose)


def test_a_rotated_key_still_finds_what_was_hashed_before() -> None:
    assert TermHasher(cipher(1))("ship") == TermHasher(cipher(1, 2))("ship")
