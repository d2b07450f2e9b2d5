"""What can be told of a TLS connection without a server; the rest stands in tests/ops and tests/integration."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from copilot_common.platform.tls_fault import tls_fault

NOWHERE = "postgresql://somebody:hunter2@127.0.0.1:1/copilot"


@pytest.mark.parametrize(
    "url",
    [
        NOWHERE,
        f"{NOWHERE}?sslmode=prefer",
        f"{NOWHERE}?sslmode=require",
        f"{NOWHERE}?sslmode=require&sslrootcert=/nowhere/ca.crt",
        "postgresql:///copilot?host=/var/run/postgresql&sslmode=require",
        "postgresql://one,two/copilot?sslmode=require",
        "postgresql://127.0.0.1/copilot?no_such_parameter=1",
        "postgresql://127.0.0.1:hun/ter2@db/copilot?sslmode=require",
        f"postgresql://somebody:hunter2@{'d' * 64}/copilot?sslmode=require",
    ],
)
def test_where_tls_is_not_wanted_or_not_reached_nothing_is_told_of_it(url: str) -> None:
    assert tls_fault(url) is None


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_file_of_authorities_that_is_none_is_told_of(mode: str, tmp_path: Path) -> None:
    empty = tmp_path / "ca.crt"
    for content in None, b"", b"no certificate":
        if content is not None:
            empty.write_bytes(content)
        fault = tls_fault(f"{NOWHERE}?sslmode={mode}&sslrootcert={empty}")
        assert fault is not None
        assert "no readable file of certificates" in fault
        assert "hunter2" not in fault


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_without_a_file_of_authorities_it_is_libpqs_own_that_lacks(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fault = tls_fault(f"{NOWHERE}?sslmode={mode}")
    assert fault is not None
    assert "no readable file of certificates" in fault


@pytest.mark.parametrize(("answer", "is_told"), [(b"N", True), (b"", False)])
def test_only_a_server_that_says_no_offers_no_tls(answer: bytes, is_told: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(max_workers=1) as pool:
        listener.settimeout(5)

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(8)
                connection.sendall(answer)

        served = pool.submit(answer_once)
        fault = tls_fault(f"postgresql://127.0.0.1:{listener.getsockname()[1]}/copilot?sslmode=require")
        served.result()
    assert (fault is not None and "offers no TLS" in fault) is is_told
