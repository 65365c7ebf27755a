"""The files for Kubernetes: what KubeRay's definitions take, what its autoscaler makes of them, and what pods may do."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_lines import CLUSTER, KUBERAY_FILES, RAY_JOB_FILES, load
from jsonschema import Draft7Validator, ValidationError
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

import mer_ray
from mer_ray.core.ray_machines import AUTOSCALES_TO

OURS = {"app.kubernetes.io/part-of": "mer-ray"}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    packed = Path(__file__).with_name("kuberay_crds.json.gz").read_bytes()
    return {kind: closed(schema) for kind, schema in json.loads(gzip.decompress(packed)).items()}


def closed(schema: Any) -> Any:
    """A structural schema as Kubernetes applies it to a file: fields that it does not name are faults."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not is_open:
        made["additionalProperties"] = False
    return made


@pytest.fixture(params=KUBERAY_FILES)
def resource(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(f"kuberay/{request.param}")


def cluster_of(resource: dict[str, Any]) -> dict[str, Any]:
    return resource["spec"]["rayClusterSpec"] if resource["kind"] == "RayJob" else resource["spec"]


def pods_of(resource: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cluster = cluster_of(resource)
    pods = {"head": cluster["headGroupSpec"]["template"]}
    pods |= {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    if resource["kind"] == "RayJob":
        pods["submitter"] = resource["spec"]["submitterPodTemplate"]
    return pods


def test_kuberay_takes_the_file(resource: dict[str, Any], schemas: dict[str, Any]):
    assert resource["apiVersion"] == "ray.io/v1"
    Draft7Validator(schemas[resource["kind"]]).validate(resource)


def test_a_misspelt_field_would_be_found(schemas: dict[str, Any]):
    resource = load("kuberay/raycluster.yaml")
    resource["spec"]["workerGroupSpecs"][0]["idleTimeoutSecond"] = 300
    with pytest.raises(ValidationError, match="idleTimeoutSecond"):
        Draft7Validator(schemas["RayCluster"]).validate(resource)


def test_the_autoscaler_starts_from_the_head_alone_and_prefers_spot(resource: dict[str, Any]):
    config = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "mer-ray", "namespace": "emotion"}, "spec": cluster_of(resource)},
    )
    types = config["available_node_types"]
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert all(node["min_workers"] == 0 and node["max_workers"] >= 1 for name, node in types.items() if name != "headgroup")
    if "gpu-spot" in types:
        assert types["gpu-spot"]["resources"]["GPU"] == types["gpu-on-demand"]["resources"]["GPU"] == 1
        assert types["gpu-spot"]["priority"] > types["gpu-on-demand"]["priority"]
    assert cluster_of(resource)["enableInTreeAutoscaling"] is True
    assert cluster_of(resource)["autoscalerOptions"]["version"] == "v2"


@pytest.mark.parametrize("name", RAY_JOB_FILES)
def test_a_job_takes_its_cluster_with_it(name: str):
    spec = load(f"kuberay/{name}")["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > 0
    assert "runtimeEnvYAML" not in spec


def test_pods_run_our_image_within_limits_and_without_rights(resource: dict[str, Any]):
    for name, pod in pods_of(resource).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        # The autoscaler beside the head speaks with Kubernetes.
        assert name == "head" or spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["image"].endswith(f"/mer-ray:{mer_ray.__version__}"), name
            assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name
            assert container["resources"]["requests"] == container["resources"]["limits"], name
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), name
            assert {one["name"] for one in container.get("env", [])} <= {AUTOSCALES_TO}, name


def test_every_pod_falls_under_the_network_policy_and_no_service_leaves_the_cluster(resource: dict[str, Any]):
    assert all(pod["metadata"]["labels"] == OURS for pod in pods_of(resource).values())
    head = cluster_of(resource)["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    assert "enableIngress" not in head


def test_only_our_pods_and_the_operator_come_in(schemas: dict[str, Any]):
    policies = list(yaml.safe_load_all((CLUSTER / "kuberay" / "networkpolicy.yaml").read_text(encoding="utf-8")))
    # The same type within the definition of a cluster, which may ask the operator for a policy of its own.
    rules = schemas["RayCluster"]["properties"]["spec"]["properties"]["networkPolicy"]["properties"]["head"]["properties"]["ingressRules"]
    for policy in policies:
        assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        assert OURS.items() <= policy["spec"]["podSelector"]["matchLabels"].items()
        Draft7Validator(rules).validate(policy["spec"]["ingress"])
        # A rule without peers, or an empty selector, lets everybody in.
        for rule in policy["spec"]["ingress"]:
            assert rule["from"]
            assert all(selector["matchLabels"] for peer in rule["from"] for selector in peer.values())
    within, operator = (policy["spec"]["ingress"] for policy in policies)
    assert within == [{"from": [{"podSelector": {"matchLabels": OURS}}]}]
    assert [port["port"] for port in operator[0]["ports"]] == [8265]
    assert operator[0]["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kuberay-operator"}


def test_all_pods_see_one_folder():
    claim = load("kuberay/workspace.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in KUBERAY_FILES:
        for role, pod in pods_of(load(f"kuberay/{name}")).items():
            if role != "submitter":
                assert pod["spec"]["volumes"] == [{"name": "work", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}]


@pytest.mark.parametrize("name", [name for name in KUBERAY_FILES if "ray" in name])
def test_jobs_are_told_what_the_cluster_grows_to(name: str):
    cluster = cluster_of(load(f"kuberay/{name}"))
    (told,) = [
        one["value"] for one in pods_of(load(f"kuberay/{name}"))["head"]["spec"]["containers"][0]["env"] if one["name"] == AUTOSCALES_TO
    ]
    limits = [
        (group["maxReplicas"], group["template"]["spec"]["containers"][0]["resources"]["limits"]) for group in cluster["workerGroupSpecs"]
    ]
    limit = json.loads(told)
    assert limit["CPU"] == sum(number * int(one["cpu"]) for number, one in limits)
    assert limit.get("GPU", 0) == sum(number * int(one.get("nvidia.com/gpu", 0)) for number, one in limits)
    # Ray gives tasks 70 % of a machine's memory.
    assert 0 < limit["memory"] <= 0.7 * sum(number * int(one["memory"].removesuffix("Gi")) * 2**30 for number, one in limits)
