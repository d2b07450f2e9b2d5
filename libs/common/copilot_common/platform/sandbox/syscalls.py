"""Numbers of system calls: what a child may not make. Runs in the child.

The numbers are the kernel's promise and never change (`asm/unistd_64.h`, `asm-generic/unistd.h`).
"""

from dataclasses import dataclass
from typing import Final

# Linux 6.1's last, up to which the tables below have been gone through. Every C library does without what is newer.
LAST_KNOWN: Final = 450

_REFUSED: Final[dict[str, tuple[int, int | None]]] = {  # on x86_64, on aarch64
    # Network
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # Other processes, and becoming one
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Memory shared with others of the same user
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # Files changed without being opened
    "creat": (85, None),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    # The same; Landlock has no right for these
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # Namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # Large, or old, parts of the kernel that nothing here needs
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "memfd_secret": (447, 447),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # For root alone
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """`audit`: what the kernel calls it. `unknown`: what can't be looked into, for its arguments are behind a pointer.
    `signals`: those whose first argument is a process. `opens`: with the position of their flags."""

    audit: int
    seccomp: int
    refused: tuple[int, ...]
    unknown: tuple[int, ...]
    signals: tuple[int, ...]
    clone: int
    prlimit: int
    opens: tuple[tuple[int, int], ...]


_CLONE3: Final = 435
_OPENAT2: Final = 437

ARCHITECTURES: Final = {
    "x86_64": Architecture(
        audit=0xC000003E,
        seccomp=317,
        refused=tuple(number for number, _ in _REFUSED.values()),
        unknown=(_CLONE3, _OPENAT2),
        signals=(62, 234),  # kill, tgkill
        clone=56,
        prlimit=302,
        opens=((2, 1), (257, 2)),  # open, openat
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        seccomp=277,
        refused=tuple(number for _, number in _REFUSED.values() if number is not None),
        unknown=(_CLONE3, _OPENAT2),
        signals=(129, 131),
        clone=220,
        prlimit=261,
        opens=((56, 2),),
    ),
}
