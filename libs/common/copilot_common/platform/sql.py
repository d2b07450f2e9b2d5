"""Named SQL blocks, kept in `.sql` files beside the repository that runs them.

A block is `-- name: insert_message`, at least one comment line that describes it, then the statement with psycopg's
named parameters (`%(message_id)s`). Files are read once, at first use. SQL text is never built from values.
"""

import re
from functools import cached_property
from importlib import resources
from typing import LiteralString, cast

_BLOCK = re.compile(
    r"^-- name: (?P<name>[a-z_]+)\n(?P<doc>(?:-- [^\n]*\n)+)(?P<body>.*?)(?=^-- name: |\Z)", re.M | re.S
)


class Queries:
    """The blocks of one file: `queries["insert_message"]`."""

    def __init__(self, package: str, filename: str = "queries.sql") -> None:
        self._package = package
        self._filename = filename

    def __getitem__(self, name: str) -> LiteralString:
        return self._blocks[name]

    def names(self) -> list[str]:
        return list(self._blocks)

    @cached_property
    def _blocks(self) -> dict[str, LiteralString]:
        text = resources.files(self._package).joinpath(self._filename).read_text()
        blocks = {block["name"]: cast(LiteralString, block["body"].strip()) for block in _BLOCK.finditer(text)}
        if len(blocks) != text.count("-- name: "):
            raise ValueError(f"{self._package}/{self._filename}: a block lacks its description or repeats a name")
        return blocks
