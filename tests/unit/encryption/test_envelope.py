"""A sealed value opens where it was sealed for, and nowhere else."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.ids import TenantId
from copilot_common.encryption import DecryptionError, MasterKey, Purpose, TenantCipher

TENANT, OTHER = TenantId(UUID(int=1)), TenantId(UUID(int=2))
ROW = UUID(int=3)
CIPHER = TenantCipher(TENANT, {1: bytes(range(32))})
purposes = st.sampled_from(list(Purpose))


@given(plaintext=st.binary(max_size=200), purpose=purposes, row=st.uuids(), part=st.integers(0, 2**63))
def test_what_was_sealed_opens(plaintext: bytes, purpose: Purpose, row: UUID, part: int) -> None:
    sealed = CIPHER.seal(purpose, row, plaintext, part=part)
    assert CIPHER.open(purpose, row, sealed, part=part) == plaintext
    assert len(sealed) == len(plaintext) + 3 + 12 + 16
    if len(plaintext) >= 4:  # shorter ones may stand in it by chance
        assert plaintext not in sealed


@given(text=st.text(max_size=100))
def test_text_opens_as_text(text: str) -> None:
    assert CIPHER.open_text(Purpose.MESSAGE_CONTENT, ROW, CIPHER.seal_text(Purpose.MESSAGE_CONTENT, ROW, text)) == text


def test_what_an_earlier_version_has_sealed_opens() -> None:
    cipher = TenantCipher(TenantId(UUID(int=7)), {1: bytes(range(32)), 3: bytes(range(100, 132))})
    sealed = bytes.fromhex("010003b6d92bb8b469900a6f8dee1e24b976115ce894433be54efa3de6480843d88902998b")
    assert cipher.open(Purpose.CONTEXT_TEXT, UUID(int=9), sealed, part=2) == b"herons"


def test_the_same_text_is_never_sealed_the_same_twice() -> None:
    assert len({CIPHER.seal_text(Purpose.MESSAGE_CONTENT, ROW, "again") for _ in range(50)}) == 50


def refuse(cipher: TenantCipher, sealed: bytes, purpose: Purpose, row: UUID, part: int = 0) -> None:
    with pytest.raises(DecryptionError):
        cipher.open(purpose, row, sealed, part=part)


@given(purpose=purposes, other_purpose=purposes, row=st.uuids(), other_row=st.uuids(), part=st.integers(1, 2**63))
def test_moved_elsewhere_it_does_not_open(
    purpose: Purpose, other_purpose: Purpose, row: UUID, other_row: UUID, part: int
) -> None:
    sealed = CIPHER.seal(purpose, row, b"secret")
    if other_purpose != purpose:
        refuse(CIPHER, sealed, other_purpose, row)
    if other_row != row:
        refuse(CIPHER, sealed, purpose, other_row)
    refuse(CIPHER, sealed, purpose, row, part)
    same_key_other_tenant = TenantCipher(OTHER, CIPHER.keys)
    refuse(same_key_other_tenant, sealed, purpose, row)
    refuse(TenantCipher(TENANT, {1: bytes(32)}), sealed, purpose, row)
    refuse(TenantCipher(TENANT, {2: CIPHER.keys[1]}), sealed, purpose, row)


@given(position=st.integers(0, 36), bit=st.integers(0, 7))
def test_with_any_bit_changed_it_does_not_open(position: int, bit: int) -> None:
    sealed = bytearray(CIPHER.seal(Purpose.MESSAGE_CONTENT, ROW, b"secret"))
    sealed[position] ^= 1 << bit
    refuse(CIPHER, bytes(sealed), Purpose.MESSAGE_CONTENT, ROW)


@given(garbage=st.binary(max_size=60))
def test_garbage_does_not_open(garbage: bytes) -> None:
    refuse(CIPHER, garbage, Purpose.MESSAGE_CONTENT, ROW)


def test_the_newest_key_seals_and_the_old_ones_still_open() -> None:
    old = CIPHER.seal(Purpose.MESSAGE_CONTENT, ROW, b"old")
    rotated = TenantCipher(TENANT, {**CIPHER.keys, 2: bytes(reversed(range(32)))})
    new = rotated.seal(Purpose.MESSAGE_CONTENT, ROW, b"new")
    assert rotated.open(Purpose.MESSAGE_CONTENT, ROW, old) == b"old"
    assert rotated.open(Purpose.MESSAGE_CONTENT, ROW, new) == b"new"
    refuse(CIPHER, new, Purpose.MESSAGE_CONTENT, ROW)


def test_a_data_key_opens_only_for_its_tenant_its_number_and_under_its_master_key() -> None:
    master = MasterKey(bytes(range(32)))
    wrapped = master.new_wrapped_key(TENANT, 1)
    assert len(master.unwrap(TENANT, 1, wrapped)) == 32
    for opener, tenant, number in ((master, OTHER, 1), (master, TENANT, 2), (MasterKey(bytes(32)), TENANT, 1)):
        with pytest.raises(DecryptionError):
            opener.unwrap(tenant, number, wrapped)
    with pytest.raises(DecryptionError):
        master.unwrap(TENANT, 1, wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
