"""What a stack remembers: its secrets, made once, and `dev.json`, which tells programs how to reach it."""

import secrets

import msgspec

from copilot_devstack.accounts import noted_data_folder
from copilot_devstack.errors import StackError
from copilot_devstack.files import read_if_there, write_private
from copilot_devstack.home import Home


class Secrets(msgspec.Struct, kw_only=True):
    """`api_key` is the first tenant's, kept because it is shown only once."""

    jwt_secret: str
    encryption_key: str
    postgres_password: str
    owner_password: str
    app_password: str
    admin_password: str
    api_key: str | None = None


class DevState(msgspec.Struct, kw_only=True):
    """The wire contract's `dev.json`. `pids` are the serving processes; a service that does not exist is left out."""

    base_url: str
    api_key: str
    admin_email: str
    admin_password: str
    database_url: str
    redis_url: str
    pids: dict[str, int]
    ports: dict[str, int]
    migration_database_url: str
    admin_database_url: str


def load_secrets(home: Home) -> Secrets:
    """Made at the first call. Raises StackError when they are gone but the data they belong to is not."""
    data = read_if_there(home.secrets_json)
    if data is not None:
        return msgspec.json.decode(data, type=Secrets)
    if ((noted_data_folder(home.path) or home.path) / "postgres" / "data").exists():
        raise StackError(
            f"{home.secrets_json} is gone, and its data cannot be read without it. To start afresh: copilot reset"
        )
    made = Secrets(
        jwt_secret=secrets.token_urlsafe(48),
        encryption_key=secrets.token_hex(32),
        postgres_password=secrets.token_urlsafe(24),
        owner_password=secrets.token_urlsafe(24),
        app_password=secrets.token_urlsafe(24),
        admin_password=secrets.token_urlsafe(18),
    )
    save_secrets(home, made)
    return made


def save_secrets(home: Home, values: Secrets) -> None:
    write_private(home.secrets_json, msgspec.json.format(msgspec.json.encode(values)))


def save_dev_state(home: Home, state: DevState) -> None:
    write_private(home.dev_json, msgspec.json.format(msgspec.json.encode(state)))


def load_dev_state(home: Home) -> DevState | None:
    """None while the stack is down."""
    data = read_if_there(home.dev_json)
    return msgspec.json.decode(data, type=DevState) if data is not None else None
