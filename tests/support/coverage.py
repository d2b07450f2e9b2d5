"""What of the deployment guide is implemented where, and proved by which test; `python -m support.coverage` writes it.

docs/guide-coverage.toml and docs/guide-deviations.toml are written by hand. docs/guide-coverage.md is made of them and
of the guide, so that no part of the guide can be left out.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import msgspec

from support.charts import load_strictly
from support.guide import GUIDE, OURS, ROOT, Guide, line_of, read_guide, statements_of

TARGET = ROOT / "docs/guide-coverage.md"
_FILES = re.compile(r"^# (\S+\.yaml)$|`(\S+\.json)`|(/migrations/\S+\.sql)", re.MULTILINE)


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`names` are sections, or single parts of kind `kind`, which else are covered by their section's entry.

    `open` says what is missing; `until` names the file with which it no longer would be.
    """

    names: tuple[str, ...]
    kind: str = "section"
    where: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    open: str = ""
    until: tuple[str, ...] = ()


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shell command of the guide or of ours, by its first line: which tests try it, or what of it is not tried."""

    line: str
    tried: tuple[str, ...] = ()
    not_tried: str = ""


class Deviation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`places` are paths into a manifest, statements or lines of the guide; `adr` is the number of the decision."""

    section: str
    places: tuple[str, ...]
    adr: int
    ours: str


class _Coverage(msgspec.Struct, forbid_unknown_fields=True):
    entry: list[Entry]
    command: list[Command]


class _Deviations(msgspec.Struct, forbid_unknown_fields=True):
    deviation: list[Deviation]


@dataclass(frozen=True)
class Part:
    """Something the guide has: a variable, a file, a row of a table, …"""

    kind: str
    name: str
    section: str


@cache
def _coverage() -> _Coverage:
    return msgspec.toml.decode((ROOT / "docs/guide-coverage.toml").read_text(), type=_Coverage)


def entries() -> list[Entry]:
    return _coverage().entry


def commands() -> list[Command]:
    return _coverage().command


@cache
def deviations() -> list[Deviation]:
    text = (ROOT / "docs/guide-deviations.toml").read_text()
    return msgspec.toml.decode(text, type=_Deviations).deviation


def parts(guide: Guide) -> Iterator[Part]:
    """Everything but the commands, each once."""
    yield from (Part("section", name, name) for name in guide.leaves())
    yield from _of_blocks(guide)
    yield from _of_tables(guide)
    for section, text in guide.items:
        if not _FILES.search(text):
            yield Part("prerequisite", text, section)


def _of_blocks(guide: Guide) -> Iterator[Part]:
    for fence in guide.fences:
        yield from (Part("file", "".join(found), fence.section) for found in _FILES.findall(fence.text))
        if fence.language == "yaml" and "\nkind: " in fence.text:
            yield from _of_manifests(fence.section, fence.text)
        elif fence.language == "yaml":
            yield Part("block", re.sub(r"^#.*\n", "", fence.text).splitlines()[0], fence.section)
        elif fence.language == "sql":
            yield from (Part("statement", statement, fence.section) for statement in statements_of(fence.text))
        elif fence.language == "json":
            yield from (Part("log field", name, fence.section) for name in json.loads(fence.text))
        elif fence.text.startswith("GET "):
            yield Part("endpoint", fence.text.strip(), fence.section)
    for section, text in guide.items:
        yield from (Part("file", "".join(found), section) for found in _FILES.findall(text))


def _of_manifests(section: str, text: str) -> Iterator[Part]:
    for manifest in load_strictly(text):
        yield Part("manifest", f"{manifest['kind']}/{manifest['metadata']['name']}", section)
        if manifest["kind"] in ("ConfigMap", "Secret"):
            variables = manifest.get("data") or manifest["stringData"]
            yield from (Part("variable", name, section) for name in variables)


def _of_tables(guide: Guide) -> Iterator[Part]:
    kinds = {"Variable": "variable", "Metric": "metric"}
    for table in guide.tables:
        kind = kinds.get(table.header[0], "row")
        yield Part("table", " | ".join(table.header), table.section)
        for name, *cells in table.rows:
            yield Part(kind, name if kind != "row" else " | ".join([name, *cells]), table.section)


def entry_of(part: Part) -> Entry | None:
    """Its own, else its section's."""
    own = [entry for entry in entries() if entry.kind == part.kind and part.name in entry.names]
    around = [entry for entry in entries() if entry.kind == "section" and part.section in entry.names]
    return next(iter([*own, *around]), None)


def adr_file(number: int) -> str:
    (found,) = ROOT.glob(f"docs/adr/{number:04}-*.md")
    return found.name


def render() -> str:
    guide = read_guide(GUIDE)
    found = list(dict.fromkeys(parts(guide)))
    lines = [
        "# Coverage of the deployment guide",
        "",
        "Every part of [deployment-guide.md](deployment-guide.md), where it is implemented, and which test proves it.",
        "`make guide-coverage` writes this from the guide, [guide-coverage.toml](guide-coverage.toml) and",
        "[guide-deviations.toml](guide-deviations.toml); a test compares.",
        *_open(),
    ]
    for kind in dict.fromkeys(part.kind for part in found):
        of_kind = {part.name: part for part in found if part.kind == kind}  # what is named twice, as named last
        lines += ["", f"## Every {kind}", "", *_table([*of_kind.values()])]
    lines += _commands("Every shell command", guide)
    lines += _commands("Every shell command of deployment.md", read_guide(OURS))
    return "\n".join([*lines, *_deviations(), ""])


def _open() -> Iterator[str]:
    yield from ("", "## Open", "")
    yield from [f"- {', '.join(entry.names)}: {entry.open}." for entry in entries() if entry.open] or ["Nothing."]


def _table(found: list[Part]) -> Iterator[str]:
    yield f"| {found[0].kind} | where | proved by |"
    yield "|---|---|---|"
    for part in found:
        entry = entry_of(part)
        assert entry is not None, f"docs/guide-coverage.toml has nothing for {part}"
        name = part.name if part.kind == "section" else f"`{part.name.replace('|', ',')}`"
        remark = ["open"] if entry.open else []
        yield f"| {name} | {_links(entry.where)} | {', '.join([_links(entry.tests), *remark]).strip(', ')} |"


def _commands(title: str, guide: Guide) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield from ("| command | tried by | not tried |", "|---|---|---|")
    listed = {command.line: command for command in commands()}
    for line in dict.fromkeys(line_of(text) for _, text in guide.commands()):
        command = listed[line]
        yield f"| `{command.line.replace('|', chr(92) + '|')}` | {_links(command.tried)} | {command.not_tried} |"


def _deviations() -> Iterator[str]:
    yield from ("", "## Where we leave the guide", "", "| place | ours | decision |", "|---|---|---|")
    for deviation in deviations():
        where = "<br>".join(f"`{place}`" for place in deviation.places)
        adr = f"[ADR {deviation.adr}](adr/{adr_file(deviation.adr)})"
        yield f"| {deviation.section}<br>{where} | {deviation.ours} | {adr} |"


def _links(names: tuple[str, ...]) -> str:
    """Files and test ids; only the names of tests are shown."""
    return ", ".join(f"[{name.rpartition('::')[2]}](../{name.partition('::')[0]})" for name in names)


if __name__ == "__main__":
    TARGET.write_text(render())
