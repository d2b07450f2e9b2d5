"""Bytes to text, whatever the encoding: byte order marks, then UTF-8, then what was declared, then the likeliest."""

import codecs
import re
from typing import Final

from charset_normalizer import CharsetMatch, from_bytes

from copilot_domain.documents.extracting import alphabets
from copilot_domain.documents.types import DocumentError

# UTF-32's little-endian mark begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE: Final = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# Those in which texts are still met. Others of Python's are not encodings of text, or take quadratic time.
_LEGACY: Final = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp437", "cp850",
    "cp852", "cp866", "cp874", "iso8859_2", "iso8859_5", "iso8859_6", "iso8859_7", "iso8859_9", "iso8859_15", "koi8_r",
    "koi8_u", "mac_roman", "cp932", "shift_jis", "euc_jp", "iso2022_jp", "cp949", "euc_kr", "gb18030", "gbk", "big5",
    "big5hkscs",
)  # fmt: skip
# Too rare, or too like others, to be guessed.
_RARE: Final = ("iso8859_3", "iso8859_4", "iso8859_8", "iso8859_10", "iso8859_13", "iso8859_16", "mac_cyrillic")
_DECLARABLE: Final = frozenset((*_LEGACY, *_RARE, "utf-8", "utf-16", "utf-32", *_WIDE))
# As browsers read them: nearly everything that is called Latin-1 or ASCII is Windows' superset of it.
_ALIASES: Final = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
}
# Names of the web that Python does not know.
_WEB_NAMES: Final = {
    "windows-874": "cp874",
    "iso-8859-8-i": "iso8859_8",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
}

_SAMPLE: Final = 64 * 1024  # bytes; more makes a guess slower, not better
_CONTROLS: Final = re.compile(b"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MAX_CONTROLS: Final = 0.05  # of a legacy text; random bytes have 0.11
_MAX_CONTROLS_UTF8: Final = 0.3  # valid UTF-8 is text, unless it is mostly padding
_AS_GOOD: Final = 0.02  # of 1: below it the library's measure of disorder tells encodings no more than chance does
# Words of Latin letters; what the library takes for one of these may be any.
_LATIN: Final = alphabets.ENCODINGS | {"iso8859_9", "iso8859_15", "mac_roman"}
# Letters that Hebrew has at the ends of words, amid one: Cyrillic.
_NO_HEBREW: Final = re.compile("[ךםןףץ](?=[א-ת])")
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


def declared_charset(text: str) -> str:
    """What stands after `charset=` in a media type or a piece of HTML; "" if nothing does."""
    match = _CHARSET.search(text)
    return match[1] if match else ""


def decode(data: bytes, declared: str = "") -> str:
    """Never fails on text. Raises DocumentError (UNSUPPORTED_TYPE) if the bytes are none."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    wide = _wide(data[:_SAMPLE])
    if wide:
        return data.decode(wide, "replace")
    plain = _utf_8(data)
    if plain is not None:
        return plain
    _refuse_binary(data, _MAX_CONTROLS)
    named = _named(data, declared)
    return data.decode(_likeliest(data), "replace") if named is None else named


def warm_up() -> None:
    """Has every codec loaded: each is a file of its own."""
    for encoding in _DECLARABLE:
        b"a".decode(encoding, "replace")
    for sample in ("Übergrößenträger für Äpfel und Öfen. " * 5, "Съешь ещё этих мягких французских булок. " * 5):
        for encoding in ("cp1252", "cp1251"):
            _likeliest(sample.encode(encoding, "replace"))


def _utf_8(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    _refuse_binary(data, _MAX_CONTROLS_UTF8)
    if b"\x1b$" in data or b"\x1b(" in data:  # ISO-2022-JP: ASCII with escapes
        return _strictly(data, "iso2022_jp") or text
    return text


def _named(data: bytes, declared: str) -> str | None:
    try:
        name = codecs.lookup(_WEB_NAMES.get(declared.lower(), declared)).name
    except (LookupError, ValueError):
        return None
    encoding = _ALIASES.get(name, name).replace("-", "_")
    known = encoding in _DECLARABLE or encoding.replace("_", "-") in _DECLARABLE
    return _strictly(data, encoding) if known else None


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _wide(sample: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: Latin letters, digits, spaces have zeros at the same place of every unit."""
    size = len(sample) // 4 * 4
    if size < 8 or sample.count(0, 0, size) < size // 4:
        return ""
    zeros = [sample[place:size:4].count(0) / (size // 4) for place in range(4)]
    patterns = ((0, 1, 1, 1), (1, 1, 1, 0), (0, 1, 0, 1), (1, 0, 1, 0))
    for encoding, pattern in zip(_WIDE, patterns, strict=True):
        if all(share > 0.7 if zero else share < 0.1 for share, zero in zip(zeros, pattern, strict=True)):
            return encoding
    return ""


def _refuse_binary(data: bytes, most: float) -> None:
    sample = data[:_SAMPLE]
    if sample and len(_CONTROLS.findall(sample)) > most * len(sample):
        raise DocumentError(
            "UNSUPPORTED_TYPE", "It is neither text nor a document of a supported type. Upload it in another format."
        )


def _likeliest(data: bytes) -> str:
    """Judged by the bytes around the first one that is not ASCII."""
    first = next((match.start() for match in re.finditer(b"[\x80-\xff]", data)), 0)
    begin = max(0, data.rfind(b"\n", 0, first) + 1, first - _SAMPLE // 4)
    sample = data[begin : begin + _SAMPLE]
    found = from_bytes(sample, cp_isolation=list(_LEGACY), preemptive_behaviour=False)
    matches = [match for match in found if match.encoding in _LEGACY and not _is_cyrillic_as_hebrew(match)]
    return _of_as_good(matches) if matches else "cp1252"


def _of_as_good(matches: list[CharsetMatch]) -> str:
    """The best, which comes first; but Latin letters where they make sense: of equals the library takes the first by
    name, for most of them big5 or cp1250."""
    best = matches[0]
    is_latin = best.encoding in _LATIN
    texts = {
        encoding: str(match)
        for match in matches
        if match.chaos - best.chaos < _AS_GOOD and (is_latin or best.coherence - match.coherence < _AS_GOOD)
        for encoding in alphabets.ENCODINGS.intersection(match.could_be_from_charset)
    }
    if not texts:
        return best.encoding
    encoding, strangers = alphabets.likeliest(texts)
    return encoding if best.encoding in alphabets.ENCODINGS or strangers == 0 else best.encoding


def _is_cyrillic_as_hebrew(match: CharsetMatch) -> bool:
    return match.encoding == "cp1255" and _NO_HEBREW.search(str(match)) is not None
