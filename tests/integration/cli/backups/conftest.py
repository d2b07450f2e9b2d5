import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.cli.backups.ground import Product
from integration.cli.conftest import Cli, Environ, environ_for
from support.api import ENCRYPTION_KEY
from support.object_store import ACCESS_KEY, SECRET_KEY, ObjectServer, object_server
from support.programs import postgres_programs
from support.stack import Database


@pytest.fixture(scope="session")
def programs() -> Path:
    return postgres_programs()


@pytest.fixture(autouse=True)
def on_path(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{programs}:{os.defpath}")


@pytest.fixture
def product(database: Database) -> Product:
    """Two tenants with some content."""
    return fill(database)


def fill(database: Database) -> Product:
    made = Product(database)
    for slug in ("acme", "other"):
        made.found(slug)
    made.write("the first day")
    return made


@pytest.fixture
def operator(product: Product, new_cli: Callable[[Environ], Cli]) -> Cli:
    return new_cli(operator_environ(product.database))


def operator_environ(database: Database) -> Environ:
    environ = environ_for(database, "redis://127.0.0.1:1/0")
    return environ | {"BACKUP_DATABASE_URL": database.backup_url, "ENCRYPTION_KEY": ENCRYPTION_KEY}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


@pytest.fixture
def in_bucket(objects: ObjectServer) -> Environ:
    """What leads to the bucket `tests-blobs`."""
    return {
        "S3_ENDPOINT": objects.url,
        "S3_REGION": "eu-test-1",
        "S3_ACCESS_KEY_ID": ACCESS_KEY,
        "S3_SECRET_ACCESS_KEY": SECRET_KEY,
    }


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server
