"""Which passages speak of a question: BM25 over lightly stemmed words, without a model and without numpy."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from copilot_common.llm.types import Passage

# The usual BM25 parameters (Robertson and Zaragoza 2009).
_K1: Final = 1.2
_B: Final = 0.75

_WORD: Final = re.compile(r"\w+")
# Scripts written without spaces: their words are not to be seen, pairs of characters serve.
UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_STOPWORDS_TEXT: Final = """
a about after all also am an and any are as at be because been before being but by can could did do does doing for
from had has have he her here him his how i if in into is it its me more most my no not of on or our please she
should so some such tell than that the their them then there these they this those to was we were what when where
which who whom whose why will with would you your
"""
STOPWORDS: Final = frozenset(_STOPWORDS_TEXT.split())
_SUFFIXES: Final = (
    ("ations", "at"), ("ation", "at"), ("ities", "ity"), ("sses", "ss"), ("ies", "y"), ("ings", ""), ("edly", ""),
    ("ing", ""), ("ed", ""), ("ly", ""), ("ness", ""), ("ss", "ss"), ("us", "us"), ("is", "is"), ("s", ""),
)  # fmt: skip


def rank_passages(query: str, passages: Sequence[Passage], limit: int) -> list[Passage]:
    """At most `limit` passages that share a word with the query, best first; earlier ones first among equals."""
    wanted = set(terms(query))
    if not wanted or not passages:
        return []
    stems: dict[str, str] = {}
    counts = [_count(passage.text, stems) for passage in passages]
    lengths = [max(1, count.total()) for count in counts]
    average = sum(lengths) / len(lengths)
    weights = {term: _idf(sum(term in count for count in counts), len(counts)) for term in wanted}
    scores = [
        sum(weights[term] * _saturate(count[term], length / average) for term in wanted if term in count)
        for count, length in zip(counts, lengths, strict=True)
    ]
    found = sorted((index for index, score in enumerate(scores) if score > 0), key=lambda index: -scores[index])
    return [passages[index] for index in found[:limit]]


def terms(text: str) -> list[str]:
    """The stems a text is found by; stop words have none."""
    return list(_count(text, {}).elements())


def _count(text: str, stems: dict[str, str]) -> Counter[str]:
    """Stem each different word once: `stems` is shared by the texts of one ranking."""
    counted: Counter[str] = Counter()
    for word, times in Counter(_WORD.findall(text.casefold())).items():
        if word in STOPWORDS:
            continue
        if word.isascii():
            stem = stems.get(word)
            if stem is None:
                stem = stems[word] = _stem(word)
            counted[stem] += times
        else:
            for part in _parts(word):
                counted[part] += times
    return counted


def _parts(word: str) -> list[str]:
    parts = [_stem(part) for part in UNSPACED.sub(" ", word).split()]
    for run in UNSPACED.findall(word):
        parts += [run[index : index + 2] for index in range(max(1, len(run) - 1))]
    return parts


def _stem(word: str) -> str:
    """Cut English endings so that `install`, `installs`, `installed` and `installing` meet. Rough on purpose."""
    for suffix, ending in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: len(word) - len(suffix)] + ending
            # running → runn → run, but not called → call → cal
            if not ending and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _idf(found_in: int, total: int) -> float:
    return math.log(1 + (total - found_in + 0.5) / (found_in + 0.5))


def _saturate(times: int, relative_length: float) -> float:
    return times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * relative_length))
