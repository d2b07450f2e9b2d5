"""What counts tokens: as the embedder's tokenizer does, or by estimate."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Final, Protocol

from copilot_common.base import wordllama
from copilot_common.base.tokens import BYTES_PER_TOKEN, estimate_tokens
from copilot_domain.documents.chunking.rules import TokenizerName


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


# Memory: some 8 MB. Words follow Zipf's law: those that come after 50 000 others are rare.
_REMEMBERED_UNITS: Final = 50_000
# Characters of a text at first, then twice as many each time: a token is one of Chinese, four of English. Larger than
# the largest unit.
_STRIDE: Final = 256


class _UnitCounts(dict[str, int]):
    """Of each unit, by tokenizing it once: a third of the time that the whole text takes."""

    def __missing__(self, unit: str) -> int:
        known = wordllama.own_units().get(unit)
        tokens = len(wordllama.tokenize_unit(unit) if known is None else known) // wordllama.TOKEN_BYTES
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
        return sum(map(self._counts.__getitem__, wordllama.split(" " + text))) if text else 0

    def reach(self, text: str, start: int, end: int, max_tokens: int) -> int:
        position, left, lead, stride = start, max_tokens, " ", _STRIDE
        while position < end:
            stop = min(end, position + stride)
            units = wordllama.split(lead + text[position:stop])
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


_COUNTERS: Final[dict[TokenizerName, Callable[[], TokenCounter]]] = {
    "wordllama": WordLlamaCounter,
    "estimate": EstimateCounter,
}


def open_counter(name: TokenizerName) -> TokenCounter:
    return _COUNTERS[name]()


def warm_up(name: TokenizerName) -> None:
    """Load what it needs from files (some 0.3 s)."""
    open_counter(name).count("word")
