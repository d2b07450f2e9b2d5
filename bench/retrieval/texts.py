"""Texts that have what searches live by: words as rare as Zipf says, and topics, so that vectors have clusters."""

import random
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import wordllama
from tokenizers import Tokenizer

CHUNK_CHARACTERS = 1_150
"""Of a paragraph, and so of a chunk, about."""
CHUNKS = 20
"""Of a document, about."""

_WORDS = 20_000
_WORD_BEGIN = "\N{LOWER ONE EIGHTH BLOCK}"  # as SentencePiece marks it
_TOPICS = 400
_TOPIC_WORDS = 300
_TOPIC_SHARE = 0.5  # of the words of a text; the others are everybody's
_SENTENCE_WORDS = 14
_PARAGRAPH_SENTENCES = 10  # 1 150 characters: two of them are more than a chunk takes
_QUESTION_WORDS = (4, 14)  # from a few keywords to a sentence

Numbers = npt.NDArray[np.int64]


class Author:
    """The same texts for the same seeds."""

    def __init__(self) -> None:
        chance = random.Random(1)
        self._words = _vocabulary(chance)
        # What everybody says often is in no topic.
        size = len(self._words)
        self._topics = np.array([chance.sample(range(size // 20, size), _TOPIC_WORDS) for _ in range(_TOPICS)])
        self._common, self._special = _zipf(size), _zipf(_TOPIC_WORDS)

    def document(self, seed: int, characters: int) -> str:
        """Paragraphs of sentences, all on one topic."""
        chance = np.random.default_rng((1, seed))
        words = [self._words[number] for number in self._draw(chance, characters // 6)]
        sentences = []
        for first in range(0, len(words), _SENTENCE_WORDS):
            sentence = " ".join(words[first : first + _SENTENCE_WORDS])
            sentences.append(f"{sentence[0].upper()}{sentence[1:]}.")
        paragraphs = [
            " ".join(sentences[first : first + _PARAGRAPH_SENTENCES])
            for first in range(0, len(sentences), _PARAGRAPH_SENTENCES)
        ]
        return _until("\n\n".join(paragraphs), characters)

    def question(self, seed: int) -> str:
        """Words as a document on some topic has them."""
        chance = np.random.default_rng((2, seed))
        count = int(chance.integers(*_QUESTION_WORDS, endpoint=True))
        return " ".join(self._words[number] for number in self._draw(chance, count))

    def _draw(self, chance: np.random.Generator, count: int) -> Numbers:
        topic = self._topics[int(chance.integers(_TOPICS))]
        common = np.searchsorted(self._common, chance.random(count))
        special = topic[np.searchsorted(self._special, chance.random(count))]
        drawn: Numbers = np.where(chance.random(count) < _TOPIC_SHARE, special, common)
        return drawn


def _vocabulary(chance: random.Random) -> list[str]:
    """Words that WordLlama knows, the most frequent first, and then pairs of them (`windmill`), as rare words are."""
    model = Path(wordllama.__file__).parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
    tokens: dict[str, int] = Tokenizer.from_file(str(model)).get_vocab()
    known = [token[1:] for token in sorted(tokens, key=lambda token: tokens[token]) if _is_word(token)]
    pairs = {f"{chance.choice(known)}{chance.choice(known)}": None for _ in range(_WORDS - len(known))}
    return [*known, *pairs]


def _is_word(token: str) -> bool:
    word = token[1:]
    return token[0] == _WORD_BEGIN and len(word) > 2 and word.isascii() and word.isalpha() and word.islower()


def _zipf(count: int) -> npt.NDArray[np.float64]:
    """Cumulative shares of the ranks 1…count, as 1/rank."""
    sums = np.array(list(accumulate(1 / rank for rank in range(1, count + 1))))
    shares: npt.NDArray[np.float64] = sums / sums[-1]
    return shares


def _until(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    return text[: text.rfind(" ", 0, characters)]
