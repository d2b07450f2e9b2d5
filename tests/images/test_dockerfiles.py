"""What the Dockerfiles, their context and `make images` say, read without building anything."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from msgspec.structs import fields

from copilot_common.platform.settings import Settings
from copilot_context_service import worker as context_service
from copilot_workflow_engine import worker as workflow_engine
from support.dockerfiles import IMAGES, REPOSITORY, Image, instructions_of, sent_to_builds
from support.image_builds import NOT_EXECUTED

API, ENGINE, CONTEXT, TOOLS = IMAGES
LOCKS = {API: "api", ENGINE: "workflow_engine", CONTEXT: "context_service", TOOLS: "tools"}
PACKAGES = {
    API: "services/api",
    ENGINE: "services/workflow_engine",
    CONTEXT: "services/context_service",
    TOOLS: "libs/cli",
}
PORTS = {
    API: ("PORT", next(field.default for field in fields(Settings) if field.name == "port")),
    ENGINE: ("PROBE_PORT", workflow_engine.PROBE_PORT),
    CONTEXT: ("PROBE_PORT", context_service.PROBE_PORT),
}
DEBIAN_PACKAGES = {
    API: {"netcat-openbsd"},
    ENGINE: set[str](),
    CONTEXT: set[str](),
    TOOLS: {"postgresql-client-16"},
}
SYSTEM_COMMANDS = {"apt-get", "dpkg-deb", "mv", ".", "echo", "rm", "useradd"}

of_every_image = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.target)
of_every_service = pytest.mark.parametrize("image", PORTS, ids=lambda image: image.target)


def copied(image: Image) -> set[str]:
    """Paths of the repository that any of its stages copies."""
    instructions = [instruction for stage in image.stages for instruction in stage.instructions]
    return {
        source
        for instruction in instructions
        if instruction.kind == "COPY" and not instruction.flag("from")
        for source in instruction.words[:-1]
    }


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (REPOSITORY / f"requirements/{lock}.txt").read_text(), re.M))


def version_in(path: Path) -> str:
    return str(tomllib.loads(path.read_text())["project"]["version"])


def test_all_are_made_from_one_image_pinned_by_an_argument() -> None:
    firsts = {str(instructions_of(image.path)[0]) for image in IMAGES}
    assert len(firsts) == 1
    assert re.fullmatch(r"ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", firsts.pop())
    for image in IMAGES:
        own = {stage.name for stage in image.stages}
        bases = {line.words[0] for line in instructions_of(image.path) if line.kind == "FROM"} - own
        assert bases - {"build", "base"} == {"${PYTHON_IMAGE}"}


@of_every_image
def test_it_runs_as_user_1000_from_its_last_change_on(image: Image) -> None:
    users = [instruction.value for instruction in image.instructions if instruction.kind == "USER"]
    assert users == ["1000:1000"]
    kinds = [instruction.kind for instruction in image.instructions]
    assert {"RUN", "COPY"}.isdisjoint(kinds[kinds.index("USER") :])
    assert any("useradd --uid 1000 " in instruction.value for instruction in image.instructions)


@of_every_image
def test_no_compiler_and_no_more_of_debian_than_it_needs_is_installed(image: Image) -> None:
    runs = [instruction.value for instruction in image.instructions if instruction.kind == "RUN"]
    commands = [command.split() for run in runs for command in run.split("&&")]
    assert {command[0] for command in commands} <= SYSTEM_COMMANDS, "all else belongs into the build stages"
    installed = [command[2:] for command in commands if command[:2] == ["apt-get", "install"]]
    names = {word for words in installed for word in words if not word.startswith("--")}
    assert names == DEBIAN_PACKAGES[image]
    assert all("--no-install-recommends" in words for words in installed)


@of_every_image
def test_of_the_build_only_the_environment_is_kept(image: Image) -> None:
    kept = [line.words for line in image.instructions if line.kind == "COPY" and line.flag("from")]
    assert kept == [["/opt/venv", "/opt/venv"]]


@of_every_image
def test_it_holds_its_own_lock_and_its_own_package(image: Image) -> None:
    locks = {path for path in copied(image) if path.startswith("requirements/")}
    assert locks == {"requirements/build.txt", f"requirements/{LOCKS[image]}.txt"}
    packages = {path for path in copied(image) if path.startswith(("libs/", "services/"))}
    assert packages == {"libs/common", "libs/domain", PACKAGES[image]}
    for run in (line.value for stage in image.stages for line in stage.instructions if line.kind == "RUN"):
        if " install " in run and ".txt" in run:
            assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(run.split())


@pytest.mark.parametrize("lock", ["build", *LOCKS.values()])
def test_what_it_installs_is_what_the_tests_ran_with(lock: str) -> None:
    # uv makes the developer's environment and is not in it.
    tested = pins("dev") | pins("bootstrap")
    assert {name: version for name, version in pins(lock).items() if tested.get(name) != version} == {}


@of_every_image
def test_it_says_what_it_is(image: Image) -> None:
    labels = next(instruction.pairs for instruction in image.instructions if instruction.kind == "LABEL")
    named = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert named.pop("description").startswith("LLM CoPilot Agent: ")
    assert named == {
        "title": f"llmcopilot/{image.target}",
        "licenses": "Apache-2.0",
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "source": "${SOURCE}",
    }
    arguments = {name for line in image.instructions if line.kind == "ARG" for name in line.pairs}
    assert arguments == {"VERSION", "REVISION", "SOURCE"}


@of_every_service
def test_its_health_is_asked_on_the_port_it_listens_on(image: Image) -> None:
    variable, port = PORTS[image]
    assert image.last("EXPOSE") == str(port)
    assert image.health_check
    assert f"os.getenv('{variable}', '{port}')" in image.health_check
    assert "'/health/live'" in image.health_check


def test_tools_are_not_asked_for_their_health() -> None:
    assert TOOLS.last("HEALTHCHECK") == "NONE"


@of_every_image
def test_its_command_needs_no_shell(image: Image) -> None:
    assert image.command[0] in {"python", "copilot"}


@of_every_image
def test_what_it_copies_is_there_and_is_sent_to_the_build(image: Image) -> None:
    assert {path for path in copied(image) if not (REPOSITORY / path).exists()} == set()
    assert copied(image) <= sent_to_builds()


def test_nothing_is_sent_to_a_build_but_what_some_image_copies() -> None:
    wanted = {path for image in IMAGES for path in copied(image)}
    files = {path for path in sent_to_builds() if (REPOSITORY / path).is_file()} - {".dockerignore"}
    assert {path for path in files if not any(Path(path).is_relative_to(source) for source in wanted)} == set()
    assert not any("__pycache__" in path for path in files)


def test_only_named_kinds_of_commands_are_not_executed_by_the_tests() -> None:
    """No command of ours hides behind one that is left out."""
    for image in IMAGES:
        for line in (line for stage in image.stages for line in stage.instructions if line.kind == "RUN"):
            commands = [command.split()[0] for command in line.value.split("&&")]
            if f"RUN {commands[0]}" in NOT_EXECUTED:
                assert set(commands) <= SYSTEM_COMMANDS
            else:
                assert set(commands) <= {"pip", "uv", "python"}


def test_every_package_has_the_version_of_the_images() -> None:
    paths = [*REPOSITORY.glob("libs/*/pyproject.toml"), *REPOSITORY.glob("services/*/pyproject.toml")]
    assert {version_in(path) for path in paths} == {version_in(REPOSITORY / "pyproject.toml")}


def test_make_images_builds_all_of_them_under_their_names(tmp_path: Path) -> None:
    """With a program in Docker's place that notes what it is told."""
    notes = tmp_path / "notes"
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {notes}\n")
    docker.chmod(0o755)
    given = ["REGISTRY=registry.example/team", "SOURCE=https://example.com/copilot", f"DOCKER={docker}"]
    _make_images(given)
    _make_images([f"DOCKER={docker}", "VERSION=9.9.9", "PYTHON_IMAGE=python:3.13"])
    told = notes.read_text().splitlines()
    version = version_in(REPOSITORY / "pyproject.toml")
    expected = [
        f"build --file services/{image.service}/Dockerfile --target {image.target} --tag {tag}"
        for registry in (f"registry.example/team/%s:{version}", "llmcopilot/%s:9.9.9")
        for image in IMAGES
        for tag in (registry % image.target,)
    ]
    assert [line.partition(" --build-arg")[0] for line in told] == expected
    assert all(line.endswith(" .") for line in told)
    assert all("SOURCE=https://example.com/copilot" in line and "PYTHON_IMAGE" not in line for line in told[:4])
    assert all("SOURCE" not in line and "PYTHON_IMAGE=python:3.13" in line for line in told[4:])
    assert all(re.search(r"--build-arg REVISION=([0-9a-f]{40}(-dirty)?|unknown) ", line) for line in told)


def _make_images(arguments: list[str]) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "images", *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
