"""What the manifests point at is there: pods, ports, claims, secrets, both ends of every connection."""

from ipaddress import ip_address, ip_network

import pytest

from copilot_common.auth.authority import ROUTES
from support.charts import VALUE_SETS, Manifest, containers, name_of, of_kind, pods, render_all, selects

each_set = pytest.mark.parametrize("value_set", VALUE_SETS)


@each_set
def test_policies_bind_every_pod_both_ways(value_set: str) -> None:
    policies = of_kind(value_set, "NetworkPolicy")
    if value_set == "plain":
        assert not policies
        return
    for name, (labels, _) in pods(value_set).items():
        binding = [found for found in policies.values() if selects(found["spec"]["podSelector"], labels)]
        assert len(binding) == 1, name
        assert binding[0]["spec"]["policyTypes"] == ["Ingress", "Egress"], name


@each_set
def test_policies_and_budgets_select_pods_that_are_there(value_set: str) -> None:
    labels = [found for found, _ in pods(value_set).values()]
    for name, found in of_kind(value_set, "NetworkPolicy").items():
        assert any(selects(found["spec"]["podSelector"], each) for each in labels), name
    for name, found in of_kind(value_set, "PodDisruptionBudget").items():
        assert any(selects(found["spec"]["selector"], each) for each in labels), name


@each_set
def test_whom_a_policy_lets_in_may_go_there(value_set: str) -> None:
    """Both ends of every connection between two of our pods: the one's egress, the other's ingress, the port."""
    if value_set == "plain":
        return
    all_labels = {labels["app"]: labels for labels, _ in pods(value_set).values()}
    policies = of_kind(value_set, "NetworkPolicy").values()
    by_app = {found["spec"]["podSelector"]["matchLabels"]["app"]: found["spec"] for found in policies}
    out: set[tuple[str, str, int]] = set()
    into: set[tuple[str, str, int]] = set()
    for app, spec in by_app.items():
        for rules, peers, found in ((spec["egress"], "to", out), (spec["ingress"], "from", into)):
            for rule in rules:
                for peer in rule[peers]:
                    for other, labels in all_labels.items():
                        if "podSelector" in peer and selects(peer["podSelector"], labels):
                            pair = (app, other) if peers == "to" else (other, app)
                            found |= {(*pair, port["port"]) for port in rule["ports"]}
    assert out == into


@each_set
def test_services_lead_to_ports_of_pods(value_set: str) -> None:
    for name, service in of_kind(value_set, "Service").items():
        specs = [
            spec
            for labels, spec in pods(value_set).values()
            if selects({"matchLabels": service["spec"]["selector"]}, labels)
        ]
        assert len(specs) == 1, name
        open_ports = {port["containerPort"] for found in specs[0]["containers"] for port in found["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports, name


@each_set
def test_monitors_match_a_service_and_its_port_by_name(value_set: str) -> None:
    monitors = of_kind(value_set, "ServiceMonitor")
    assert len(monitors) == (0 if value_set == "plain" else 3)
    for name, monitor in monitors.items():
        services = [
            found
            for found in of_kind(value_set, "Service").values()
            if selects(monitor["spec"]["selector"], found["metadata"]["labels"])
        ]
        assert len(services) == 1, name
        ports = {port["name"] for port in services[0]["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports, name


@each_set
def test_autoscalers_and_the_ingress_name_what_is_there(value_set: str) -> None:
    deployments, services = of_kind(value_set, "Deployment"), of_kind(value_set, "Service")
    for name, scaler in of_kind(value_set, "HorizontalPodAutoscaler", "ScaledObject").items():
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments, name
    for ingress in of_kind(value_set, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = services[backend["name"]]["spec"]["ports"]
                assert backend["port"]["number"] in {port["port"] for port in ports}


@each_set
def test_claims_and_secrets_of_pods_are_made_or_given(value_set: str) -> None:
    """`my-…` are the operator's own; external secrets make theirs."""
    made = {name_of(found) for found in render_all(value_set)}
    for name, (_, spec) in pods(value_set).items():
        for volume in spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                assert f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}" in made, name
    for name, container in containers(value_set):
        sources = [source["secretRef"]["name"] for source in container.get("envFrom", []) if "secretRef" in source]
        sources += [
            each["valueFrom"]["secretKeyRef"]["name"]
            for each in container.get("env", [])
            if "secretKeyRef" in each.get("valueFrom", {})
        ]
        for source in sources:
            is_made = {f"Secret/{source}", f"ExternalSecret/{source}"} & made
            is_given = source.startswith("my-") or (
                value_set == "guide" and source in {"postgres-secret", "copilot-operator"}
            )
            assert is_made or is_given, name


@each_set
def test_whoever_has_a_stores_url_has_the_certificates_that_it_may_name(value_set: str) -> None:
    """And nobody has any, where none are given."""
    given = "stores-ca" if value_set == "external-data" else None
    for name, (_, spec) in pods(value_set).items():
        for container in spec["containers"]:
            calls = "envFrom" in container or any("DATABASE_URL" in each["name"] for each in container.get("env", []))
            mounts = {each["name"]: each["mountPath"] for each in container.get("volumeMounts", [])}
            assert (mounts.get("ca") == "/etc/copilot-ca") == (given is not None and calls), name
            if "ca" in mounts:
                assert {"name": "ca", "configMap": {"name": given}} in spec["volumes"], name


@each_set
def test_what_prometheus_sees_is_not_public(value_set: str) -> None:
    paths = [
        path["path"]
        for ingress in of_kind(value_set, "Ingress").values()
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    is_public = any("/metrics".startswith(path) for path in paths)
    assert is_public == (value_set == "guide")  # its own value, `/`: docs/adr/0028-charts.md


def test_everything_but_the_metrics_can_be_reached_from_outside() -> None:
    (rule,) = of_kind("default", "Ingress")["copilot-ingress"]["spec"]["rules"]
    public = tuple(f"{path['path']}/" for path in rule["http"]["paths"])
    routes = {path for _, path in ROUTES} | {"/docs", "/schema/openapi.json"}
    assert {path for path in routes if not f"{path}/".startswith(public)} == {"/metrics"}


def _ports(rule: Manifest) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for port in rule["ports"]}


@each_set
def test_pods_that_call_anyone_may_ask_for_names(value_set: str) -> None:
    for name, policy in of_kind(value_set, "NetworkPolicy").items():
        rules = policy["spec"]["egress"]
        assert not rules or any(_ports(rule) == {("UDP", 53), ("TCP", 53)} for rule in rules), name


@each_set
def test_services_reach_providers_but_no_address_inside_the_cluster_that_was_not_named(value_set: str) -> None:
    for name in ("api-policy", "workflow-engine-policy", "context-service-policy"):
        if value_set == "plain":
            continue
        rules = of_kind(value_set, "NetworkPolicy")[name]["spec"]["egress"]
        blocks = [
            (peer["ipBlock"], rule) for rule in rules for peer in rule["to"] if peer.get("ipBlock", {}).get("except")
        ]
        assert {block["cidr"] for block, _ in blocks} == {"0.0.0.0/0", "::/0"}
        for block, rule in blocks:
            assert ("TCP", 443) in _ports(rule)
            inside = (
                ["10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"] if "." in block["cidr"] else ["fd00::1"]
            )
            for address in map(ip_address, inside):
                assert any(address in ip_network(found) for found in block["except"]), address


def test_all_three_services_reach_a_collector_where_one_is_named() -> None:
    for name in ("api-policy", "workflow-engine-policy", "context-service-policy"):
        for value_set, expected in (("external-data", 1), ("default", 0)):
            rules = of_kind(value_set, "NetworkPolicy")[name]["spec"]["egress"]
            assert len([rule for rule in rules if _ports(rule) == {("TCP", 4318)}]) == expected, (name, value_set)


@each_set
def test_prometheus_and_the_ingress_controller_may_come_in(value_set: str) -> None:
    if value_set == "plain":
        return
    ports = {"api-policy": "copilot-api", "workflow-engine-policy": "copilot-workflow-engine"}
    for policy, service in (ports | {"context-service-policy": "copilot-context-service"}).items():
        (container,) = of_kind(value_set, "Deployment")[service]["spec"]["template"]["spec"]["containers"]
        allowed = {
            tuple(peer["namespaceSelector"]["matchLabels"].values())
            for rule in of_kind(value_set, "NetworkPolicy")[policy]["spec"]["ingress"]
            for peer in rule["from"]
            if "namespaceSelector" in peer and ("TCP", container["ports"][0]["containerPort"]) in _ports(rule)
        }
        assert ("monitoring",) in allowed
        assert (("ingress-nginx",) in allowed) == (service == "copilot-api")
