"""TLS to PostgreSQL: to the distribution's own server, and to a PgBouncer with our database behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from copilot_cli.backups import logical, physical
from copilot_cli.backups.directory import DirectoryTarget
from copilot_cli.checks.database import check_database
from copilot_common.platform.db import Database
from copilot_common.platform.tls_fault import tls_fault
from support.api import Site, StartApi
from support.certificates import Authority, Certificate
from support.clients import eventually
from support.pgbouncer import PgBouncer, pgbouncer
from support.simulator import scripted
from support.tls_postgres import PASSWORD, tls_postgres
from support.tools import tool

_TLS = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
_OTHER_HOST = "hostaddr=127.0.0.1&host=db.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """It has signed nothing that is used here, under the same name."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[str]:
    with tls_postgres(authority, authority.issue("localhost")) as url:
        yield url


def verified(url: str, authority: Authority, *more: str) -> str:
    return f"{url}?" + "&".join(["sslmode=verify-full", f"sslrootcert={authority.path}", *more])


async def first_row(url: str, query: str) -> object:
    database = Database(url, max_size=1, application_name="tests")
    await database.open()
    try:
        return await database.fetch_row(query, ())
    finally:
        await database.close()


async def test_the_pool_connects_to_a_server_whose_certificate_it_verifies(server: str, authority: Authority) -> None:
    url = verified(server, authority)
    assert await first_row(url, _TLS) == (True, "TLSv1.3")
    assert tls_fault(url) is None


async def test_dumps_and_base_backups_are_read_over_it(server: str, authority: Authority, tmp_path: Path) -> None:
    url, target = verified(server, authority), DirectoryTarget(tmp_path)
    assert logical.dump(url, target).size_bytes
    assert physical.base_backup(url, target, lambda _: None).size_bytes


FAULTS = {
    "another CA": ("stranger", "", "not signed by a CA in sslrootcert"),
    "another host name": ("authority", _OTHER_HOST, "for another host name"),
    "an address": ("authority", "host=127.0.0.1", "for another address"),
    "no CA": ("nobody", "", "names no readable file"),
}


@pytest.mark.parametrize(("signer", "more", "finding"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_server_that_is_not_the_one_is_refused(
    signer: str, more: str, finding: str, server: str, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    nobody = tmp_path / "nobody.crt"
    path = {"authority": authority.path, "stranger": stranger.path, "nobody": nobody}[signer]
    url = f"{server}?sslmode=verify-full&sslrootcert={path}&{more}".rstrip("&")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    (check,) = [check async for check in check_database(url, "session")]
    assert finding in check.finding
    assert PASSWORD not in f"{check.finding} {check.advice}"


def test_a_server_without_tls_is_told_from_one_that_is_away(site: Site, authority: Authority) -> None:
    fault = tls_fault(verified(site.database.app_url, authority))
    assert fault is not None
    assert "offers no TLS" in fault
    assert tls_fault(verified("postgresql://nobody@127.0.0.1:1/nowhere", authority)) is None


@contextmanager
def speaking_tls(site: Site, certificate: Certificate) -> Iterator[PgBouncer]:
    """In front of a PostgreSQL that doesn't."""
    files = {"client_tls_cert_file": certificate.certificate, "client_tls_key_file": certificate.key}
    more = {"client_tls_sslmode": "require", **files}
    with pgbouncer(tool("pgbouncer", package="pgbouncer"), site.database, pool_size=4, more=more) as started:
        yield started


@pytest.fixture
def bouncer(site: Site, authority: Authority) -> Iterator[PgBouncer]:
    with speaking_tls(site, authority.issue("localhost")) as started:
        yield started


def test_a_certificate_that_has_expired_is_refused(site: Site, authority: Authority) -> None:
    with speaking_tls(site, authority.issue("localhost", ends=timedelta(hours=-1))) as started:
        url = verified(started.through(site.database.app_url, host="localhost"), authority)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        assert "has expired" in str(tls_fault(url))


async def test_a_service_works_over_it(
    bouncer: PgBouncer, site: Site, authority: Authority, start_api: StartApi
) -> None:
    """Its pool and the thread that renews its lease."""
    url = bouncer.through(site.database.app_url, host="localhost", sslmode="verify-full", sslrootcert=authority.path)
    api = start_api(site.environ(database_url=url, database_pool_mode="transaction"))
    renewed = "SELECT max(lease_expires_at) FROM processes"
    first = site.rows(renewed)

    async def is_renewed() -> bool:
        return site.rows(renewed) > first

    async with api.client(site.acme) as client:
        events = await client.stream(await client.conversation(), model=f"openai/{scripted('tokens=5')[0]}")
        assert events[-1].type == "message_end"
        await eventually(is_renewed, what="the next renewal of the lease")
    assert {each["tls"].partition("/")[0] for each in bouncer.show("CLIENTS") if each["user"] == "copilot_app"} == {
        "TLSv1.3"
    }
    assert [check.status async for check in check_database(url, "transaction")][:3] == ["ok"] * 3


async def test_a_service_that_refuses_the_server_says_what_to_do_and_not_its_password(
    bouncer: PgBouncer, site: Site, stranger: Authority, start_api: StartApi
) -> None:
    url = bouncer.through(site.database.app_url, host="localhost", sslmode="verify-full", sslrootcert=stranger.path)
    api = start_api(site.environ(database_url=url, database_pool_mode="transaction"), ready=False)

    async def said() -> list[object]:
        return [line["reason"] for line in api.log_lines if line["message"] == "Database not reachable yet"]

    (reason, *_) = await eventually(said, seconds=30, what="a line about the database")
    assert "put the CA that signed it there" in str(reason)
    text = api.log_path.read_text()
    assert "password-of-tests" not in text
    assert "Traceback" not in text
