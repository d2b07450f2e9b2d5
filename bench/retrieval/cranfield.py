"""The Cranfield collection (Cleverdon 1967): 1 400 abstracts, 225 questions, and which abstracts answer which question.

Read from a folder with `cran.all.1400`, `cran.qry` and `cranqrel`, as the Glasgow IR group publishes them.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FIELD = re.compile(r"^\.([A-Z])\s*(\d*)\s*$")


@dataclass(frozen=True)
class Collection:
    """Documents by number, as title and text. `judged`: questions with the numbers of what answers them."""

    documents: dict[int, tuple[str, str]]
    judged: list[tuple[str, frozenset[int]]]


def read_collection(folder: Path) -> Collection:
    """Raises RuntimeError where it is not there."""
    try:
        documents = list(_records((folder / "cran.all.1400").read_text(errors="replace")))
        questions = list(_records((folder / "cran.qry").read_text(errors="replace")))
        judgements = (folder / "cranqrel").read_text().splitlines()
    except OSError as error:
        raise RuntimeError(f"no Cranfield collection in {folder}: {type(error).__name__}") from None
    relevant = _relevant(judgements)
    return Collection(
        {int(record["I"]): _titled(record) for record in documents},
        [
            (_one_line(record.get("W", "")), frozenset(relevant[number]))
            for number, record in enumerate(questions, 1)  # judgements go by their order, not by their ids
            if relevant.get(number)
        ],
    )


def ndcg(ranked: Sequence[int], relevant: frozenset[int], *, depth: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin, Kekäläinen 2002) of a ranking without repetitions: a document
    either answers or doesn't."""
    gain = sum(1 / math.log2(place + 2) for place, number in enumerate(ranked[:depth]) if number in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(depth, len(relevant))))


def _records(text: str) -> Iterator[dict[str, str]]:
    """Fields by their letter."""
    record: dict[str, str] = {}
    field = ""
    for line in text.splitlines():
        if (found := _FIELD.match(line)) is None:
            record[field] = f"{record.get(field, '')}{line}\n"
            continue
        field = found[1]
        if field == "I":
            if record:
                yield record
            record = {}
        record[field] = found[2]
    if record:
        yield record


def _titled(record: dict[str, str]) -> tuple[str, str]:
    """The text repeats the title."""
    return _one_line(record.get("T", "")), record.get("W", "").strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _relevant(lines: Sequence[str]) -> dict[int, set[int]]:
    """Question, document, degree: what is not above 0 answers nothing."""
    found: dict[int, set[int]] = {}
    for fields in (line.split() for line in lines):
        if len(fields) >= 3 and int(fields[2]) > 0:
            found.setdefault(int(fields[0]), set()).add(int(fields[1]))
    return found
