"""The terms a text is found by, and their keyed hashes: what the database keeps of a word is what it cannot read."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, TypeVar

import Stemmer

from copilot_common.encryption import HashPurpose, TenantCipher
from copilot_common.llm.ranking import STOPWORDS, UNSPACED
from copilot_domain.context.languages import DEFAULT, LANGUAGES, detect_language

T = TypeVar("T")

TERM_BYTES: Final = 8
"""Of a hash. Two of a tenant's million terms collide with a probability of 3 in 100 million."""

_WORD: Final = re.compile(r"\w+")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")  # of getUserName, HTTPServer, max_batch_2
_IS_COMPOUND: Final = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]{2}|[A-Za-z]_+[A-Za-z0-9]")
# Words and what joins them: ERR-4021, 10.0.0.7, os.path.join, ada@example.org are found as they are written, besides by
# their words.
_JOINED: Final = re.compile(r"\w++(?:[-.:@#/+]\w++)*+")
# With the signs that code has before, between and after them: --dry-run, .NET, @property, $HOME, #42; std::vector,
# a->b; C++, C#, operator==. It is found without those around it, too, and so is every `_JOINED` in it, which is all
# that texts have that were indexed before this. No sign is what prose has as well: a period at a word's end or before
# a decimal, one dash (of a list), the question mark of `empty?`.
_TOKEN: Final = re.compile(
    r"(?:(?=[-.@#$])(?<![\w.)\]-])(?:--|[@#$]|\.(?!\d)))?+"  # looked ahead for: nearly no word has one
    r"\w++(?:(?:[-.:@#/+]|::|->)\w++)*+"
    r"(?:\+\+|#|(?<=\boperator)(?:\(\)|\[\]|[-+*/%&|^~!=<>]{1,3}))?+"
)
_UNSIGNED: Final = re.compile(r"\w.*\w")
# What only hyphens join is none: prose is full of it, and was found worse with it (docs/retrieval.md). German prose has
# two capitals in it (Software-Entwicklung), but hardly three (X-Request-Id).
_IS_IDENTIFIER: Final = re.compile(r"[^\w-]|^-|-$|-.*[0-9]|[0-9].*-|[A-Z]\w*-[A-Z]\w*-[A-Z]")
_MAX_JOINED: Final = 64  # characters: beyond it nobody types it
# Words, some 16 MB: they follow Zipf's law, nearly all have been seen before. With half the room, one in ten of a
# text's different words was forgotten when it came again: many have two spellings, one for a sentence's beginning.
_REMEMBERED: Final = 65_536
_MAX_WORD: Final = 24


def detect(texts: Iterable[str]) -> str:
    """The language that most of the texts are in, by the name of its stemmer."""
    words = chain.from_iterable(map(_WORD.findall, texts))
    return detect_language(Counter(map(str.casefold, words)))


def count_terms(text: str, language: str = DEFAULT) -> Counter[str]:
    """Stems by how often the text has them; stop words have none, in any language those of English. A compound or an
    identifier with its signs counts whole and in parts."""
    return Counter(_add_up(_count_tokens(text), _known[language]))


def _count_tokens(text: str) -> Counter[str]:
    return Counter(_TOKEN.findall(unicodedata.normalize("NFKC", text)))


def _add_up(tokens: Mapping[str, int], terms: Mapping[str, tuple[T, ...]]) -> dict[T, int]:
    """What tokens that often count as."""
    counted: dict[T, int] = {}
    for token, times in tokens.items():
        for term in terms[token]:
            counted[term] = counted.get(term, 0) + times
    return counted


class _Known(dict[str, tuple[str, ...]]):
    """The terms of words in a language. What may be more than a word (names of accounts, keys, numbers) is not
    remembered: this is beyond the reach of a tenant's key."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._language = language

    def __missing__(self, token: str) -> tuple[str, ...]:
        terms = _terms(token, self._language)
        if len(token) <= _MAX_WORD and token.isalpha():
            if sum(map(len, _known.values())) >= _REMEMBERED:
                for known in _known.values():
                    known.clear()
            self[token] = terms
        return terms


_known: Final = {language: _Known(language) for language in LANGUAGES}


def _terms(token: str, language: str) -> tuple[str, ...]:
    words = _WORD.findall(token)
    # A stemmer of its own: it must not be shared by threads. Its cache would hold the words of this token alone.
    stem = Stemmer.Stemmer(language, 0).stemWord
    # English stop words in every language, though French has gold in `or`: were they kept in some texts alone, they
    # would be rare, and decide where English questions lead (docs/retrieval.md).
    terms = [stem(part) for word in words for part in _parts(word) if part not in STOPWORDS]
    if token != words[0]:
        wholes = {token, *_UNSIGNED.findall(token), *_JOINED.findall(token)}
        short = (whole for whole in wholes if len(whole) <= _MAX_JOINED)
        terms += [whole.casefold() for whole in short if _IS_IDENTIFIER.search(whole)]
    return tuple(terms)


def query_terms(text: str, languages: Sequence[str]) -> Counter[str]:
    """Those of a question that is asked of texts in these languages: a word has a stem in each."""
    counted: Counter[str] = Counter()
    for language in languages or (DEFAULT,):
        counted |= count_terms(text, language)
    return counted


def _parts(word: str) -> list[str]:
    if _IS_COMPOUND.search(word):
        return [word.casefold(), *(part.casefold() for part in _PART.findall(word))]
    word = word.casefold()
    if word.isascii():
        return [word]
    # Scripts written without spaces: their words are not to be seen, pairs of characters serve.
    pairs = [run[index : index + 2] for run in UNSPACED.findall(word) for index in range(max(1, len(run) - 1))]
    return UNSPACED.sub(" ", word).split() + pairs


class TermHasher:
    """One tenant's term hashes. Remembers those it has made: make one for each text, not for ever."""

    def __init__(self, cipher: TenantCipher) -> None:
        key = cipher.hash_key(HashPurpose.CONTEXT_TERM)
        # A third of what HMAC costs, and there are some sixty terms in a chunk (RFC 7693, 2.9: keyed hashing).
        self._keyed = hashlib.blake2b(digest_size=TERM_BYTES, key=key)
        self._known: dict[str, int] = {}

    def __call__(self, term: str) -> int:
        """As PostgreSQL's bigint keeps it."""
        known = self._known.get(term)
        if known is None:
            keyed = self._keyed.copy()  # in half the time that another one takes
            keyed.update(term.encode())
            known = self._known[term] = int.from_bytes(keyed.digest(), "big", signed=True)
        return known

    def count(self, texts: Sequence[str], language: str) -> list[dict[int, int]]:
        """`count_terms` of each, by hash. A token that several of them have is hashed once."""
        counted = [_count_tokens(text) for text in texts]
        terms = _known[language]
        hashes = {token: tuple(map(self, terms[token])) for token in set().union(*counted)}
        return [_add_up(tokens, hashes) for tokens in counted]
