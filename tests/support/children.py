"""The sandboxed children of this process: tests beside have children of their own."""

from contextlib import suppress

import psutil


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any("copilot_common.platform.sandbox" in part for part in child.cmdline()):
                found.append(child)
    return found
