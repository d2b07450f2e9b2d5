"""Bytes that somebody uploaded, on their way to somebody else's browser: to be kept as a file, never to be shown."""

from urllib.parse import quote

_HARMLESS = frozenset(
    {
        "application/json", "application/pdf", "application/zip",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)  # fmt: skip
"""What no browser runs, even where it shows it. Texts are not among them: their encoding would have to be known."""


def attachment_headers(name: str, size_bytes: int) -> dict[str, str]:
    return {
        "Content-Length": str(size_bytes),
        "Content-Disposition": content_disposition(name),
        # For a browser that shows it all the same: no scripts, no forms, an origin of its own.
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def content_disposition(name: str) -> str:
    """RFC 6266: the name in ASCII for old clients, and as it is. `name` has no control characters."""
    plain = "".join(char if char.isascii() and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def safe_media_type(declared: str | None) -> str:
    return declared if declared in _HARMLESS else "application/octet-stream"
