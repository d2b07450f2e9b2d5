"""Builds images without Docker: a folder stands for each stage's root, and what an instruction says is done in it.

All stages are made at one path, as in Docker all are made at /, and then put aside: what they hold may know its path.
A command runs in the shell, with the stage's own environment; absolute paths in it are those of the folder. The
machine's programs can be seen behind the stage's, and so can what downloads have left in pip's and uv's caches.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.dockerfiles import REPOSITORY, Image, Instruction, Stage, expand, sent_to_builds

_COMPILE = "ENV UV_COMPILE_BYTECODE=1"
NOT_EXECUTED = {
    "FROM": "nothing is pulled; a virtual environment of this Python, with pip, stands for it",
    "RUN apt-get": "would install packages of Debian on this machine",
    "RUN useradd": "would make an account on this machine",
    "EXPOSE": "is a note for people",
    _COMPILE: "takes 16 s for the providers' SDKs, and makes starts faster, nothing else",
}
"""Kinds of instructions that are left out, and why. Bytecode is, where that is asked for."""

_PATH = "/usr/local/bin:/usr/bin:/bin"  # of python:3.11-slim, as far as it matters
_BEGINS_PATH = re.compile(r"(?<![\w/.:])/(?=\w)")
_REGISTRY_VARIABLES = ("PIP_", "UV_", "SSL_")  # how this machine reaches the package index
_SECONDS = 300.0  # of one command: downloads, on a machine without a cache


@dataclass
class Root:
    """A stage's file system, and what an image says of itself."""

    path: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    folder: str = "/"
    arguments: dict[str, str] = field(default_factory=dict)
    not_executed: list[tuple[str, str]] = field(default_factory=list)

    def at(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.path / os.path.join(self.folder, path).lstrip("/")

    @property
    def machine_environ(self) -> dict[str, str]:
        """The image's, with paths of this machine; its programs come before the machine's."""
        values = {name: self._translated(value) for name, value in self.environ.items()}
        return values | {"PATH": f"{values['PATH']}:{os.defpath}", "TMPDIR": str(self.path / "tmp")}

    def command(self, text: str) -> str:
        return _BEGINS_PATH.sub(f"{self.path}/", text)

    def _translated(self, value: str) -> str:
        return ":".join(f"{self.path}{part}" if part.startswith("/") else part for part in value.split(":"))


class Builder:
    """Stages that are the same in several Dockerfiles are made once, as Docker's cache has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "root"
        self._pulled: Path | None = None
        self._done: dict[tuple[Stage, tuple[Path, ...], bool], Root] = {}

    def build(self, image: Image, *, bytecode: bool = True) -> Root:
        """The image, at its place; the one built before it is gone from there."""
        *before, last = image.stages
        made: dict[str, Root] = {}
        for stage in before:
            stands_on = tuple(made[name].path for name in (stage.base, *sorted(stage.sources)) if name in made)
            key = (stage, stands_on, bytecode or _COMPILE not in map(str, stage.instructions))
            if key not in self._done:
                root = self._make(stage, made, bytecode)
                aside = self._path.rename(self._folder / f"stage-{len(self._done)}")
                self._done[key] = replace(root, path=aside)
            made[stage.name] = self._done[key]
        root = self._make(last, made, bytecode)
        left_out = dict.fromkeys(one for stage_root in (*made.values(), root) for one in stage_root.not_executed)
        return replace(root, not_executed=list(left_out))

    def _make(self, stage: Stage, made: dict[str, Root], bytecode: bool) -> Root:
        root = self._from(stage.base, made)
        for instruction in stage.instructions:
            kind = _left_out(instruction)
            if kind and not (kind == _COMPILE and bytecode):
                root.not_executed.append((kind, str(instruction)))
            else:
                _do(instruction, root, made)
        return root

    def _from(self, base: str, made: dict[str, Root]) -> Root:
        root = made.get(base)
        _copy(root.path if root else self._python(), self._clear())
        if root:
            return replace(root, path=self._path, environ=dict(root.environ), not_executed=list(root.not_executed))
        return Root(self._path, not_executed=[("FROM", f"FROM {base}")])

    def _python(self) -> Path:
        """What stands for the image of Python."""
        if self._pulled is None:
            self._clear()
            (self._path / "tmp").mkdir(parents=True)
            subprocess.run([sys.executable, "-m", "venv", self._path / "usr/local"], check=True, timeout=_SECONDS)
            self._pulled = self._path.rename(self._folder / "pulled")
        return self._pulled

    def _clear(self) -> Path:
        shutil.rmtree(self._path, ignore_errors=True)
        return self._path


def _do(instruction: Instruction, root: Root, made: dict[str, Root]) -> None:
    match instruction.kind:
        case "RUN":
            _run(instruction, root)
        case "COPY":
            source = instruction.flag("from")
            _copy_in(instruction.words, root, made[source] if source else None)
        case "WORKDIR":
            root.folder = os.path.join(root.folder, instruction.value)
            root.at("").mkdir(parents=True, exist_ok=True)
        case "ENV":
            values = root.arguments | root.environ
            root.environ |= {name: expand(value, values) for name, value in instruction.pairs.items()}
        case "ARG":
            root.arguments |= instruction.pairs
        case "LABEL" | "USER" | "HEALTHCHECK" | "CMD":
            return  # they say how an image is run; tests look at them
        case _:
            raise AssertionError(f"{instruction}: not known here")


def _left_out(instruction: Instruction) -> str | None:
    kinds = (instruction.kind, f"{instruction.kind} {instruction.words[0]}")
    return next((kind for kind in kinds if kind in NOT_EXECUTED), None)


def _run(instruction: Instruction, root: Root) -> None:
    environ = {name: value for name, value in os.environ.items() if name.startswith(_REGISTRY_VARIABLES)}
    environ |= _caches() | root.arguments | root.machine_environ | {"HOME": str(root.path)}
    done = subprocess.run(
        ["sh", "-c", root.command(instruction.value)],
        cwd=root.at(""),
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{instruction}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"


def _caches() -> dict[str, str]:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given = {"UV_CACHE_DIR": str(home / "uv"), "PIP_CACHE_DIR": str(home / "pip")}
    return {name: os.environ.get(name, folder) for name, folder in given.items()}


def _copy_in(words: list[str], root: Root, stage: Root | None) -> None:
    *sources, target = words
    to = root.at(target)
    for source in sources:
        if stage:
            _copy(stage.path / source.lstrip("/"), to)
        elif (REPOSITORY / source).is_dir():
            for path in sorted(sent_to_builds()):
                if Path(path).is_relative_to(source) and (REPOSITORY / path).is_file():
                    _copy_file(REPOSITORY / path, to / Path(path).relative_to(source))
        else:
            assert source in sent_to_builds(), f"COPY {source}: .dockerignore keeps it back"
            _copy_file(REPOSITORY / source, to / Path(source).name if target.endswith("/") else to)


def _copy_file(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, to)


def _copy(source: Path, to: Path) -> None:
    """Files of large trees are linked, not copied: nobody writes into one, stages only add and replace."""
    shutil.copytree(source, to, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
