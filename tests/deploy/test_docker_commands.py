"""What the documents tell an operator of Docker to type. Docker's client refuses what it does not know before it asks
an engine, which is not there; of `docker compose`, which is not there either, the files and services are looked up."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it comes without types

from support.charts import ROOT
from support.compose import DEPLOY, GIVEN, compose, faults, stack
from support.guide import OURS, read_guide
from support.swarm import DOCKER, docker

_NOBODY = "tcp://127.0.0.1:1"
# Of `docker stack deploy`; of `docker run`; of `docker exec`, where the command in it found no container.
_REMARKS = re.compile(r"--detach=false|^$|^Run 'docker run --help'|invalid container name or ID: value is empty")
README = DEPLOY / "README.md"
_COMPOSE = "docker compose -f deploy/compose.yaml "
_COMMANDS = [command for path in (OURS, README) for _, command in read_guide(path).commands()]
OF_DOCKER = sorted({found for found in _COMMANDS if re.search(r"\bdocker (?!compose|push)", found)})
OF_COMPOSE = sorted({found for found in _COMMANDS if "docker compose" in found})


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with our files and some secrets, in which a command can be typed."""
    (tmp_path / "deploy/secrets").mkdir(parents=True)
    for name in ("stack.yaml", "copilot.env"):
        (tmp_path / "deploy" / name).symlink_to(DEPLOY / name)
    for name in stack()["secrets"]:
        (tmp_path / "deploy/secrets" / name).write_text("a secret")
    return tmp_path


@pytest.mark.parametrize("command", OF_DOCKER)
def test_dockers_client_understands_it(command: str, clone: Path) -> None:
    if DOCKER is None:
        pytest.skip("needs docker's client: https://docs.docker.com/engine/install/binaries")
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": _NOBODY, **GIVEN}
    done = subprocess.run(
        ["bash", "-c", command], cwd=clone, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    complaints = [line for line in done.stderr.splitlines() if not _REMARKS.search(line)]
    assert complaints
    assert all("Cannot connect to the Docker daemon" in line for line in complaints), done.stderr


@pytest.mark.parametrize("command", OF_DOCKER)
def test_services_that_it_names_are_the_stacks(command: str) -> None:
    there = {f"copilot_{name}" for name in (*stack()["services"], *stack()["secrets"])} | {"copilot_${file"}
    assert set(re.findall(r"copilot_[\w${-]+", command)) <= there


def test_a_version_is_its_shells_and_not_one_lines_so_that_no_later_line_goes_back() -> None:
    of_upgrade = [command for section, command in read_guide(README).commands() if section == "Upgrade"]
    assert re.fullmatch(r"export VERSION=[\d.]+( #.*)?", of_upgrade[0])
    exported = " ".join(command for command in _COMMANDS if command.startswith("export "))
    assert all(f" {name}=" in exported for name in GIVEN)
    assert not [found for found in (*OF_DOCKER, *OF_COMPOSE) if re.search(r"\b(REGISTRY|VERSION)=|/tools:\d", found)]


def test_a_container_without_a_file_of_ours_bounds_its_own_log_as_ours_do() -> None:
    started = [found for found in OF_DOCKER if "docker run -d " in found]
    assert started
    for options in (service["logging"]["options"] for service in compose()["services"].values()):
        wanted = " ".join(f"--log-opt {name}={value}" for name, value in options.items())
        assert not [found for found in started if wanted not in found]


@pytest.mark.parametrize("command", OF_COMPOSE)
def test_what_is_said_to_compose_names_its_services(command: str) -> None:
    verb, *words = command.partition(_COMPOSE)[2].split()
    named = {"up": [], "stop": words}.get(verb)
    if verb == "exec":
        named = [next(word for word in words if word != "-e" and not word.isupper() and "_" not in word)]
    assert named is not None, verb
    assert set(named) <= compose()["services"].keys()


def test_the_example_of_a_change_merges_into_both(tmp_path: Path) -> None:
    (example,) = [fence.text for fence in read_guide(README).in_language("yaml")]
    mine = tmp_path / "my-stack.yaml"
    mine.write_text(example)
    line = example.splitlines()[0].partition(": ")[2]
    assert line == "docker stack deploy --with-registry-auth -c deploy/stack.yaml -c my-stack.yaml copilot"
    assert list(faults(yaml.safe_load(example))) == []
    done = docker("stack", "config", "-c", DEPLOY / "stack.yaml", "-c", mine)
    assert done.returncode == 0, done.stderr
    api = yaml.safe_load(done.stdout)["services"]["api"]
    assert api["deploy"]["replicas"] == 5
    assert api["environment"]["ANTHROPIC_API_KEY_FILE"] == "/run/secrets/anthropic_api_key"
    assert {secret["source"] for secret in api["secrets"]} == {
        *stack()["services"]["api"]["secrets"],
        "anthropic_api_key",
    }
    assert api["deploy"]["resources"]["limits"]["cpus"] == "1"  # what it does not say stays


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text()):
        assert (README.parent / target).resolve().is_relative_to(ROOT)
        assert (README.parent / target).exists(), target
