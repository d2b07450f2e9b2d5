"""How far a process stands back behind others, and whether this account may say so."""

import os


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def may_be_changed(pid: int) -> bool:
    """PostgreSQL may have another account."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, niceness(pid))
    except PermissionError:
        return False
    return True
