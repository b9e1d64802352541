"""The three-zone manifests render, are valid Kubernetes, and say what a quorum system needs them to say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from broker.node.settings import load

OVERLAY = Path(__file__).resolve().parents[2] / "deploy/kubernetes/overlays/three-zones"
KUBECTL = shutil.which("kubectl")
Manifest = dict[str, Any]
KINDS = ("client", "peer", "admin", "aws")

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: manifests cannot be rendered")


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    assert KUBECTL is not None
    rendered = subprocess.run([KUBECTL, "kustomize", str(OVERLAY)], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


@pytest.fixture
def stateful_sets(manifests: list[Manifest]) -> list[Manifest]:
    return _of_kind(manifests, "StatefulSet")


@pytest.fixture
def pods(stateful_sets: list[Manifest]) -> list[Manifest]:
    return [each["spec"]["template"]["spec"] for each in stateful_sets]


@pytest.fixture
def settings(manifests: list[Manifest]) -> dict[str, Any]:
    (config,) = _of_kind(manifests, "ConfigMap")
    return tomllib.loads(config["data"]["node.toml"])


def _environment(pod: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in pod["containers"][0]["env"]}


def test_every_manifest_is_valid_for_the_schema(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_nothing_is_left_to_fill_in(manifests: list[Manifest]) -> None:
    assert " ZONE" not in yaml.safe_dump(manifests)


def test_one_stateful_set_stands_in_each_of_three_zones(stateful_sets: list[Manifest]) -> None:
    assert [each["metadata"]["name"] for each in stateful_sets] == ["broker-a", "broker-b", "broker-c"]
    assert [each["spec"]["replicas"] for each in stateful_sets] == [1, 1, 1]
    for each, zone in zip(stateful_sets, "abc", strict=True):
        spec = each["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert labels["broker-zone"] == spec["selector"]["matchLabels"]["broker-zone"] == zone
        assert _environment(spec["template"]["spec"])["BROKER_ZONE"] == zone
        (term,) = spec["template"]["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        (expression,) = term["matchExpressions"]
        assert expression == {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [f"zone-{zone}"]}


def test_each_node_finds_itself_among_the_peers(stateful_sets: list[Manifest], settings: dict[str, Any]) -> None:
    peers = {(peer["id"], peer["zone"]) for peer in settings["peers"]}
    pods = {
        (each["metadata"]["name"] + "-0", _environment(each["spec"]["template"]["spec"])["BROKER_ZONE"])
        for each in stateful_sets
    }
    assert pods == peers


def test_addresses_go_through_the_headless_service(
    manifests: list[Manifest], pods: list[Manifest], settings: dict[str, Any]
) -> None:
    headless = [each for each in _of_kind(manifests, "Service") if each["spec"].get("clusterIP") == "None"]
    (service,) = headless
    name = service["metadata"]["name"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    for peer in settings["peers"]:
        assert peer["peer_address"] == f"{peer['id']}.{name}:4101"
        assert peer["client_address"] == f"{peer['id']}.{name}:4001"
        assert peer["admin_address"] == f"{peer['id']}.{name}:4201"
    for pod in pods:
        environment = _environment(pod)
        assert environment["BROKER_NODE"] == {"fieldRef": {"fieldPath": "metadata.name"}}
        assert environment["BROKER_ADVERTISE_CLIENT"] == f"$(BROKER_NODE).{name}:4001"
        assert environment["BROKER_ADVERTISE_PEER"] == f"$(BROKER_NODE).{name}:4101"
        assert environment["BROKER_ADVERTISE_ADMIN"] == f"$(BROKER_NODE).{name}:4201"


def test_every_node_accepts_its_settings(
    manifests: list[Manifest], stateful_sets: list[Manifest], tmp_path: Path
) -> None:
    (config,) = _of_kind(manifests, "ConfigMap")
    file = tmp_path / "node.toml"
    file.write_text(config["data"]["node.toml"], encoding="utf-8")
    for each in stateful_sets:
        node = f"{each['metadata']['name']}-0"
        environment = _environment(each["spec"]["template"]["spec"]) | {"BROKER_NODE": node}
        expanded = {name: value.replace("$(BROKER_NODE)", node) for name, value in environment.items()}
        settings = load(file, environment=expanded)
        assert settings.node == settings.this_peer().id == node
        assert settings.advertise_client == settings.this_peer().client_address


def test_a_pod_that_was_added_joins_under_its_own_address(
    manifests: list[Manifest], stateful_sets: list[Manifest], tmp_path: Path
) -> None:
    (config,) = _of_kind(manifests, "ConfigMap")
    file = tmp_path / "node.toml"
    file.write_text(config["data"]["node.toml"], encoding="utf-8")
    clients = next(each for each in _of_kind(manifests, "Service") if each["spec"].get("clusterIP") != "None")
    for each in stateful_sets:
        assert each["spec"]["podManagementPolicy"] == "Parallel"
        founder, added = (f"{each['metadata']['name']}-{number}" for number in (0, 1))
        environment = _environment(each["spec"]["template"]["spec"])
        for node, joins in ((founder, False), (added, True)):
            texts = environment | {"BROKER_NODE": node}
            expanded = {name: value.replace("$(BROKER_NODE)", node) for name, value in texts.items()}
            settings = load(file, environment=expanded)
            assert settings.joins == joins
            assert settings.this_peer().peer_address == f"{node}.broker-peers:4101"
        assert settings.join == f"{clients['metadata']['name']}:4001"


def test_ports_of_settings_pods_and_services_agree(
    manifests: list[Manifest], pods: list[Manifest], settings: dict[str, Any]
) -> None:
    listening = {kind: int(settings[f"{kind}_listen"].rpartition(":")[2]) for kind in KINDS}
    for pod in pods:
        assert {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]} == listening
    for service in _of_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == listening[port["targetPort"]]


def test_probes_ask_the_admin_port(pods: list[Manifest]) -> None:
    for pod in pods:
        container = pod["containers"][0]
        asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert asked == {
            "startupProbe": {"path": "/livez", "port": "admin"},
            "livenessProbe": {"path": "/livez", "port": "admin"},
            "readinessProbe": {"path": "/readyz", "port": "admin"},
        }


def test_a_stopping_node_hands_leadership_over_in_time(pods: list[Manifest]) -> None:
    for pod in pods:
        shell, option, script = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert (shell, option) == ("sh", "-c")  # exec handlers do not expand $(BROKER_NODE) by themselves
        _, *words = shlex.split(script)
        assert words[:3] == ["broker", "handover", "$BROKER_NODE"]
        timeout = float(words[words.index("--timeout") + 1])
        assert timeout < pod["terminationGracePeriodSeconds"] == 60


def test_only_one_node_of_all_zones_may_be_disrupted(manifests: list[Manifest], stateful_sets: list[Manifest]) -> None:
    (budget,) = _of_kind(manifests, "PodDisruptionBudget")
    selector = budget["spec"]["selector"]["matchLabels"]
    assert budget["spec"]["maxUnavailable"] == 1
    for each in stateful_sets:
        assert selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        # an apply must not restart all three at once: a roll-out takes no notice of the budget
        assert each["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_pods_run_without_privileges(manifests: list[Manifest], pods: list[Manifest]) -> None:
    for pod in pods:
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["fsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    (account,) = _of_kind(manifests, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False


def test_only_the_data_directory_is_written(pods: list[Manifest], settings: dict[str, Any]) -> None:
    for pod in pods:
        writable = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if not each.get("readOnly")]
        assert writable == [settings["data_dir"]]


def test_only_brokers_reach_the_peer_port(manifests: list[Manifest]) -> None:
    (policy,) = _of_kind(manifests, "NetworkPolicy")
    open_to = [
        source
        for rule in policy["spec"]["ingress"]
        if any(port["port"] == "peer" for port in rule["ports"])
        for source in rule["from"]
    ]
    assert open_to == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "broker"}}}]
