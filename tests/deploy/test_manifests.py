"""What the charts render, with every set of values: valid, owned once, restricted, bounded."""

from collections.abc import Iterator

import pytest

from copilot_common.auth.authority import ROUTES
from support import kubernetes
from support.charts import (
    IN_ORDER,
    NAMESPACE,
    ROOT,
    VALUE_SETS,
    containers,
    helm,
    load_strictly,
    name_of,
    of_kind,
    pods,
    render,
    render_all,
)

each_set = pytest.mark.parametrize("value_set", VALUE_SETS)
each_chart = pytest.mark.parametrize("chart", IN_ORDER)


def test_helm_lint_finds_nothing() -> None:
    charts = [ROOT / "helm" / chart for chart in ("copilot-lib", *IN_ORDER)]
    done = helm("lint", "--strict", "--values", VALUE_SETS["default"], *charts[1:])
    assert done.returncode == 0, done.stdout
    assert helm("lint", "--strict", charts[0]).returncode == 0


@pytest.mark.parametrize("version", [kubernetes.OLDEST, kubernetes.NEWEST])
@each_set
def test_kubernetes_accepts_every_manifest(value_set: str, version: str) -> None:
    faults = {
        f"{name_of(manifest)} {fault}"
        for manifest in render_all(value_set)
        for fault in kubernetes.faults(manifest, version)
    }
    assert not faults


def _nulls(part: object, path: str) -> Iterator[str]:
    if part is None:
        yield path
    elif isinstance(part, dict | list):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _nulls(value, f"{path}.{key}")


@each_set
def test_nothing_is_left_empty_by_a_template(value_set: str) -> None:
    """The schemas would let it pass."""
    assert not [path for manifest in render_all(value_set) for path in _nulls(manifest, name_of(manifest))]


@pytest.mark.parametrize("version", [kubernetes.OLDEST, kubernetes.NEWEST])
def test_a_field_that_kubernetes_does_not_know_is_found(version: str) -> None:
    manifest = of_kind("default", "Deployment")["copilot-api"]
    misspelt = {**manifest, "spec": {**manifest["spec"], "replica": 3}}
    assert list(kubernetes.faults(misspelt, version))


@each_set
def test_no_object_is_owned_by_two_releases(value_set: str) -> None:
    names = [name_of(manifest) for manifest in render_all(value_set)]
    assert sorted(names) == sorted(set(names))


@each_set
def test_every_object_is_in_the_releases_namespace(value_set: str) -> None:
    assert {manifest["metadata"]["namespace"] for manifest in render_all(value_set)} == {NAMESPACE}


@each_chart
def test_names_are_the_same_whatever_the_release_is_called(chart: str) -> None:
    done = helm(
        "template", "another", ROOT / "helm" / chart, "--values", VALUE_SETS["default"], "--namespace", NAMESPACE
    )
    called_otherwise = done.stdout.replace(
        "app.kubernetes.io/instance: another", f"app.kubernetes.io/instance: {chart}"
    )
    usual = helm("template", chart, ROOT / "helm" / chart, "--values", VALUE_SETS["default"], "--namespace", NAMESPACE)
    assert called_otherwise == usual.stdout


@each_set
def test_no_container_may_become_more_than_a_user_with_a_read_only_root(value_set: str) -> None:
    for name, container in containers(value_set):
        security = container["securityContext"]
        assert security["runAsNonRoot"], name
        assert security["runAsUser"] >= 999, name
        assert security["readOnlyRootFilesystem"], name
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name


@each_set
def test_pods_are_restricted_and_have_no_token_of_a_service_account(value_set: str) -> None:
    for name, (_, spec) in pods(value_set).items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        kinds = {kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "persistentVolumeClaim", "configMap"}, name


@each_set
def test_every_container_has_requests_and_limits(value_set: str) -> None:
    for name, container in containers(value_set):
        for bound in ("requests", "limits"):
            assert {"memory", "cpu"} <= container["resources"][bound].keys(), name


@each_set
def test_what_is_mounted_is_there(value_set: str) -> None:
    for name, (_, spec) in pods(value_set).items():
        claimed = {"postgres-storage"} if name == "StatefulSet/postgres" else set()
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | claimed
        mounted = {mount["name"] for found in spec["containers"] for mount in found.get("volumeMounts", [])}
        assert mounted == volumes, name


@each_set
def test_drains_end_before_the_grace_period(value_set: str) -> None:
    """3 s for the last responses and 5 for the pool come after the drain; sleeping before it counts too."""
    drain = int(of_kind(value_set, "ConfigMap")["copilot-config"]["data"]["DRAIN_SECONDS"])
    for name in IN_ORDER[2:]:
        spec = of_kind(value_set, "Deployment")[name]["spec"]["template"]["spec"]
        pre_stop = (
            spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        )
        assert int(pre_stop[1]) + drain + 8 < spec["terminationGracePeriodSeconds"], name


@each_chart
def test_every_chart_can_be_tested(chart: str) -> None:
    hooks = {"helm.sh/hook": "test"}.items()
    tests = [found for found in render(chart, "default") if hooks <= found["metadata"].get("annotations", {}).items()]
    assert [found["kind"] for found in tests] == ["Pod"]


def test_the_namespace_enforces_what_the_pods_keep_to() -> None:
    (namespace,) = load_strictly((ROOT / "deploy/namespace.yaml").read_text())
    assert namespace["metadata"]["name"] == NAMESPACE
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not list(kubernetes.faults(namespace, kubernetes.NEWEST))


def test_the_pod_for_restores_is_accepted_and_finds_what_postgresql_and_the_archiver_have() -> None:
    (pod,) = load_strictly((ROOT / "deploy/restore-pod.yaml").read_text())
    assert not list(kubernetes.faults(pod, kubernetes.OLDEST)) + list(kubernetes.faults(pod, kubernetes.NEWEST))
    server = of_kind("keda", "StatefulSet")["postgres"]["spec"]
    (archiver,) = of_kind("keda", "Deployment")["pg-archive"]["spec"]["template"]["spec"]["containers"]
    assert pod["spec"]["securityContext"] == server["template"]["spec"]["securityContext"]
    assert pod["spec"]["containers"][0]["image"] == archiver["image"]
    claims = {found.get("persistentVolumeClaim", {}).get("claimName") for found in pod["spec"]["volumes"]}
    assert claims == {f"{server['volumeClaimTemplates'][0]['metadata']['name']}-postgres-0", "archive-pvc", None}


@each_set
def test_probes_ask_for_what_every_service_answers(value_set: str) -> None:
    """Workers answer the API's paths. Only readiness may depend on the database, but for the guide's own values."""
    for service in IN_ORDER[2:]:
        (container,) = of_kind(value_set, "Deployment")[service]["spec"]["template"]["spec"]["containers"]
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in probes.values()} == {container["ports"][0]["containerPort"]}
        paths = tuple(probe["path"] for probe in probes.values())
        if value_set == "guide" and service == "copilot-api":
            assert paths == ("/health", "/health", "/health")
        else:
            assert paths == ("/health/live", "/health/live", "/health/ready")
        assert all(("GET", path) in ROUTES for path in paths)


def test_pods_are_spread_and_evicted_one_at_a_time() -> None:
    budgets = of_kind("default", "PodDisruptionBudget")
    for service in IN_ORDER[2:]:
        assert budgets[f"{service}-pdb"]["spec"]["maxUnavailable"] == 1
        spreading = pods("default")[f"Deployment/{service}"][1]["topologySpreadConstraints"]
        keys = {each["topologyKey"] for each in spreading}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(each["labelSelector"]["matchLabels"] == {"app": service} for each in spreading)


def test_the_ingress_lets_uploads_and_long_streams_through() -> None:
    ingress = of_kind("default", "Ingress")["copilot-ingress"]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    given = ingress["metadata"]["annotations"]
    assert "kubernetes.io/ingress.class" not in given  # an API server refuses both
    nginx = {name: given[f"nginx.ingress.kubernetes.io/proxy-{name}"] for name in ("body-size", "read-timeout")}
    assert nginx == {"body-size": "50m", "read-timeout": "300"}
    assert given["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"


@each_set
def test_services_bring_no_configuration_and_no_secret(value_set: str) -> None:
    for service in IN_ORDER[2:]:
        assert not {found["kind"] for found in render(service, value_set)} & {"ConfigMap", "Secret", "ExternalSecret"}
