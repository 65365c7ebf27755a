"""Ray's own code for AWS, as `ray up cluster/aws.yaml` calls it, on a simulated EC2: what it makes, and what it leaves alone."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cluster_lines import load
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config

pytestmark = pytest.mark.slow
REGION = "us-west-2"
MY_ADDRESS = "198.51.100.7/32"
OPEN_TO_ALL = "0.0.0.0/0"


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account with what cluster/README.md makes in it; Ray writes its SSH key into the home of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        ec2, iam = boto3.client("ec2", REGION), boto3.client("iam", REGION)
        ec2.create_security_group(GroupName="mer-ray", Description="cluster of mer_ray")
        ec2.authorize_security_group_ingress(GroupName="mer-ray", IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=MY_ADDRESS)
        for role in ("head", "worker"):
            iam.create_instance_profile(InstanceProfileName=f"mer-ray-{role}")
        yield ec2


def filled_in(ec2: Any) -> dict[str, Any]:
    config = load("aws.yaml")
    group = ec2.describe_security_groups(GroupNames=["mer-ray"])["SecurityGroups"][0]["GroupId"]
    for node in config["available_node_types"].values():
        node["node_config"]["SecurityGroupIds"] = [group]
    return config


def sources_of(ec2: Any) -> set[str]:
    """Every address range that any rule of the account lets in."""
    groups = ec2.describe_security_groups()["SecurityGroups"]
    return {place["CidrIp"] for group in groups for rule in group["IpPermissions"] for place in rule["IpRanges"]}


def test_ray_opens_no_port_and_makes_no_role(account: Any):
    bootstrap_aws(prepare_config(filled_in(account)))
    assert sources_of(account) == {MY_ADDRESS}
    assert {group["GroupName"] for group in account.describe_security_groups()["SecurityGroups"]} == {"default", "mer-ray"}
    assert boto3.client("iam", REGION).list_roles()["Roles"] == []


def test_a_group_that_ray_makes_itself_would_be_open_to_all(account: Any):
    config = filled_in(account)
    for node in config["available_node_types"].values():
        del node["node_config"]["SecurityGroupIds"]
    bootstrap_aws(prepare_config(config))
    assert OPEN_TO_ALL in sources_of(account)


def test_machines_start_as_the_file_says(account: Any):
    config = bootstrap_aws(prepare_config(filled_in(account)))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node in config["available_node_types"].items():
        provider.create_node(copy.deepcopy(node["node_config"]), {"ray-node-name": name}, 1)
    machines = {}
    for reservation in account.describe_instances()["Reservations"]:
        for machine in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
            machines[tags["Name"]] = machine
            assert tags["ray-cluster-name"] == "mer-ray"
            assert [group["GroupName"] for group in machine["SecurityGroups"]] == ["mer-ray"]
            assert machine["MetadataOptions"]["HttpTokens"] == "required"
    assert set(machines) == set(config["available_node_types"])
    assert {name for name, machine in machines.items() if machine.get("InstanceLifecycle") == "spot"} == {
        "gpu_spot",
        "gpu_spot_older",
        "cpu_spot",
    }
    for name, machine in machines.items():
        assert machine["IamInstanceProfile"]["Arn"].endswith("/mer-ray-head" if name == "head" else "/mer-ray-worker")


def test_machines_have_the_cores_and_gpus_that_the_file_says(account: Any):
    config = load("aws.yaml")
    bare = copy.deepcopy(config)
    for node in bare["available_node_types"].values():
        node["resources"] = {}
    found = AWSNodeProvider.fillout_available_node_types_resources(bare)["available_node_types"]
    for name, node in config["available_node_types"].items():
        if name != "head":
            assert {key: found[name]["resources"].get(key) for key in node["resources"]} == node["resources"]
