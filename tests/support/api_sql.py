"""The product's SQL blocks as PostgreSQL prepares them, and what their plans really read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

_PARAMETER = re.compile(r"%\((\w+)\)[sb]")


def numbered(text: str) -> tuple[str, list[str]]:
    """psycopg's named parameters as PostgreSQL's numbers, each name one number; and the names in that order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return _PARAMETER.sub(number, text).replace("%%", "%"), names


class Plan:
    """What `EXPLAIN ANALYZE` tells of the ninth run: by then PostgreSQL has chosen between plans for these values and
    one for all, as it does for statements that psycopg has prepared."""

    def __init__(self, connection: psycopg.Connection, block: str, params: Mapping[str, object]) -> None:
        text, names = numbered(block)
        connection.execute(f"PREPARE block AS {text}".encode())
        values = sql.SQL(", ").join(sql.Literal(params[name]) for name in names)
        execute = sql.SQL("EXECUTE block({})").format(values) if names else sql.SQL("EXECUTE block")
        for _ in range(8):
            with connection.transaction(force_rollback=True):
                connection.execute(execute)
        with connection.transaction(force_rollback=True):
            row = connection.execute(sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + execute).fetchone()
        connection.execute("DEALLOCATE block")
        assert row
        self.nodes: list[dict[str, Any]] = list(_nodes(row[0][0]["Plan"]))

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def scanned_tables(self) -> set[str]:
        """Those read from end to end."""
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"}

    @property
    def rows_read(self) -> int:
        """What all scans of tables and indexes looked at, shown or thrown away."""
        return sum(_rows(node) for node in self.nodes if "Scan" in node["Node Type"] and "Relation Name" in node)


def _rows(node: dict[str, Any]) -> int:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)
