"""WordLlama's tokens, without its weights: for what embeds and for what cuts texts to its measure.

A text is tokenized unit by unit, roughly word by word, and units recur: a third of the time the tokenizer takes for the
whole text, and less the longer texts are.
"""

import re
from array import array
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenizers.models import Model

_LATIN: Final = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
# No token of this tokenizer goes past these borders: none has a space behind another character, none a line break, none
# two characters from U+2E80 on (CJK and what comes after), none a Latin letter beside what is none. So a text has the
# tokens of its units. A longer word than 64 characters may have some tokens more than by the tokenizer; so may a longer
# run of spaces than 16.
_UNIT: Final = re.compile(
    rf" {{0,16}}+(?:[{_LATIN}]{{1,64}}+|[^ \n{_LATIN}\u2e80-\U0010ffff]{{1,64}}+|[\n\u2e80-\U0010ffff])| {{1,16}}"
)

TOKEN_BYTES: Final = 2
"""There are 32 000 tokens."""

_TOKENIZER_FILE: Final = "l2_supercat_tokenizer_config.json"
# Words, some 16 MB: the vocabulary's own 32 000, and as many of others. They follow Zipf's law, but with half the room
# one in twenty was forgotten when it came again.
_REMEMBERED: Final = 65_536
_MAX_WORD: Final = 24
_SPACE: Final = "\u2581"  # how the vocabulary writes it


def package_folder() -> Path:
    """Where its files are. Found, not imported: importing brings numpy and a loader of weights, 0.5 s and 40 MB."""
    package = find_spec("wordllama")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("wordllama")
    return Path(package.origin).parent


def split(text: str) -> list[str]:
    """Its units, which together are as long as it is. The tokenizer puts a space before every text: a caller's part."""
    # In the vocabulary's eyes the sign is a space, so none ends where one follows it.
    return _UNIT.findall(text.replace(_SPACE, " "))


def tokenize(text: str) -> bytes:
    """Unit by unit. A token is a number of TOKEN_BYTES, in the machine's order: a list of them takes four times as long
    to make."""
    return b"".join(map(_known.__getitem__, split(" " + text))) if text else b""


class _Known(dict[str, bytes]):
    """The tokens of words. What may be more than a word (names of accounts, keys, numbers) is not remembered: this is
    beyond the reach of a tenant's key."""

    def __missing__(self, unit: str) -> bytes:
        own = own_units().get(unit)
        tokens = tokenize_unit(unit) if own is None else own
        if own is not None or (len(unit) <= _MAX_WORD and unit.lstrip(" ").isalpha()):
            if len(self) >= _REMEMBERED:
                self.clear()
            self[unit] = tokens
        return tokens


_known: Final = _Known()


def tokenize_unit(unit: str) -> bytes:
    """By the model itself: a third of the time that the tokenizer around it takes, which only replaces spaces."""
    model, _ = _load()
    return array("H", [token.id for token in model.tokenize(unit.replace(" ", _SPACE))]).tobytes()


@cache
def own_units() -> dict[str, bytes]:
    """The vocabulary, tokenized before any text (0.3 s): three of four words of English stand there."""
    _, texts = _load()
    return {text: tokenize_unit(text) for text in texts}


@cache
def _load() -> "tuple[Model, list[str]]":
    from tokenizers import Tokenizer  # noqa: PLC0415 — only where it is what embeds

    tokenizer = Tokenizer.from_file(str(package_folder() / "tokenizers" / _TOKENIZER_FILE))
    model = tokenizer.model
    model._resize_cache(0)  # else it keeps words of documents beyond the call
    return model, [token.replace(_SPACE, " ") for token in tokenizer.get_vocab()]
