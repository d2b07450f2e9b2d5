"""Whether the settings would let a service start: every fault, not only the first."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from copilot_cli.checks.report import Check, fail, ok
from copilot_common.base.errors import SettingsError
from copilot_common.platform.settings import Settings, load_settings


@dataclass(frozen=True)
class Examined:
    """`settings` has a stand-in for each faulty variable; `faulty` names them."""

    checks: list[Check]
    settings: Settings | None
    faulty: frozenset[str]


def examine_settings(environ: Mapping[str, str], *, origin: str) -> Examined:
    """Loads, notes the fault, puts a stand-in in its place, loads again."""
    stand_ins = _stand_ins()
    patched, checks, faulty = dict(environ), list[Check](), set[str]()
    settings: Settings | None = None
    while settings is None:
        try:
            settings = load_settings(patched)
        except SettingsError as error:
            name = str(error.details.get("variable", ""))
            checks.append(fail("settings", error.message, f"Set {name} in the environment of every service."))
            if name in faulty or not name:
                break  # no stand-in helps
            faulty.add(name)
            patched[name] = stand_ins.get(name, "")
    if not checks:
        given = sum(1 for field in msgspec.structs.fields(Settings) if environ.get(field.encode_name))
        checks.append(ok("settings", f"{given} set and valid, from {origin}"))
    return Examined(checks, settings, frozenset(faulty))


def _stand_ins() -> dict[str, str]:
    return {
        "DATABASE_URL": "postgres://-",
        "REDIS_URL": "redis://-",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": secrets.token_hex(32),
    }
