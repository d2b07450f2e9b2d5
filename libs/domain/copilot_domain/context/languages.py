"""Which language a text is in, so that its words are reduced to their stems by its own rules.

By its function words: in any prose a fifth of all words and more are among a language's few dozen commonest, and no
two languages share many. That needs no model (a statistical one takes 120 MB) and is right for a paragraph; a few words
tell too little, and count as English.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

DEFAULT: Final = "english"

# By the names of the Snowball stemmers.
_FUNCTION_WORDS: Final = {
    "english": "the of and to in is that for it was with as be by on not this are from at which have or had",
    "german": "der die und das ist nicht zu den mit sich des auf für von dem ein eine auch als werden wird sind oder",
    "french": "le la les des et est que dans du une pour qui pas sur au par plus avec sont ce aux cette être ou",
    "spanish": "el la los de que y en las del se por un una para con no es su al lo como más pero son o",
    "portuguese": "o os da do que e em um uma para com não as dos das no na por mais se ao são como ou pela",
    "italian": "il di che la per un una sono del della è non dei con le si da gli alla nel anche più come o",
    "dutch": "de het een van en in is dat op te zijn met voor niet aan er om ook als bij worden wordt door naar",
    "swedish": "och att det som en på är av för med till den har de inte om ett han var jag men vid kan",
    "danish": "og at det er en af til på som med for den har de ikke der et han fra var om ved kan blev",
    "norwegian": "og det er en av til på som med for den har de ikke jeg et at fra var om ved kan ble etter",
    "finnish": "ja on ei että se oli hän mutta ovat kun niin myös joka tai kuin sen ole mitä siitä vain jos",
    "hungarian": "a az és hogy nem is egy ez meg volt de csak vagy már mint azt még ha el lehet kell",
    "romanian": "și de la în a cu pe care nu o un din este mai pentru că sunt ca se sau prin fost al",
    "polish": "i w na nie się z do że to jest o jak ale po od za przez dla są tym oraz czy może być",
    "czech": "a je v se na že to s z do o ve jsou jako pro by ale být po který nebo jeho také při",
    "turkish": "ve bir bu için ile da de olarak daha çok olan en gibi sonra kadar ne var ancak veya değil",
    "russian": "и в не на что с по это как из у за от но для бы или о же к так также его были",
    "greek": "και το η να του της με για που τα από την είναι στο δεν στην ή των ένα θα τον οι",
}
LANGUAGES: Final = tuple(_FUNCTION_WORDS)

_WORDS: Final = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}

_LEAST_SHARE: Final = 0.08  # of all words: what has less is a list, a table or code
_LEAST_COUNT: Final = 4


def detect_language(words: Mapping[str, int]) -> str:
    """The name of a Snowball stemmer. `words`: how often the text has each, casefolded."""
    found = Counter({language: _count(words, known) for language, known in _WORDS.items()})
    language, count = found.most_common(1)[0]
    total = sum(words.values())
    return language if count >= max(_LEAST_COUNT, _LEAST_SHARE * total) else DEFAULT


def _count(words: Mapping[str, int], known: frozenset[str]) -> int:
    return sum(words.get(word, 0) for word in known)
