"""Whether a question points back at what was said before it: "Does it float?", "Und wie ist das bei Hunden?".

A pronoun of one language is "is", "in" or "and" of another, and many have uses that point at nothing ("is there", "gibt
es"). So each language has its own words, and those of the language that the question seems to be in count. Where that
can't be told, all do: an earlier question too many costs less than to miss the one that says what is meant.
"""

import re
from typing import Final, NamedTuple

_WORD: Final = re.compile(r"\w+")
_LONG: Final = 1_000  # characters: what such a text points at stands in it. It bounds what the patterns cost, too


class _Language(NamedTuple):
    """`common`: words of its questions, to know it by. What is `idle` is taken out before `pointing` is looked for."""

    common: frozenset[str]
    idle: re.Pattern[str]
    pointing: re.Pattern[str]


def points_back(question: str) -> bool:
    if len(question) > _LONG:
        return False
    words = frozenset(_WORD.findall(question.casefold()))
    counts = [len(words & language.common) for language in _LANGUAGES]
    likely = [language for language, count in zip(_LANGUAGES, counts, strict=True) if count == max(counts)]
    return any(language.pointing.search(language.idle.sub(" ", question)) for language in likely)


def _language(
    common: str, *, first: str, idle: tuple[str, ...], pointing: tuple[str, ...], flags: int = re.IGNORECASE
) -> _Language:
    """`first`: words that a sentence begins with that goes on from another."""
    begun = rf"(?:^|[.?!]\s)\W{{0,3}}(?:{first})\b"
    return _Language(
        common=frozenset(common.split()),
        idle=re.compile(rf"\b(?:{'|'.join(idle)})\b", flags),
        pointing=re.compile(rf"{begun}|\b(?:{'|'.join(pointing)})\b", flags),
    )


_ENGLISH: Final = _language(
    "a about after an and any are as at be before by can could did do does for from has have how i if in is it many "
    "may more much must my not of on or our should than that the there these this to was we were what when where "
    "which who whose why will with would you your",
    first="and|but",
    idle=(
        r"(?:is|are|was|were|be|been|will|would|can|could|should|must|may|might|has|have|had)(?:n['’]t)?\s+there",
        r"there(?:['’]s|\s+(?:is|are|was|were|will|would|can|could|should|must|may|might|has|have|had))",
        r"(?-i:IT)",
        r"(?:is|was|be)\s+it\s+(?:im)?(?:possible|legal|illegal|allowed|permitted|necessary|required|mandatory|true)",
        r"it\s+(?:is|was)\s+(?:im)?(?:possible|legal|illegal|allowed|permitted|necessary|required|mandatory|true)",
        r"does\s+it\s+(?:take|cost)(?=\s[^.?!]*\bto\b)",
        r"this\s+(?:morning|afternoon|evening|week|month|quarter|season|year|century)|these\s+days",
        r"those\s+(?:who|whom|whose|that|which|with|without|of|under|over)",
        r"such\s+as",
        r"same\s+(?:time|day|week|month|year|place)|same(?=\s[^.?!]*\bas\b)",
    ),
    pointing=(
        r"it|its|this|these|those|they|them|their|theirs|he|him|his|she|her|hers|there|same|such|ones",
        # Not after an "if".
        r"(?:and|before|but|by|from|happens|since|till|until|what)\s+then|then(?=\s*(?:[.?!]|$))",
        # "That" as a pronoun. Else it is a conjunction ("decides that") or relative ("contracts that were signed").
        r"that(?=\s*(?:[.?!,;:]|$))",
        r"that\s+(?:one|case|kind|sort|type|way)",
        r"(?:is|was|do|does|did|has|had|will|would|can|could|should|may|might|must|why|how)\s+that",
        r"(?:about|after|against|at|before|by|during|for|from|in|into|like|of|on|over|since|than|to|under|until|with|without)"
        r"\s+that",
        # "One" for a thing. Else it is a number.
        r"(?:the|this|that|which|each|another|other|first|second|third|last|next|new|old|former|latter)\s+one"
        r"(?!-|\s+(?:of|hour|day|week|month|year)\b)",
    ),
)

# Case tells "sie" (she, they) from "Sie" (you), and nouns, before which "das" is "the".
_GERMAN: Final = _language(
    "ab als am an auf aus bei beim das dem den der des die durch ein eine einem einen einer er es für gibt gilt hat "
    "haben ich im in ist kann man mein mich mit muss nach nicht oder sein sich sie sind über um und uns unter viel "
    "viele vom von vor wann war warum was welche welchem welchen welcher welches wenn wer werden wie wieso wir wird "
    "wo zu zum zur",
    first="[Uu]nd|[Aa]ber",
    idle=(
        r"[Gg](?:ibt|ab|äbe)\s+es|[Ee]s\s+g(?:ibt|ab|äbe)|[Hh]andelt\s+es\s+sich",
        r"[Ii]st\s+es\s+(?:un)?(?:möglich|nötig|notwendig|erforderlich|erlaubt|verboten|zulässig|legal|strafbar|Pflicht)",
        r"[Dd]ies\w*\s+(?:Woche|Monat|Quartal|Jahr|Jahres|Jahrhundert)",
    ),
    pointing=(
        r"[Ee]r|sie|[Ee]s|[Dd]ort|[Dd]avon|(?<!, )[Dd]amit|[Dd]ies(?:e[mnrs]?)?",
        r"[Dd]asselbe|[Dd]as\s+(?:[Gg]leiche|[Ss]elbe)",
        # Not before a noun, nor an adjective and a noun, and not as a relative.
        r"(?<!, )[Dd]as(?!\s+(?:(?!(?:[dkms]?eine|ihre|unsere|alle|viele|ohne|heute)\b)[a-zäöüß]+e\s+){0,2}[A-ZÄÖÜ\d])",
    ),
    flags=0,
)

_FRENCH: Final = _language(
    "à au aux avec ce ces cette chez combien comment d dans de des du elle en est et être faut il je l la le les "
    "leur mais n ne ou où par pas peut plus pour pourquoi quand que quel quelle quelles quels qu qui quoi sans se "
    "ses si son sont sur un une",
    first="et|mais",
    idle=(
        r"il\s+(?:n['’]\s*)?y\s+(?:en\s+)?a\w*|y\s+(?:en\s+)?a\w*-t-il",
        r"faut-il|fa(?:udra|llait)(?:-t)?-il|il\s+(?:ne\s+)?fa(?:ut|udra|llait)|s['’]agit-il|existe-t-il|suffit-il",
        r"(?:est-il|il\s+est)\s+(?:im)?(?:possible|nécessaire|obligatoire|permis|autorisé|interdit|légal|illégal|vrai)",
        # After its own subject: "le locataire doit-il".
        r"(?:(?:la|les?|une?)\s+|l['’])\w+\s+(?:\w+\s+){0,4}?\w+-(?:t-)?(?:il|elle)s?",
    ),
    pointing=(
        r"ils?|elles?|ça|cela",
        # Else "en" is "in", and "y" mostly part of "il y a".
        r"[djlmnst]['’](?:en|y)|combien\s+en|en\s+(?:ai|as|a|avons|avez|ont|faut)|y\s+(?:aller|accéder|entrer|participer)",
    ),
)

_SPANISH: Final = _language(
    "a al como cómo con cuál cuáles cuando cuándo cuánta cuántas cuánto cuántos de del desde donde dónde el en "
    "entre es esta está este están hasta hay la las lo los más no o para pero por puede que qué quién se ser si sin "
    "sobre son su sus también un una y",
    first="y|pero",
    idle=(r"por\s+(?:eso|ello)|esto\s+es",),
    pointing=("eso|esto|ell[ao]s?|allí",),
)

_DANISH: Final = _language(
    "af at da de dem den der det efter eller en er et for fra få gælder han har hos hun hvad hvem hvilke hvilken "
    "hvilket hvis hvor hvordan hvorfor hvornår i ikke jeg kan man med men må når og om op over på sig skal som til "
    "ved vi vil",
    first="og|men",
    idle=(r"det\s+for\s+(?:sent|tidligt|meget|lidt|dyrt)",),
    # "Det" is "the" as well, and stands for nothing before "at".
    pointing=(
        r"dem|denne|dette|disse|deres|dertil|derfra",
        r"det(?=\s*[.?!]|\s+(?:også|samme|ikke|for|hos|ved|med)\b)",
    ),
)

_LANGUAGES: Final = (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _DANISH)
