"""The files for Docker Compose and Docker Swarm say the same as one another and as the charts; Docker takes them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from copilot_common.platform.secret_files import OF_OPERATORS, OF_SERVICES
from copilot_common.platform.settings import load_settings
from support.charts import Manifest, of_kind, pods
from support.compose import DEPLOY, EMAIL, GIVEN, Missing, compose, environment, faults, in_bytes, read, seconds, stack
from support.dockerfiles import IMAGES, Image
from support.guide import GUIDE, read_guide
from support.swarm import deploy, docker

SERVICES = {"api": "API Server", "workflow-engine": "Workflow Engine", "context-service": "Context Service"}
"""With their names in the guide's tables."""
STORES = ("postgres", "redis")
JOBS = ("migrate", "bootstrap")
ALL = (*SERVICES, *STORES, *JOBS, "backup")
PODS = {
    "api": "Deployment/copilot-api",
    "workflow-engine": "Deployment/copilot-workflow-engine",
    "context-service": "Deployment/copilot-context-service",
    "postgres": "StatefulSet/postgres",
    "redis": "Deployment/redis",
    "migrate": "Job/copilot-migrate",
    "bootstrap": "Job/copilot-bootstrap",
    "backup": "CronJob/pg-backup",
}
# What only one of the two takes, or takes otherwise; each has a test of its own.
ITS_OWN = {"restart", "depends_on", "security_opt", "ports", "healthcheck", "deploy", "labels"}

each_file = pytest.mark.parametrize("file", [compose, stack], ids=["compose", "stack"])
each_service = pytest.mark.parametrize("name", ALL)


def pod(name: str, value_set: str = "default") -> tuple[Manifest, Manifest]:
    """What the charts say of it: its pod and its container. Only one set of values has the first tenant."""
    _, spec = pods("external-data" if name == "bootstrap" else value_set)[PODS[name]]
    (container,) = spec["containers"]
    return spec, container


def cores(text: str) -> float:
    return int(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def image_of(name: str) -> Image:
    targets = {"api": "api-server", **dict.fromkeys((*JOBS, "backup"), "tools")}
    (found,) = [image for image in IMAGES if image.target == targets.get(name, name)]
    return found


@each_file
def test_the_compose_specification_accepts_it_and_would_refuse_what_it_does_not_know(file: Any) -> None:
    assert list(faults(file())) == []
    unknown = json.loads(json.dumps(file()))
    unknown["services"]["api"]["cap_dorp"] = ["ALL"]
    assert any("cap_dorp" in fault for fault in faults(unknown))


def test_dockers_own_client_accepts_the_stack() -> None:
    """Strictly: unlike Compose's, its schema is in the program."""
    done = docker("stack", "config", "-c", DEPLOY / "stack.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["compose.yaml", "stack.yaml"])
@pytest.mark.parametrize("missing", GIVEN)
def test_nothing_starts_without_the_owners_address_or_by_a_registry_or_version_that_nobody_named(
    name: str, missing: str
) -> None:
    """With a default a later shell would put an old version on a newer schema, or hand our secrets to strangers."""
    with pytest.raises(Missing, match=missing):
        read(name, **{**GIVEN, missing: ""})
    if name == "stack.yaml":
        done = docker("stack", "config", "-c", DEPLOY / name, **{missing: ""})
        assert done.returncode != 0
        assert re.search(rf"required variable {missing} is missing a value: \w+\W+\w+", done.stderr), done.stderr


@each_file
def test_the_same_is_started_as_by_the_charts(file: Any) -> None:
    assert file()["services"].keys() == set(ALL)


@each_service
def test_both_files_say_the_same(name: str) -> None:
    one, other = (_comparable(file()["services"][name]) for file in (compose, stack))
    assert one == other
    resources = [file()["services"][name]["deploy"]["resources"] for file in (compose, stack)]
    assert resources[0] == resources[1]


def _comparable(service: Manifest) -> dict[str, Any]:
    same = {key: value for key, value in service.items() if key not in ITS_OWN}
    # A folder that is missing: Compose would make it unless told, Swarm refuses it.
    volumes = [{key: part for key, part in volume.items() if key != "bind"} for volume in same["volumes"]]
    return {**same, "volumes": volumes}


@each_file
@each_service
def test_it_is_the_image_and_the_command_of_the_charts(file: Any, name: str) -> None:
    _, container = pod(name)
    service = file()["services"][name]
    if name != "bootstrap":  # its set of values has another registry
        assert service["image"] == container["image"]
    words = [*container.get("command", []), *container.get("args", [])]
    if name == "bootstrap":
        assert service["command"][:4] == words[:4]
        assert service["command"][4:] == ["--email", EMAIL]
    elif name == "backup":
        assert words[:2] == ["copilot", "backup"]
        assert service["command"][4:] == words[2:]
    else:
        assert service.get("command", []) == words


@pytest.mark.parametrize("name", ["compose.yaml", "stack.yaml"])
def test_registry_and_version_are_variables(name: str) -> None:
    services = read(name, COPILOT_EMAIL=EMAIL, REGISTRY="registry.example/team", VERSION="2.0.0")["services"]
    ours = {service["image"] for service_name, service in services.items() if service_name not in STORES}
    assert ours == {f"registry.example/team/{image.target}:2.0.0" for image in IMAGES}


@each_file
@pytest.mark.parametrize(
    ("name", "value_set"), [*((name, "default") for name in ALL), *((name, "guide") for name in (*SERVICES, *STORES))]
)
def test_it_has_the_charts_limits_and_requests(file: Any, name: str, value_set: str) -> None:
    _, container = pod(name, value_set)
    for ours, theirs in {"limits": "limits", "reservations": "requests"}.items():
        found = file()["services"][name]["deploy"]["resources"][ours]
        wanted = container["resources"][theirs]
        assert float(found["cpus"]) == cores(wanted["cpu"])
        assert in_bytes(found["memory"]) == in_bytes(wanted["memory"])


@each_file
@each_service
def test_it_may_do_no_more_than_in_a_pod(file: Any, name: str) -> None:
    spec, container = pod(name)
    service = file()["services"][name]
    security = spec["securityContext"]
    assert service["user"] == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert service["read_only"] is container["securityContext"]["readOnlyRootFilesystem"] is True
    assert service["cap_drop"] == container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert not service.keys() & {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"}
    assert ("security_opt" in service) == (file is compose)  # Swarm knows none: its daemons have to be told
    assert service.get("security_opt", ["no-new-privileges:true"]) == ["no-new-privileges:true"]


@each_file
@each_service
def test_it_can_write_where_the_pod_can_and_no_more_than_its_memory_bears(file: Any, name: str) -> None:
    _, container = pod(name)
    service = file()["services"][name]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert {volume["target"] for volume in service["volumes"]} == mounts
    temporary = [volume["tmpfs"]["size"] for volume in service["volumes"] if volume["type"] == "tmpfs"]
    assert 0 < sum(temporary) <= in_bytes(service["deploy"]["resources"]["limits"]["memory"]) / 8


def test_postgresql_has_the_shared_memory_of_its_pod() -> None:
    spec, _ = pod("postgres")
    (wanted,) = [volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if volume["name"] == "shm"]
    for file in (compose, stack):
        volumes = file()["services"]["postgres"]["volumes"]
        assert [volume["tmpfs"]["size"] for volume in volumes if volume["target"] == "/dev/shm"] == [in_bytes(wanted)]


@each_file
def test_what_is_not_secret_is_the_charts_config(file: Any) -> None:
    config = of_kind("default", "ConfigMap")["copilot-config"]["data"]
    assert of_kind("guide", "ConfigMap")["copilot-config"]["data"] == config
    for name in SERVICES:
        given = environment(file()["services"][name])
        assert {key: value for key, value in given.items() if not key.endswith("_FILE")} == config


@each_file
@each_service
def test_every_secret_is_a_file_that_only_who_needs_it_is_given(file: Any, name: str) -> None:
    service = file()["services"][name]
    given = environment(service)
    assert not given.keys() & (OF_SERVICES | OF_OPERATORS | {"POSTGRES_PASSWORD"})
    files = {key.removesuffix("_FILE"): value for key, value in given.items() if key.endswith("_FILE")}
    assert set(files.values()) == {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}
    if name in SERVICES:
        assert files.keys() == {"DATABASE_URL", "REDIS_URL", "JWT_SECRET", "ENCRYPTION_KEY"}
    else:
        references = [
            variable for variable in pod(name)[1].get("env", []) if "secretKeyRef" in variable.get("valueFrom", {})
        ]
        named = {variable["name"] for variable in references if not variable["name"].startswith("S3_")}
        assert files.keys() == named - {"POSTGRES_USER"}  # which is no secret of ours


@each_file
def test_all_secrets_that_are_named_are_used_and_no_value_is_in_the_file(file: Any) -> None:
    used = {secret for service in file()["services"].values() for secret in service.get("secrets", [])}
    assert file()["secrets"].keys() == used
    for name, secret in file()["secrets"].items():
        assert secret == (
            {"file": f"secrets/{name}"} if file is compose else {"external": True, "name": f"copilot_{name}"}
        )


@each_file
def test_only_the_api_can_be_reached_and_only_the_services_reach_out(file: Any) -> None:
    services = file()["services"]
    assert [name for name in services if "ports" in services[name]] == ["api"]
    (port,) = services["api"]["ports"]
    config = of_kind("default", "ConfigMap")["copilot-config"]["data"]
    assert (str(port["target"]), str(port["published"])) == (config["PORT"], config["PORT"])
    assert port.get("host_ip") == ("127.0.0.1" if file is compose else None)
    assert {name for name in services if "outside" in services[name]["networks"]} == set(SERVICES)
    assert all("stores" in services[name]["networks"] for name in services)
    networks = file()["networks"]
    assert {name: bool(network.get("internal")) for name, network in networks.items()} == {
        "stores": True,
        "outside": False,
    }


@each_file
@pytest.mark.parametrize("name", [*SERVICES, *STORES])
def test_it_has_as_long_to_stop_as_its_pod(file: Any, name: str) -> None:
    spec, _ = pod(name)
    service = file()["services"][name]
    assert seconds(service["stop_grace_period"]) == spec["terminationGracePeriodSeconds"]
    if name in SERVICES:
        drain = int(environment(service)["DRAIN_SECONDS"])
        assert load_settings_of(service).drain_seconds == drain < seconds(service["stop_grace_period"]) - 15


def load_settings_of(service: Manifest) -> Any:
    secrets = of_kind("default", "Secret")["copilot-secrets"]["stringData"]
    plain = {key: value for key, value in environment(service).items() if not key.endswith("_FILE")}
    return load_settings({**plain, **secrets})


def probe(name: str, kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = pod(name)[1][f"{kind}Probe"]
    return found


@each_file
@pytest.mark.parametrize("name", SERVICES)
def test_services_have_the_health_check_of_their_image_which_asks_what_liveness_asks(file: Any, name: str) -> None:
    assert "healthcheck" not in file()["services"][name]
    image = image_of(name)
    assert image.health_check is not None
    assert f"'{probe(name, 'liveness')['httpGet']['path']}'" in image.health_check
    port = str(probe(name, "liveness")["httpGet"]["port"])
    assert image.last("EXPOSE") == port


@each_file
@pytest.mark.parametrize("name", [*JOBS, "backup"])
def test_what_is_no_server_has_none(file: Any, name: str) -> None:
    assert "healthcheck" not in file()["services"][name]
    assert image_of(name).health_check is None


@pytest.mark.parametrize("name", STORES)
def test_stores_are_replaced_by_swarm_as_by_liveness_and_waited_for_in_compose_as_by_readiness(name: str) -> None:
    for file, kind in ((stack, "liveness"), (compose, "readiness")):
        check, wanted, startup = file()["services"][name]["healthcheck"], probe(name, kind), probe(name, "startup")
        assert check["test"] == ["CMD", *wanted["exec"]["command"]]
        assert seconds(check["interval"]) == wanted["periodSeconds"]
        assert seconds(check["timeout"]) == wanted["timeoutSeconds"]
        assert check["retries"] == wanted.get("failureThreshold", 3)  # Kubernetes' default
        assert seconds(check["start_period"]) == startup["failureThreshold"] * startup["periodSeconds"]


def test_compose_starts_each_after_what_it_needs_and_again_unless_it_is_a_job() -> None:
    services = compose()["services"]
    waits = {
        name: {key: found["condition"] for key, found in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    migrated = {"migrate": "service_completed_successfully"}
    for name, waiting in waits.items():
        if name in SERVICES:
            assert waiting == migrated | {"redis": "service_healthy"}
        elif name in STORES:
            assert waiting == {}
        else:
            assert waiting == ({"postgres": "service_healthy"} if name == "migrate" else migrated)
    assert {name: service["restart"] for name, service in services.items()} == {
        name: "no" if name in JOBS else "unless-stopped" for name in ALL
    }


def test_swarm_has_the_guides_fewest_replicas_and_one_of_each_store() -> None:
    rows = read_guide(GUIDE).table("Scaling Guidelines > Horizontal Scaling").rows
    fewest = {row[0]: int(row[1]) for row in rows}
    found = {name: stack()["services"][name]["deploy"]["replicas"] for name in ALL}
    assert found == {name: fewest.get(SERVICES.get(name, ""), 1) for name in ALL}


def test_swarm_replaces_services_one_by_one_after_their_successors_and_stores_before_them() -> None:
    for name in (*SERVICES, *STORES, "backup"):
        rules = stack()["services"][name]["deploy"]
        order = "start-first" if name in SERVICES else "stop-first"
        assert {rules[part]["order"] for part in ("update_config", "rollback_config")} == {order}
        assert {rules[part]["parallelism"] for part in ("update_config", "rollback_config")} == {1}
        assert rules["update_config"]["failure_action"] == ("rollback" if name in SERVICES else "pause")
        assert rules["restart_policy"]["condition"] == "any"
        assert ("placement" in rules) == (name not in SERVICES)  # what they keep is on one node


def test_swarm_tries_the_jobs_again_until_what_they_need_is_there() -> None:
    """It knows no order: PostgreSQL's first start may take minutes."""
    for name in JOBS:
        rules = stack()["services"][name]["deploy"]
        assert rules["mode"] == "replicated-job"
        policy = rules["restart_policy"]
        assert policy["condition"] == "on-failure"
        assert seconds(policy["delay"]) * policy["max_attempts"] >= 600


def test_logs_on_a_disk_are_bounded() -> None:
    for file in (compose, stack):
        for service in file()["services"].values():
            assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


def test_a_manager_is_asked_for_what_the_stack_says_and_the_client_leaves_nothing_out() -> None:
    deployed = deploy(DEPLOY / "stack.yaml")
    assert "gnoring" not in deployed.said
    assert deployed.services.keys() == {f"copilot_{name}" for name in ALL}
    assert deployed.networks["copilot_stores"]["Internal"]
    assert deployed.networks["copilot_stores"]["Options"] == {"encrypted": ""}
    for name, service in stack()["services"].items():
        asked = deployed.services[f"copilot_{name}"]
        assert list(_differences(name, service, asked)) == []


def _differences(name: str, service: Manifest, asked: Mapping[str, Any]) -> Iterator[str]:
    task = asked["TaskTemplate"]
    container, resources = task["ContainerSpec"], task["Resources"]["Limits"]
    limits = service["deploy"]["resources"]["limits"]
    secrets = {secret["File"]["Name"]: secret["SecretName"] for secret in container.get("Secrets", [])}
    pairs = {
        "image": (container["Image"], service["image"]),
        "command": (container.get("Args", []), service.get("command", [])),
        "environment": (dict(line.split("=", 1) for line in container.get("Env", [])), environment(service)),
        "user": (container["User"], service["user"]),
        "read_only": (container["ReadOnly"], True),
        "cap_drop": (container["CapabilityDrop"], ["ALL"]),
        "secrets": (secrets, {secret: f"copilot_{secret}" for secret in service.get("secrets", [])}),
        "mounts": (
            {mount["Target"]: mount["Type"] for mount in container["Mounts"]},
            {volume["target"]: volume["type"] for volume in service["volumes"]},
        ),
        "limits": (
            (resources["NanoCPUs"], resources["MemoryBytes"]),
            (float(limits["cpus"]) * 10**9, in_bytes(limits["memory"])),
        ),
        "health": (container.get("Healthcheck", {}).get("Test"), service.get("healthcheck", {}).get("test")),
        "networks": (
            {network["Target"] for network in task["Networks"]},
            {f"copilot_{network}" for network in service["networks"]},
        ),
        "mode": (set(asked["Mode"]), {"ReplicatedJob" if name in JOBS else "Replicated"}),
    }
    for part, (found, wanted) in pairs.items():
        if found != wanted:
            yield f"{name}: {part}: {found} != {wanted}"
