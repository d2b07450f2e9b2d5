"""Encodings of Latin letters told apart: read in the wrong one, a text has letters that no single language has.

Statistics of letters can't do it: the encodings differ in few of them, and the frequent ones are the same in all.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

_CENTRAL: Final = (
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýž",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "ăâîşţ",  # Romanian
    "ćčđšž",  # Croatian, Slovene
)
# Small letters beyond ASCII, of one language a line. The first encoding is taken where a text makes sense in several.
_ALPHABETS: Final = {
    "cp1252": (
        "äöüßé",  # German
        "àâæçéèêëîïôœùûüÿ",  # French
        "áéíñóúü",  # Spanish
        "áâãàçéêíóôõúü",  # Portuguese
        "àèéìíòóùú",  # Italian
        "àçéèíïóòúü",  # Catalan
        "áäèéêëíïóöôúü",  # Dutch
        "åäöéü",  # Swedish, Finnish
        "æøåéèêóòâôäöü",  # Danish, Norwegian
        "áéíóúýþæöð",  # Icelandic
        "äöõüšž",  # Estonian
    ),
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1254": ("çğıöşü",),  # Turkish, but for the â of few words
    "cp1257": (
        "ąčęėįšųūž",  # Lithuanian
        "āčēģīķļņšūž",  # Latvian
    ),
    "cp1258": ("àáâăđèéêìíîòóôơùúưý",),  # Vietnamese; its tones are characters of their own
}
ENCODINGS: Final = frozenset(_ALPHABETS)
_COMMONEST: Final = "cp1252"

# Signs count where no text has them: amid a word, as Polish has them that is read as cp1252.
_ODD: Final = re.compile(r"[^\W\d_a-zA-Zµªº]|(?<=[^\W\d_])[\xa1-\xb6\xb8-\xbf˘ˇ˙˛˝](?=[^\W\d_])")


def likeliest(texts: Mapping[str, str]) -> tuple[str, int]:
    """Of what the same bytes are in each of some ENCODINGS: the encoding with the fewest letters that are strange to
    the language which explains most of them, and their number."""
    strangers = {name: _strangers(texts[name], _ALPHABETS[name]) for name in _ALPHABETS if name in texts}
    # Names of many languages in one text are strange in each: there the commonest encoding is likelier than chance.
    best = min(strangers, key=lambda name: strangers[name] if name == _COMMONEST else 2 * strangers[name])
    return best, strangers[best]


def _strangers(text: str, alphabets: tuple[str, ...]) -> int:
    letters = Counter(_ODD.findall(text.lower()))
    return min(sum(count for letter, count in letters.items() if letter not in alphabet) for alphabet in alphabets)
