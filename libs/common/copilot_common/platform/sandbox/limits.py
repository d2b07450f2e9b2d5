"""What a child may use up, and what else its kernel holds it to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory_bytes`: address space over what the child has when it is ready. `wall_seconds`: per call, from the moment
    a child has it. `cpu_seconds`: per call, the second wall behind the first. `open_files`: beside its pipes, below
    the directories it imports from; 0 also means no sockets. `output_bytes`: of one reply, or of all parts of one.
    `threads`: whether it may start any; without seccomp it could then start processes too. `niceness`: how far it
    stands back behind other processes that want the processor (nice(2), 0 to 19); if at all, it pauses, too."""

    memory_bytes: int
    wall_seconds: float
    cpu_seconds: int
    open_files: int
    output_bytes: int
    threads: bool = False
    niceness: int = 0


@dataclass(frozen=True, slots=True)
class Lockdown:
    """What is in force in a child beside its limits and "no new privileges", without which it does not start.
    `landlock_abi` is 0 where there is no Landlock; a higher one covers more (ADR 20)."""

    seccomp: bool
    landlock_abi: int

    def __str__(self) -> str:
        seccomp = "seccomp" if self.seccomp else "no seccomp"
        return f"{seccomp}, {f'Landlock (ABI {self.landlock_abi})' if self.landlock_abi else 'no Landlock'}"
