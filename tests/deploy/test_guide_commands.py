"""Every shell command of both guides is listed as tried or as not tried; kubectl, helm and our own are tried here.

What needs a cluster is tried as far as it goes without one.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from copilot_cli.main import build_app
from copilot_common.platform.schema import SCHEMA_VERSION
from support.api import ENCRYPTION_KEY, JWT_SECRET, PASSWORD
from support.charts import (
    IN_ORDER,
    NAMESPACE,
    ROOT,
    VALUE_SETS,
    Manifest,
    helm,
    load_strictly,
    name_of,
    of_kind,
    render_all,
    template,
)
from support.coverage import commands, deviations
from support.guide import GUIDE, OURS, line_of, read_guide
from support.stack import Database

KUBECTL = shutil.which("kubectl")
_NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_cluster_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", os.devnull)


def lines(*paths: Path) -> list[str]:
    return [line_of(command) for path in paths for _, command in read_guide(path).commands()]


def of(program: str, *paths: Path) -> list[str]:
    return [line for line in lines(*paths) if line.startswith(f"{program} ")]


def test_every_command_is_listed_once_and_no_other() -> None:
    listed = [command.line for command in commands()]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(lines(GUIDE, OURS))


def test_a_command_is_tried_or_it_is_said_why_not() -> None:
    assert not [command.line for command in commands() if not command.tried and not command.not_tried]


@pytest.mark.parametrize("line", sorted({*of("kubectl", GUIDE, OURS)}))
def test_kubectl_understands_it(line: str) -> None:
    """It gets as far as asking the cluster, which is not there; what it does not know it refuses before that."""
    if KUBECTL is None:
        pytest.skip("needs kubectl: https://kubernetes.io/docs/tasks/tools")
    command = re.split(r" [|<>] ", line)[0]
    done = subprocess.run(
        [KUBECTL, f"--server={_NOBODY}", *shlex.split(command)[1:]],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search("connection refused|was refused", done.stderr), done.stderr


def named_objects(line: str) -> Iterator[str]:
    """What a kubectl command speaks of, as kind/name in lower case."""
    yield from re.findall(r"\b(?:deployment|statefulset|job|cronjob)/[a-z-]+", line)
    yield from (f"pod/{name}" for name in re.findall(r"exec (?:-\w+ )?(postgres-0)\b", line))


@pytest.mark.parametrize("line", sorted({*of("kubectl", GUIDE, OURS)}))
def test_what_a_kubectl_command_names_is_there(line: str) -> None:
    there = {f"{found['kind'].lower()}/{found['metadata']['name']}" for found in render_all("default")}
    there |= {"pod/postgres-0"} if "statefulset/postgres" in there else set()
    assert set(named_objects(line)) <= there
    assert set(re.findall(r"-n (\S+)", line)) <= {NAMESPACE}
    labels = [found["spec"]["template"]["metadata"]["labels"] for found in of_kind("default", "Deployment").values()]
    for name, value in re.findall(r" -l (\S+?)=(\S+)", line):
        assert any(found.get(name) == value for found in labels)


def test_the_guides_lines_differ_from_the_charts_as_told() -> None:
    """PostgreSQL's pod has no migrations, and the CronJob is not what the guide's command would make."""
    (postgres,) = of_kind("default", "StatefulSet")["postgres"]["spec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for mount in postgres["volumeMounts"]]
    (made,) = of_kind("guide", "CronJob").values()
    (container,) = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    different = set()
    for line in of("kubectl", GUIDE):
        file = re.search(r" -f (/\S+)", line)
        if file and not any(file[1].startswith(mount) for mount in mounts):
            different.add(line)
        if "create cronjob" in line:
            assert line.startswith(f"kubectl create cronjob {made['metadata']['name']} ")
            assert f'--schedule="{made["spec"]["schedule"]}"' in line
            if f"--image={container['image']} " not in line:
                different.add(line)
    told = {place for deviation in deviations() for place in deviation.places if place.startswith("kubectl ")}
    restored_by_psql = {line for line in told if " < " in line}  # tests/deploy/test_guide_sql.py
    assert different == told - restored_by_psql


@pytest.mark.parametrize("line", of("helm", OURS))
def test_helm_understands_it(line: str) -> None:
    """Likewise. The charts of the adapter and of Fluent Bit are not ours: one of ours stands for them."""
    for chart in ("prometheus-community/prometheus-adapter", "fluent/fluent-bit"):
        line = line.replace(f" {chart} ", " helm/copilot-api ")
    line = line.replace("my-values.yaml", str(VALUE_SETS["default"]))
    done = helm(f"--kube-apiserver={_NOBODY}", *shlex.split(re.sub(" (deploy|helm)/", rf" {ROOT}/\1/", line))[1:])
    assert done.returncode != 0
    assert "connection refused" in done.stderr, done.stderr


def test_the_charts_can_be_installed_as_the_loop_does_with_all_our_examples_of_values(tmp_path: Path) -> None:
    (loop,) = [command for _, command in read_guide(OURS).commands() if command.startswith("for chart in ")]
    blocks = [fence.text for fence in read_guide(OURS).in_language("yaml")]
    examples = [block for block in blocks if block.startswith("# my-values.yaml")]
    assert len(examples) == len(blocks) - 1  # pod security, which is the guide's
    arguments: list[str | Path] = ["--values", VALUE_SETS["default"], *" ".join(re.findall(r"--set \S+", loop)).split()]
    for number, example in enumerate(examples):
        (tmp_path / f"{number}.yaml").write_text(example)
        arguments += ["--values", tmp_path / f"{number}.yaml"]
    made: dict[str, Manifest] = {}
    for chart in IN_ORDER:
        done = template(chart, *arguments)
        assert done.returncode == 0, done.stderr
        made |= {name_of(manifest): manifest for manifest in load_strictly(done.stdout)}
    assert loop.partition("in ")[2].partition(";")[0].split() == list(IN_ORDER[1:])
    assert "StatefulSet/postgres" not in made
    assert made["ConfigMap/copilot-config"]["data"]["TRUSTED_PROXIES"] == "10.244.0.0/16"
    assert made["HorizontalPodAutoscaler/copilot-api-hpa"]["spec"]["maxReplicas"] == 20


def test_our_copilot_commands_do_what_they_say(blank_database: Database, redis_url: str, tmp_path: Path) -> None:
    """In the guide's order, with the variables that it names; asked back, yes."""
    environ = {
        "COPILOT_HOME": str(tmp_path),
        "ADMIN_DATABASE_URL": blank_database.admin_url,
        "MIGRATION_DATABASE_URL": blank_database.owner_url,
        "DATABASE_URL": blank_database.app_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
        "COPILOT_PASSWORD": PASSWORD,
    }
    line = ""
    for line in of("copilot", OURS):
        # In a thread: asyncio.run here would take pytest-asyncio's loop away from the main one.
        with ThreadPoolExecutor(max_workers=1) as pool:
            invoke = partial(CliRunner().invoke, build_app(), shlex.split(line)[1:], input="y\n", env=environ)
            done = pool.submit(invoke).result()
        assert done.exit_code == 0, f"{line}: {done.output}"
    kept = int(line.rpartition(" ")[2])
    assert kept < SCHEMA_VERSION
    with psycopg.connect(blank_database.admin_url) as connection:
        assert connection.execute("SELECT max(version) FROM schema_migrations").fetchone() == (kept,)
        assert connection.execute("SELECT email FROM users").fetchall() == [("you@example.com",)]
