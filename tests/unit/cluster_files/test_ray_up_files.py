"""The files for `ray up`: what Ray's schema takes, and which machine its autoscaler would start."""

import copy
import json
import logging
import re
from typing import Any

import pytest
from cluster_lines import RAY_UP_FILES, load
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from mer_ray.core.ray_machines import AUTOSCALES_TO, RESOURCES


@pytest.fixture(params=RAY_UP_FILES)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def starts(config: dict[str, Any], demand: dict[str, float], count: int, unavailable: tuple[str, ...] = ()) -> dict[str, int]:
    """Ask the scheduler of Ray which node types it would start for so many tasks, the head apart."""
    logging.disable(logging.INFO)
    try:
        types = AutoscalingConfig(copy.deepcopy(config), skip_content_hash=True).get_node_type_configs()
    finally:
        logging.disable(logging.NOTSET)
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=types,
        max_num_nodes=config["max_workers"] + 1,
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(demand)] * count),
        recoverable_resource_availabilities=dict.fromkeys(unavailable, 0.0),
    )
    reply = ResourceDemandScheduler(event_logger=None).schedule(request)
    return {launch.instance_type: launch.count for launch in reply.to_launch if launch.instance_type != "head"}


def test_ray_takes_the_file_with_its_own_defaults_filled_in(config: dict[str, Any]):
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert prepared["available_node_types"].keys() == config["available_node_types"].keys()
    assert prepared["head_start_ray_commands"] == config["head_start_ray_commands"]


def test_every_section_that_ray_would_fill_with_open_defaults_is_written_out(config: dict[str, Any]):
    assert {"head_start_ray_commands", "worker_start_ray_commands", "setup_commands", "head_setup_commands", "available_node_types"} <= set(
        config
    )


def test_nothing_runs_without_work_and_nothing_but_drivers_on_the_head(config: dict[str, Any]):
    types = config["available_node_types"]
    assert config["head_node_type"] == "head"
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["head"]["max_workers"] == 0
    workers = {name: node for name, node in types.items() if name != "head"}
    assert all(node.get("min_workers", 0) == 0 and node["max_workers"] >= 1 and node["idle_timeout_s"] <= 600 for node in workers.values())
    assert any("GPU" in node["resources"] for node in workers.values())
    assert any("GPU" not in node["resources"] for node in workers.values())


def test_a_gpu_comes_from_the_spot_market_first(config: dict[str, Any]):
    assert starts(config, {"CPU": 1, "GPU": 1}, 2) == {"gpu_spot": 2}


def test_on_demand_gpus_come_when_spot_is_full(config: dict[str, Any]):
    spot = sum(node["max_workers"] for name, node in config["available_node_types"].items() if name.startswith("gpu_spot"))
    launched = starts(config, {"CPU": 1, "GPU": 1}, spot + 1)
    assert launched["gpu_on_demand"] == 1
    assert sum(launched.values()) == spot + 1


def test_on_demand_gpus_come_when_spot_did_not_get_ready(config: dict[str, Any]):
    spot = tuple(name for name in config["available_node_types"] if name.startswith("gpu_spot"))
    assert starts(config, {"CPU": 1, "GPU": 1}, 1, unavailable=spot) == {"gpu_on_demand": 1}


def test_decoding_does_not_start_machines_with_gpus(config: dict[str, Any]):
    assert starts(config, {"CPU": 1}, 20) == {"cpu_spot": 2}


def test_spot_is_what_the_labels_say(config: dict[str, Any]):
    for name, node in config["available_node_types"].items():
        if name != "head":
            machine = node["node_config"]
            is_spot = machine.get("InstanceMarketOptions") == {"MarketType": "spot"} or machine.get("scheduling") == [{"preemptible": True}]
            assert node["labels"] == {"market": "spot" if is_spot else "on_demand"}, name


def test_aws_machines_stand_in_a_group_of_ours_so_that_ray_opens_no_port():
    from ray.autoscaler._private.aws.config import _configure_security_group

    config = load("aws.yaml")
    assert all(node["node_config"]["SecurityGroupIds"] == ["sg-put-yours-here"] for node in config["available_node_types"].values())
    assert "security_group" not in config["provider"]
    assert _configure_security_group(copy.deepcopy(config)) == config


def test_aws_machines_have_roles_of_ours_and_guarded_credentials():
    types = load("aws.yaml")["available_node_types"]
    for name, node in types.items():
        machine = node["node_config"]
        assert machine["IamInstanceProfile"] == {"Name": "mer-ray-head" if name == "head" else "mer-ray-worker"}
        assert machine["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        assert all(disk["Ebs"]["Encrypted"] for disk in machine["BlockDeviceMappings"])


def test_aws_roles_name_one_bucket_and_no_right_to_everything():
    for role in ("head", "worker"):
        for statement in load(f"aws_roles/{role}.json")["Statement"]:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            assert not any("*" in action for action in actions)
            if any(action.startswith("s3:") for action in actions):
                assert re.fullmatch(r"arn:aws:s3:::your-bucket(/\*)?", statement["Resource"])
    assert "ec2:" not in str(load("aws_roles/worker.json"))


def test_google_machines_stand_in_a_network_of_ours():
    for name, node in load("gcp.yaml")["available_node_types"].items():
        machine = node["node_config"]
        assert [interface["subnetwork"].rpartition("/")[2] for interface in machine["networkInterfaces"]] == ["mer-ray"], name
        assert machine["tags"] == {"items": ["mer-ray"]}


def test_jobs_are_told_what_the_cluster_grows_to(config: dict[str, Any]):
    """As many machines with a GPU as there may be, and the rest of all machines for decoding."""
    (line,) = [line for line in config["setup_commands"] if AUTOSCALES_TO in line]
    limit = json.loads(re.search(r"='(.*)'", line)[1].replace("\\", ""))
    workers = [node for name, node in config["available_node_types"].items() if name != "head"]
    with_gpu = [node for node in workers if "GPU" in node["resources"]]
    num_gpu_nodes = int(limit["GPU"])
    num_cpu_nodes = config["max_workers"] - num_gpu_nodes
    assert num_gpu_nodes <= sum(node["max_workers"] for node in with_gpu)
    assert num_cpu_nodes <= sum(node["max_workers"] for node in workers if node not in with_gpu)
    cpus = {kind: {node["resources"]["CPU"] for node in workers if (node in with_gpu) == kind} for kind in (True, False)}
    assert limit["CPU"] == num_gpu_nodes * cpus[True].pop() + num_cpu_nodes * cpus[False].pop()
    assert cpus == {True: set(), False: set()}
    assert set(limit) <= set(RESOURCES)
