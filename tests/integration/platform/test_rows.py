"""Rows as objects: the same whatever the order in which a statement names its columns."""

from dataclasses import dataclass
from typing import Any, cast

import msgspec
import psycopg
import pytest

from copilot_common.platform.rows import rows_of
from support.stack import Database


@dataclass(frozen=True)
class Bird:
    name: str
    legs: int = 2


@dataclass(frozen=True, kw_only=True)
class NamedBird:
    name: str
    legs: int


class StructBird(msgspec.Struct):
    name: str
    legs: int


@pytest.mark.parametrize("columns", ["'owl' AS name, 3 AS legs", "3 AS legs, 'owl' AS name"])
@pytest.mark.parametrize("kind", [Bird, NamedBird, StructBird])
async def test_a_column_goes_to_the_field_of_its_name(database: Database, columns: str, kind: type[object]) -> None:
    assert await fetch(database, kind, f"SELECT {columns}") == [cast(Any, kind)(name="owl", legs=3)]


async def test_fields_without_a_column_are_as_they_are_by_default(database: Database) -> None:
    assert await fetch(database, Bird, "SELECT 'owl' AS name") == [Bird("owl", 2)]


async def test_a_statement_without_rows_has_none(database: Database) -> None:
    assert await fetch(database, Bird, "SELECT 'owl' AS name WHERE false") == []


@pytest.mark.parametrize("columns", ["'owl' AS name, 3 AS wings", "'owl' AS name, 3 AS legs, 1 AS wings", "3 AS legs"])
async def test_a_column_too_many_and_a_field_too_few_are_faults(database: Database, columns: str) -> None:
    with pytest.raises(TypeError):
        await fetch(database, Bird, f"SELECT {columns}")


async def fetch(database: Database, kind: type[object], query: str) -> list[object]:
    connection = await psycopg.AsyncConnection.connect(database.app_url)
    async with connection, connection.cursor(row_factory=rows_of(kind), binary=True) as cursor:
        await cursor.execute(query.encode())
        return await cursor.fetchall()
