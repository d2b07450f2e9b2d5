"""What a child may use up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory_bytes`: address space over what the child has when it is ready. `wall_seconds`: per call, from the moment
    a child has it. `cpu_seconds`: per call, the second wall behind the first. `open_files`: beside its pipes; 0 also
    means no sockets. `output_bytes`: of one reply."""

    memory_bytes: int
    wall_seconds: float
    cpu_seconds: int
    open_files: int
    output_bytes: int
