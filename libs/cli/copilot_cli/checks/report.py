"""One line of the doctor's report."""

from typing import Literal

import msgspec

Status = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True):
    """`advice` says what to do; it is empty where all is well. Nothing here ever holds a setting's value."""

    name: str
    status: Status
    finding: str
    advice: str = ""


def ok(name: str, finding: str) -> Check:
    return Check(name, "ok", finding)


def warn(name: str, finding: str, advice: str) -> Check:
    return Check(name, "warn", finding, advice)


def fail(name: str, finding: str, advice: str) -> Check:
    return Check(name, "fail", finding, advice)
