"""What names look like: slugs, e-mail addresses, usernames, display names. Each check returns the stored form."""

import re

from copilot_common.base.errors import InvalidInput

MAX_NAME_CHARACTERS = 300
_MAX_EMAIL_CHARACTERS = 254  # RFC 5321: a path of 256 with its angle brackets
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)  # a DNS label, so that it may become a host name
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}[a-z0-9]", re.ASCII)
# HTML's own pattern: the mailbox decides. ASCII only, because Python and PostgreSQL lower other letters differently.
_EMAIL = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9-]{1,63})*", re.ASCII
)


def check_slug(slug: str, *, field: str = "slug") -> str:
    if not _SLUG.fullmatch(slug):
        raise InvalidInput({field: "must be 1 to 63 of a-z, 0-9 and hyphen, with no hyphen at its ends"})
    return slug


def check_email(email: str, *, field: str = "email") -> str:
    email = email.strip().lower()
    if len(email) > _MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(email):
        raise InvalidInput({field: "must be an e-mail address"})
    return email


def check_username(username: str, *, field: str = "username") -> str:
    """Has no @, so a username never looks like somebody's e-mail at log-in."""
    username = username.strip().lower()
    if not _USERNAME.fullmatch(username):
        raise InvalidInput({field: "must be 3 to 64 of a-z, 0-9, dot, underscore and hyphen"})
    return username


def check_name(name: str, *, field: str = "name") -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise InvalidInput({field: f"must have 1 to {MAX_NAME_CHARACTERS} characters"})
    if not name.isprintable():
        raise InvalidInput({field: "must not contain control characters"})
    return name
