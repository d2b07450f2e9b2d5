"""What a file says it is, before anybody has looked inside."""

import re
import unicodedata

from copilot_common.base.errors import CopilotError

MAX_NAME_CHARACTERS = 300

_PATH = re.compile(r".*[/\\]", re.DOTALL)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}$")

_HOPELESS_SUFFIXES = frozenset(
    {
        ".avi", ".bmp", ".flac", ".gif", ".heic", ".ico", ".jpeg", ".jpg", ".m4a", ".mkv", ".mov", ".mp3", ".mp4",
        ".ogg", ".png", ".tif", ".tiff", ".wav", ".webm", ".webp", ".apk", ".bin", ".class", ".deb", ".dll", ".dmg",
        ".dylib", ".exe", ".img", ".iso", ".jar", ".msi", ".o", ".pyc", ".rpm", ".so", ".wasm",
    }
)  # fmt: skip
_HOPELESS_TYPES = re.compile(
    r"(image|video|audio|font)/.*"
    r"|application/(x-msdownload|x-executable|x-elf|x-sharedlib|x-mach-binary|x-dosexec|java-archive|wasm"
    r"|vnd\.microsoft\.portable-executable|vnd\.android\.package-archive)"
)
_MISDECLARED = frozenset({".ts", ".mts", ".svg"})
"""TypeScript, which browsers call MPEG video, and drawings that are XML: their names count, not their types."""


def clean_file_name(given: str) -> str:
    """Without folders and control characters, spaces as spaces, accents composed; empty where nothing is left."""
    name = _PATH.sub("", unicodedata.normalize("NFC", given))
    kept = (" " if char.isspace() else char for char in name if char.isprintable() or char.isspace())
    cleaned = " ".join("".join(kept).split())
    return "" if cleaned in {".", ".."} else cleaned


def refuse_hopeless(name: str, media_type: str, *, which: str) -> None:
    """Raises UNSUPPORTED_MEDIA_TYPE for what surely holds no text that we could read; `which` file it is."""
    suffix = suffix_of(name)
    is_declared = bool(_HOPELESS_TYPES.fullmatch(media_type)) and suffix not in _MISDECLARED
    if suffix in _HOPELESS_SUFFIXES or is_declared:
        error = CopilotError(
            "Pictures, sound, video and programs cannot be read; send documents, texts or source code.",
            details={"file": which},
        )
        error.code = "UNSUPPORTED_MEDIA_TYPE"
        raise error


def suffix_of(name: str) -> str:
    """With its dot, in small letters; empty where there is none."""
    found = _SUFFIX.search(name)
    return found[0].lower() if found else ""
