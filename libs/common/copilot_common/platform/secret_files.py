"""Secrets from files: `NAME_FILE` names the file that holds NAME, as Docker and Swarm mount secrets below /run/secrets.

Only what is secret may come so: variables of that form exist for other purposes. A fault ends the process with one
line that names the variable; neither the file's content nor its path is shown: the path may be the secret itself, put
there by mistake.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from copilot_common.base.errors import SettingsError

OF_SERVICES = frozenset(
    {
        "DATABASE_URL",
        "DATABASE_REPLICA_URL",
        "REDIS_URL",
        "JWT_SECRET",
        "ENCRYPTION_KEY",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "GOOGLE_API_KEY",
        "EMBEDDING_API_KEY",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "RERANK_API_KEY",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
    }
)
OF_OPERATORS = frozenset(
    {"ADMIN_DATABASE_URL", "MIGRATION_DATABASE_URL", "BACKUP_DATABASE_URL", "COPILOT_PASSWORD", "COPILOT_API_KEY"}
)
"""Of the command line alone."""

_MAX_BYTES = 16 * 1024  # the longest secret is a URL or a key of some hundred; a wrong path may lead to anything


def read_secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ`, with the files' contents under the secrets' own names; line ends after them are dropped.

    An empty variable counts as unset. Raises SettingsError.
    """
    found = dict(environ)
    for name in OF_SERVICES | OF_OPERATORS:
        path = found.pop(f"{name}_FILE", "")
        if not path:
            continue
        if found.get(name):
            raise _fault(name, f"and {name} are both set: keep one of them")
        found[name] = _read(name, path)
    return found


def _read(name: str, path: str) -> str:
    try:
        if not Path(path).is_file():  # a pipe would let us wait for its writer
            raise _fault(name, "names a file that is not there")
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError:
        raise _fault(name, f"names a file that this user ({os.geteuid()}) can't read") from None
    return _text(name, content)


def _text(name: str, content: bytes) -> str:
    if len(content) > _MAX_BYTES:
        raise _fault(name, f"names a file of more than {_MAX_BYTES} bytes, which can't be a secret")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _fault(name, "names a file that is not text") from None
    if "\0" in text:
        raise _fault(name, "names a file that is not text")
    if not text:
        raise _fault(name, "names an empty file")
    return text


def _fault(name: str, problem: str) -> SettingsError:
    return SettingsError(f"{name}_FILE {problem}", details={"variable": f"{name}_FILE"})
