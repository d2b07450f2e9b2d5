"""Dockerfiles as stages of instructions, and what a build is sent of the repository."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from string import Template

from docker.utils import exclude_paths
from dockerfile_parse import DockerfileParser

REPOSITORY = Path(__file__).parents[2]
SERVICES = ("api", "workflow_engine", "context_service")


@dataclass(frozen=True)
class Image:
    """`target` is the stage's name and, in the registry, the image's."""

    service: str
    target: str

    @property
    def path(self) -> Path:
        return REPOSITORY / "services" / self.service / "Dockerfile"

    @property
    def stages(self) -> list["Stage"]:
        """Those that its build needs, in order; the last is the image."""
        return list(_needed(_stages(self.path), self.target))

    @property
    def instructions(self) -> list["Instruction"]:
        """All that make the image itself, from what it is pulled from on: not those of stages that are left behind."""
        return [
            instruction for stage in _lineage(_stages(self.path), self.target) for instruction in stage.instructions
        ]

    def last(self, kind: str) -> str:
        """Its value: of what is said several times, the last counts."""
        return [instruction.value for instruction in self.instructions if instruction.kind == kind][-1]

    @property
    def command(self) -> list[str]:
        """CMD's words; raises where it is not JSON, which would put a shell before the process."""
        return [str(word) for word in json.loads(self.last("CMD"))]

    @property
    def health_check(self) -> str | None:
        """What a shell is to run; None for an image without."""
        return self.last("HEALTHCHECK").partition("CMD ")[2] or None


IMAGES = (
    Image("api", "api-server"),
    Image("workflow_engine", "workflow-engine"),
    Image("context_service", "context-service"),
    Image("api", "tools"),
)


@dataclass(frozen=True)
class Instruction:
    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(self.value.split())}"

    @property
    def pairs(self) -> dict[str, str]:
        """Of ENV, LABEL, ARG: names and values."""
        return dict(part.partition("=")[::2] for part in shlex.split(self.value))

    @property
    def words(self) -> list[str]:
        """Without flags (`--from=…`)."""
        return [word for word in self.value.split() if not word.startswith("--")]

    def flag(self, name: str) -> str | None:
        return next((word.partition("=")[2] for word in self.value.split() if word.startswith(f"--{name}=")), None)


@dataclass(frozen=True)
class Stage:
    """`base` is another stage's name, or an image that is pulled."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    @property
    def sources(self) -> set[str]:
        """Stages that it copies from."""
        return {name for instruction in self.instructions if (name := instruction.flag("from"))}


@cache
def sent_to_builds() -> frozenset[str]:
    """Files and folders, relative to the repository, that .dockerignore lets through: Docker's library reads it."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    return frozenset(exclude_paths(REPOSITORY, [line for line in lines if line and not line.startswith("#")]))


def expand(text: str, values: Mapping[str, str]) -> str:
    return Template(text).safe_substitute(values)


@cache
def instructions_of(path: Path) -> tuple[Instruction, ...]:
    structure = DockerfileParser(fileobj=BytesIO(path.read_bytes())).structure
    return tuple(Instruction(row["instruction"], row["value"]) for row in structure if row["instruction"] != "COMMENT")


def _stages(path: Path) -> dict[str, Stage]:
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    name, base, within = "", "", list[Instruction]()
    for instruction in instructions_of(path):
        if instruction.kind == "FROM":
            if name:
                stages[name] = Stage(name, base, tuple(within))
            base, _, name = instruction.words
            base, within = expand(base, arguments), []
        elif name:
            within.append(instruction)
        else:
            arguments |= instruction.pairs  # before the first FROM stands nothing but ARG
    return stages | {name: Stage(name, base, tuple(within))}


def _needed(stages: dict[str, Stage], name: str) -> Iterator[Stage]:
    seen = set[str]()

    def walk(name: str) -> Iterator[Stage]:
        if name in stages and name not in seen:
            seen.add(name)
            stage = stages[name]
            for source in (stage.base, *sorted(stage.sources)):
                yield from walk(source)
            yield stage

    return walk(name)


def _lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    stage = stages.get(name)
    return [*_lineage(stages, stage.base), stage] if stage else []
