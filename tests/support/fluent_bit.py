"""Fluent Bit's classic configuration, read strictly, and what it would make of a line of a container's log.

The program itself is in no package that the tests may use. What is known here (sections, plugins, their options, the
built-in parsers `cri` and `docker`, how a time is read) is written from its manual, as far as our files use it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_ALWAYS = {"name", "match", "tag", "alias"}
_OPTIONS: Mapping[str, Mapping[str, set[str]]] = {
    "INPUT": {
        "tail": {
            *("path", "multiline.parser", "db", "read_from_head", "refresh_interval", "buffer_max_size"),
            *("skip_long_lines", "storage.type"),
        }
    },
    "FILTER": {
        "kubernetes": {"merge_log", "keep_log", "labels", "annotations"},
        "parser": {"key_name", "parser", "reserve_data", "preserve_key"},
        "grep": {"regex", "exclude"},
    },
    "OUTPUT": {
        "es": {
            *("host", "port", "index", "suppress_type_name", "generate_id"),
            *("retry_limit", "storage.total_limit_size"),
        }
    },
    "PARSER": {"": {"format", "time_key", "time_format", "time_keep"}},
    "SERVICE": {
        "": {
            *("flush", "log_level", "parsers_file", "http_server", "http_listen", "http_port", "health_check"),
            *("storage.path", "storage.max_chunks_up", "storage.backlog.mem_limit"),
        }
    },
}
_CRI = re.compile(r"^(?P<time>[^ ]+) (?P<stream>stdout|stderr) (?P<_p>[FP]) (?P<log>.*)$")
OF_RUNTIMES = frozenset({"time", "stream", "_p", "log"})
"""Fields that a record has of the runtime; `log` where it was not parsed."""
_TIME = {
    "%Y": r"(?P<year>\d{4})",
    "%m": r"(?P<month>\d{2})",
    "%d": r"(?P<day>\d{2})",
    "%H": r"(?P<hour>\d{2})",
    "%M": r"(?P<minute>\d{2})",
    "%S": r"(?P<second>\d{2})",
    "%L": r"(?P<fraction>\d{1,9})",
    "%z": r"(?P<zone>Z|[+-]\d{2}:?\d{2})",
}


@dataclass(frozen=True)
class Section:
    """`options` by their names in small letters: Fluent Bit does not tell capitals apart."""

    kind: str
    options: Mapping[str, str]

    @property
    def plugin(self) -> str:
        return self.options.get("name", "")


@dataclass(frozen=True)
class Record:
    """`time` is what Elasticsearch is told; None for the time of reading."""

    time: datetime | None
    fields: Mapping[str, Any]


def read(text: str) -> list[Section]:
    """Raises ValueError where Fluent Bit would, or would take no notice."""
    found = list[tuple[str, dict[str, str]]]()
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        header = re.fullmatch(r"\[([A-Z_]+)\]", line)
        entry = re.fullmatch(r"    (\S+)\s+(\S.*)", line)
        if header:
            found.append((header[1], {}))
        elif entry and found and entry[1].lower() not in found[-1][1]:
            found[-1][1][entry[1].lower()] = entry[2].strip()
        else:
            raise ValueError(f"not understood: {line!r}")
    sections = [Section(kind, options) for kind, options in found]
    for section in sections:
        _check(section)
    return sections


def _check(section: Section) -> None:
    plugins = _OPTIONS.get(section.kind)
    if plugins is None:
        raise ValueError(f"no such section: {section.kind}")
    known = plugins.get("" if "" in plugins else section.plugin)
    if known is None:
        raise ValueError(f"no such plugin: {section.kind} {section.plugin}")
    unknown = section.options.keys() - known - _ALWAYS
    if unknown:
        raise ValueError(f"{section.kind} {section.plugin} does not know {sorted(unknown)}")


def of_kind(sections: Sequence[Section], kind: str, plugin: str = "") -> list[Section]:
    return [section for section in sections if section.kind == kind and plugin in ("", section.plugin)]


def ship(sections: Sequence[Section], parsers: Sequence[Section], lines: Sequence[str]) -> Iterator[Record]:
    """What the file of one container becomes, without what the filter `kubernetes` adds."""
    (source,) = of_kind(sections, "INPUT")
    known = {name.strip() for name in source.options["multiline.parser"].split(",")}
    for whole in _joined(known, lines):
        record: Record | None = Record(None, whole)
        for section in of_kind(sections, "FILTER"):
            if record is not None and section.plugin == "parser":
                record = _parsed(section, parsers, record)
            elif record is not None and section.plugin == "grep":
                record = record if _is_kept(section, record) else None
        if record is not None:
            yield record


def _joined(known: set[str], lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Runtimes cut long lines into parts: containerd says so, Docker leaves out the end of the line."""
    begun = ""
    for line in lines:
        cri = _CRI.match(line) if "cri" in known else None
        if cri:
            found: dict[str, Any] = cri.groupdict()
            is_whole = found["_p"] == "F"
        else:
            assert "docker" in known
            found = json.loads(line)
            is_whole = found["log"].endswith("\n")
        begun += found["log"]
        if is_whole:
            yield {**found, "log": begun.rstrip("\n")}
            begun = ""


def _parsed(section: Section, parsers: Sequence[Section], record: Record) -> Record:
    """A line that the parser does not understand stays as it is."""
    (parser,) = [found for found in parsers if found.plugin == section.options["parser"]]
    assert parser.options["format"] == "json"
    key = section.options["key_name"]
    try:
        parsed = json.loads(record.fields[key])
    except (KeyError, ValueError):
        return record
    if not isinstance(parsed, dict):
        return record
    kept = {name: value for name, value in record.fields.items() if name != key}
    is_reserved = section.options.get("reserve_data") == "On"
    time = read_time(parser.options["time_format"], str(parsed.get(parser.options["time_key"], "")))
    if parser.options.get("time_keep") != "On":
        parsed.pop(parser.options["time_key"], None)
    return Record(time, {**(kept if is_reserved else {}), **parsed})


def _is_kept(section: Section, record: Record) -> bool:
    name, pattern = section.options["regex"].split(maxsplit=1)
    return re.search(pattern, str(record.fields.get(name, ""))) is not None


def read_time(time_format: str, text: str) -> datetime | None:
    """None where it is not of that format."""
    pattern = "".join(_TIME.get(part, re.escape(part)) for part in re.findall(r"%.|[^%]", time_format))
    found = re.fullmatch(pattern, text)
    if found is None:
        return None
    numbers = {name: int(found[name]) for name in ("year", "month", "day", "hour", "minute", "second")}
    fraction = timedelta(microseconds=int(found["fraction"].ljust(9, "0")) // 1000)
    zone = found["zone"]
    offset = timedelta(0) if zone == "Z" else timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[-2:]))
    return datetime(**numbers, tzinfo=UTC) + fraction - offset
