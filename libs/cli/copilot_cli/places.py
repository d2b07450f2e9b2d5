"""Where a command finds its API or its database: the environment, else the development stack of this checkout.

The two are never mixed. Whoever names a server in the environment must name its key there too: the development key is
not sent to strangers.
"""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from copilot_common.base.errors import SettingsError
from copilot_common.platform.migrate import DatabaseUrls
from copilot_common.platform.secret_files import read_secret_files

_DATABASE_VARIABLES = ("MIGRATION_DATABASE_URL", "ADMIN_DATABASE_URL", "BACKUP_DATABASE_URL", "DATABASE_URL")


@dataclass(frozen=True)
class Remote:
    """An API and the key to it. `origin` says where that was found."""

    base_url: str
    api_key: str = field(repr=False)
    origin: str


class _DevState(msgspec.Struct):
    base_url: str
    api_key: str
    database_url: str
    redis_url: str
    migration_database_url: str
    admin_database_url: str


class _DevSecrets(msgspec.Struct):
    jwt_secret: str
    encryption_key: str


@dataclass(frozen=True)
class Places:
    """What the environment and the checkout around `folder` say."""

    environ: Mapping[str, str]
    folder: Path

    @classmethod
    def here(cls) -> "Places":
        """Secrets may be in files. Raises SettingsError where one can't be read."""
        return cls(read_secret_files(os.environ), Path.cwd())

    def remote(self) -> Remote:
        """Raises SettingsError that says what to set."""
        url, key = self.environ.get("COPILOT_URL"), self.environ.get("COPILOT_API_KEY")
        if url and not key:
            raise _missing("COPILOT_API_KEY", "the key for the API that COPILOT_URL names")
        if url and key:
            return Remote(_checked_url(url), _checked_key(key), "COPILOT_URL")
        state = self._dev_state()
        if state is None:
            raise _missing("COPILOT_URL", "the API's address (and COPILOT_API_KEY), or start one: copilot up")
        return Remote(_checked_url(state.base_url), _checked_key(key or state.api_key), "the development stack")

    def settings(self) -> Mapping[str, str]:
        """The environment a service would see; where it names no database, with the development stack's in it."""
        state, folder = self._dev_state(), self._dev_folder()
        if self.names_database or state is None or folder is None:
            return self.environ
        dev_secrets = msgspec.json.decode((folder / "secrets.json").read_bytes(), type=_DevSecrets)
        return {
            **self.environ,
            "DATABASE_URL": state.database_url,
            "MIGRATION_DATABASE_URL": state.migration_database_url,
            "ADMIN_DATABASE_URL": state.admin_database_url,
            "REDIS_URL": state.redis_url,
            "JWT_SECRET": dev_secrets.jwt_secret,
            "ENCRYPTION_KEY": dev_secrets.encryption_key,
        }

    def database_urls(self) -> DatabaseUrls:
        settings = self.settings()
        return DatabaseUrls(
            migration=self.owner_url(),
            app=settings.get("DATABASE_URL") or None,
            admin=settings.get("ADMIN_DATABASE_URL") or None,
            backup=settings.get("BACKUP_DATABASE_URL") or None,
        )

    def backup_url(self) -> str:
        """As copilot_backup or, where it has no URL, as copilot_owner, who may read as much. Raises SettingsError."""
        return self.settings().get("BACKUP_DATABASE_URL") or self.owner_url()

    def admin_url(self) -> str:
        """As a superuser. Raises SettingsError."""
        url = self.settings().get("ADMIN_DATABASE_URL")
        if not url:
            hint = "PostgreSQL as a superuser: postgres://copilot:password@host:5432/copilot"
            raise _missing("ADMIN_DATABASE_URL", hint)
        return url

    def imports(self) -> Path:
        """Where it is kept how far imports are; may not be there yet."""
        given = self.environ.get("COPILOT_HOME")
        if given:
            return Path(given).expanduser() / "imports"
        state = self.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "copilot" / "imports"

    def owner_url(self) -> str:
        """As copilot_owner. Raises SettingsError."""
        url = self.settings().get("MIGRATION_DATABASE_URL")
        if not url:
            hint = "PostgreSQL as copilot_owner: postgres://copilot_owner:password@host:5432/copilot"
            raise _missing("MIGRATION_DATABASE_URL", hint)
        return url

    @property
    def names_database(self) -> bool:
        return any(self.environ.get(name) for name in _DATABASE_VARIABLES)

    @property
    def uses_development_stack(self) -> bool:
        return not self.names_database and self._dev_state() is not None

    def _dev_state(self) -> _DevState | None:
        folder = self._dev_folder()
        return msgspec.json.decode((folder / "dev.json").read_bytes(), type=_DevState) if folder else None

    def _dev_folder(self) -> Path | None:
        return next((folder for folder in self._candidates() if _is_ours(folder / "dev.json")), None)

    def _candidates(self) -> Iterator[Path]:
        given = self.environ.get("COPILOT_HOME")
        if given:
            yield Path(given).expanduser()
            return
        for folder in (self.folder, *self.folder.parents, Path(sys.prefix).parent):
            yield folder / ".copilot"


def _is_ours(path: Path) -> bool:
    """Somebody else's file in a shared folder could send our questions anywhere."""
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _checked_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise SettingsError("COPILOT_URL must begin with http:// or https://", details={"variable": "COPILOT_URL"})
    return url.rstrip("/")


def _checked_key(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise SettingsError("COPILOT_API_KEY has characters that no key has", details={"variable": "COPILOT_API_KEY"})
    return key


def _missing(name: str, meaning: str) -> SettingsError:
    return SettingsError(f"{name} is missing: {meaning}", details={"variable": name})


def encryption_key(places: Places) -> bytes:
    """ENCRYPTION_KEY, under the checks a service makes at its start. Raises SettingsError."""
    from copilot_common.platform.settings import load_settings

    given = places.settings().get("ENCRYPTION_KEY", "")
    stand_ins = {"DATABASE_URL": "postgres://-", "REDIS_URL": "redis://-", "JWT_SECRET": secrets.token_urlsafe(48)}
    return load_settings({**stand_ins, "ENCRYPTION_KEY": given}).encryption_key_bytes
