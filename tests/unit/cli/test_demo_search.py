"""The demo's search for plaintext finds what it looks for."""

import pytest

from copilot_devstack.demo.secrecy import distinctive_phrases, find_readable

TEXT = "# Title\n\nEvery accepted piece of background work is a row in the ledger, written in one transaction.\n"


def test_phrases_are_prose_of_the_text() -> None:
    phrases = distinctive_phrases(TEXT)
    assert phrases
    assert all(phrase in TEXT and phrase.strip().count(" ") >= 2 for phrase in phrases)


def test_identifiers_are_no_phrases() -> None:
    assert distinctive_phrases("tenant_isolation_conversations http_request_duration_seconds ----------------") == set()


@pytest.mark.parametrize(
    "data",
    [TEXT.encode(), TEXT.upper().encode(), b"7\t\\\\x00" + TEXT.encode().hex().encode() + b"00\n"],
    ids=["in clear", "in capitals", "as hex"],
)
def test_a_phrase_is_found_wherever_it_is_readable(data: bytes) -> None:
    found = find_readable({"clean": b"nothing", "leaky": data}, distinctive_phrases(TEXT))
    assert found.keys() == {"leaky"}
