"""What counts tokens: as the embedder's tokenizer does, or by estimate."""

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from copilot_common.base.tokens import BYTES_PER_TOKEN, estimate_tokens
from copilot_domain.documents.chunking.rules import TokenizerName

if TYPE_CHECKING:
    from tokenizers.models import Model


class TokenCounter(Protocol):
    """Serves one call of `cut`: what it remembers of a document ends with it."""

    def count(self, text: str) -> int: ...

    def reach(self, text: str, start: int, end: int, max_tokens: int) -> int:
        """The largest position up to `end`, or little less, so that `text[start:position]` has at most `max_tokens`."""
        ...


class EstimateCounter:
    """For embedders whose tokenizer is out of reach."""

    def count(self, text: str) -> int:
        return estimate_tokens(text)

    def reach(self, text: str, start: int, end: int, max_tokens: int) -> int:
        max_bytes = max_tokens * BYTES_PER_TOKEN  # and a character has at least one
        data = text[start : min(end, start + max_bytes)].encode("utf-8", "surrogatepass")
        if len(data) <= max_bytes:
            return min(end, start + max_bytes)
        return start + len(data[:max_bytes].decode("utf-8", "ignore"))


# No token of this tokenizer goes past these borders: none has a space behind another character, none a line break, none
# two characters from U+2E80 on (CJK and what comes after). So a text has the tokens of its units, and units recur.
# A longer word than 64 characters may count some tokens more than it has; so may a longer run of spaces than 16.
_UNIT: Final = re.compile(r" {0,16}+(?:[^ \n\u2e80-\U0010ffff]{1,64}|[\n\u2e80-\U0010ffff])| {1,16}")
# Memory: some 8 MB. Words follow Zipf's law: those that come after 50 000 others are rare.
_REMEMBERED_UNITS: Final = 50_000
# Characters of a text at first, then twice as many each time: a token is one of Chinese, four of English. Larger than
# the largest unit.
_STRIDE: Final = 256


class _UnitCounts(dict[str, int]):
    """Of each unit, by tokenizing it once: a third of the time that the whole text takes."""

    def __missing__(self, unit: str) -> int:
        tokens = _own_units().get(unit)
        if tokens is None:
            tokens = _count_unit(unit)
        if len(self) >= _REMEMBERED_UNITS:
            self.clear()
        self[unit] = tokens
        return tokens


class WordLlamaCounter:
    """As the tokenizer of `WordLlamaEmbedder` counts, its special tokens' spellings (`<s>`) being text."""

    def __init__(self) -> None:
        self._counts = _UnitCounts()

    def count(self, text: str) -> int:
        # The tokenizer puts a space before every text.
        return sum(map(self._counts.__getitem__, _UNIT.findall(" " + text))) if text else 0

    def reach(self, text: str, start: int, end: int, max_tokens: int) -> int:
        position, left, lead, stride = start, max_tokens, " ", _STRIDE
        while position < end:
            stop = min(end, position + stride)
            units = _UNIT.findall(lead + text[position:stop])
            if stop < end:
                units.pop()  # may go on behind `stop`
            totals = list(accumulate(map(self._counts.__getitem__, units)))
            fitting = bisect_right(totals, left)
            position += sum(map(len, units[:fitting])) - (len(lead) if fitting else 0)
            if fitting < len(units):
                return position if position > start else start + self._reach_within(units[0][len(lead) :], max_tokens)
            left, lead, stride = left - totals[-1], "", stride * 2
        return end

    def _reach_within(self, unit: str, max_tokens: int) -> int:
        """Characters of a unit that has more than `max_tokens` itself."""
        return next((size for size in range(len(unit), 0, -1) if self.count(unit[:size]) <= max_tokens), 1)


_TOKENIZER_FILE: Final = "l2_supercat_tokenizer_config.json"
_SPACE: Final = "\u2581"  # how the vocabulary writes it


@cache
def _load() -> "tuple[Model, list[str]]":
    """WordLlama's model of tokens, and their texts."""
    from tokenizers import Tokenizer  # noqa: PLC0415 — only where it is what embeds

    # Found, not imported: it would bring numpy and its weights' loader, 0.5 s and 40 MB in each child.
    package = find_spec("wordllama")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("wordllama")
    tokenizer = Tokenizer.from_file(str(Path(package.origin).parent / "tokenizers" / _TOKENIZER_FILE))
    model = tokenizer.model
    model._resize_cache(0)  # else it keeps words of documents beyond the call
    return model, [token.replace(_SPACE, " ") for token in tokenizer.get_vocab()]


def _count_unit(unit: str) -> int:
    """The model itself: a third of the time that the tokenizer around it takes, which only replaces spaces."""
    model, _ = _load()
    return len(model.tokenize(unit.replace(" ", _SPACE)))


@cache
def _own_units() -> dict[str, int]:
    """The vocabulary, counted before any document: three of four words of English stand there."""
    _, texts = _load()
    return {text: _count_unit(text) for text in texts}


_COUNTERS: Final[dict[TokenizerName, Callable[[], TokenCounter]]] = {
    "wordllama": WordLlamaCounter,
    "estimate": EstimateCounter,
}


def open_counter(name: TokenizerName) -> TokenCounter:
    return _COUNTERS[name]()


def warm_up(name: TokenizerName) -> None:
    """Load what it needs from files (some 0.3 s)."""
    open_counter(name).count("word")
