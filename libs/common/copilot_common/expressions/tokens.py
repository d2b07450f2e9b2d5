"""The words of an expression, as far as `references` needs them. Linear time, no evaluation.

Strings and ends of tags are found exactly as the languages' own lexers find them (CEL.g4; jinja2/lexer.py): whoever
reads one string further than they do would miss what stands behind it. What they would refuse is None here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

# Possessive: no way back into what was read, so no quadratic time.
_JINJA_TOKEN: Final = re.compile(
    r"""(?P<space>\s++)
    |(?P<string>'(?P<single>(?:[^'\\]|\\.)*+)'|"(?P<double>(?:[^"\\]|\\.)*+)")
    |(?P<open>['"])
    |(?P<name>\w++)
    |(?P<other>.)""",
    re.X | re.S,
)
_CEL_TOKEN: Final = re.compile(
    r'''(?P<space>\s++|//[^\n]*+)
    |(?P<string>[bB]?[rR](?:"""(?P<a>(?:(?!""").)*+)"""|\'\'\'(?P<b>(?:(?!\'\'\').)*+)\'\'\'
                           |(?!"""|\'\'\')(?:"(?P<c>[^"\n\r]*+)"|'(?P<d>[^'\n\r]*+)'))
               |[bB]?(?:"""(?P<e>(?:(?!""")[^\\]|\\.)*+)"""|\'\'\'(?P<f>(?:(?!\'\'\')[^\\]|\\.)*+)\'\'\'
                       |(?!"""|\'\'\')(?:"(?P<g>(?:[^"\\\n\r]|\\.)*+)"|'(?P<h>(?:[^'\\\n\r]|\\.)*+)')))
    |(?P<open>[bB]?[rR]?["'`])
    |(?P<name>\w++)
    |(?P<other>.)''',
    re.X | re.S,
)
_TAG: Final = re.compile(r"\{\{|\{%|\{\#")
_RAW: Final = re.compile(r"\{%[-+]?\s*+raw\s*+-?%\}")
_END_RAW: Final = re.compile(r"\{%[-+]?\s*+endraw\s*+[-+]?%\}")
_ENDS: Final = {"{{": "}}", "{%": "%}"}
_DEPTH: Final = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


class Kind(Enum):
    NAME = auto()  # also a number
    STRING = auto()  # `text` is its content
    COMPUTED = auto()  # a string with escapes: its content is not worked out
    OTHER = auto()  # one character
    END = auto()  # of a tag: what stands before and behind do not belong together


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str


END: Final = Token(Kind.END, "")


def of_cel(source: str) -> list[Token] | None:
    """None where it can't be an expression."""
    tokens: list[Token] = []
    for match in _CEL_TOKEN.finditer(source):
        if match.lastgroup == "open":
            return None
        tokens.extend(_token(match))
    return tokens


def of_template(source: str) -> list[Token] | None:
    """What stands in its tags; None where it can't be a template."""
    tokens: list[Token] = []
    position = 0
    while (tag := _TAG.search(source, position)) is not None:
        end = _end_of_tag(source, tag, tokens)
        if end is None:
            return None
        position = end
    return tokens


def _end_of_tag(source: str, tag: re.Match[str], tokens: list[Token]) -> int | None:
    if tag[0] == "{#":
        return _behind("#}", source, tag.end())
    if (raw := _RAW.match(source, tag.start())) is not None:
        end = _END_RAW.search(source, raw.end())
        return end.end() if end else None
    return _read_tag(source, tag, tokens)


def _read_tag(source: str, tag: re.Match[str], tokens: list[Token]) -> int | None:
    """Adds its tokens; where it ends. Inside of brackets `}}` and `%}` are no ends."""
    position, depth, end = tag.end(), 0, _ENDS[tag[0]]
    while depth or not source.startswith(end, position):
        match = _JINJA_TOKEN.match(source, position)
        if match is None or match.lastgroup == "open":
            return None
        tokens.extend(_token(match))
        depth += _DEPTH.get(match[0], 0)
        position = match.end()
    tokens.append(END)
    return position + len(end)


def _token(match: re.Match[str]) -> Iterator[Token]:
    if match["string"] is not None:
        content = next(text for name, text in match.groupdict().items() if text is not None and name != "string")
        yield Token(Kind.COMPUTED if "\\" in content else Kind.STRING, content)
    elif match["name"] is not None:
        yield Token(Kind.NAME, match["name"])
    elif match["other"] is not None:
        yield Token(Kind.OTHER, match["other"])


def _behind(end: str, source: str, position: int) -> int | None:
    found = source.find(end, position)
    return found + len(end) if found >= 0 else None
