"""The distribution's PostgreSQL, which speaks TLS; the one of the wheels doesn't. It has no pgvector, so no schema."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from copilot_cli.backups.programs import DEBIAN
from copilot_devstack.accounts import Account, server_account
from copilot_devstack.ports import free_port
from copilot_devstack.processes import spawn, wait_until
from support.certificates import Authority, Certificate
from support.tools import tool

PASSWORD = "password-of-the-tls-server"
_SUPERUSER = "copilot"
_READY_SECONDS = 20.0
_STOPPING = ((signal.SIGINT, 10.0), (signal.SIGKILL, 10.0))
# Nobody gets in without TLS.
_HBA = """
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl replication all 127.0.0.1/32 scram-sha-256
"""


@contextmanager
def tls_postgres(authority: Authority, certificate: Certificate) -> Iterator[str]:
    """The URL of its superuser, without any parameter about TLS; the host is `localhost`."""
    initdb, postgres = (_program(name) for name in ("initdb", "postgres"))
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="copilot-tls-postgres-"))
    port = free_port()
    url = f"postgresql://{_SUPERUSER}:{PASSWORD}@localhost:{port}/postgres"
    try:
        data, log = folder / "data", folder / "postgres.log"
        _initialise(initdb, folder, data, certificate, account)
        settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off", "ssl=on"]
        files = [f"ssl_cert_file={folder}/server.crt", f"ssl_key_file={folder}/server.key"]
        flags = [argument for setting in (*settings, *files) for argument in ("-c", setting)]
        command = [postgres, "-D", str(data), *flags]
        process = spawn(command, log=log, cwd=folder, env={}, account=account, on_parent_death=signal.SIGKILL)
        try:
            ready = f"{url}?sslmode=verify-full&sslrootcert={authority.path}"
            wait_until(lambda: not process.is_alive or _answers(ready), _READY_SECONDS)
            assert process.is_alive, log.read_text()[-4_000:]
            yield url
        finally:
            process.stop(_STOPPING)
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str:
    """Of the newest version there is; packages don't put it on the PATH."""
    found = sorted(DEBIAN.glob(f"*/bin/{name}"))
    return tool(str(found[-1]) if found else name, package="postgresql")


def _initialise(initdb: str, folder: Path, data: Path, certificate: Certificate, account: Account | None) -> None:
    (folder / "password").write_text(PASSWORD)
    shutil.copy(certificate.certificate, folder / "server.crt")
    shutil.copy(certificate.key, folder / "server.key")
    _hand_over([folder, *folder.iterdir()], account)
    options = [f"--username={_SUPERUSER}", f"--pwfile={folder}/password", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [initdb, f"--pgdata={data}", *options],
        check=True,
        capture_output=True,
        cwd=folder,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    (data / "pg_hba.conf").write_text(_HBA)


def _hand_over(paths: Sequence[Path], account: Account | None) -> None:
    for path in paths if account is not None else []:
        assert account is not None
        os.chown(path, account.uid, account.gid)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
