from pathlib import Path

import pytest

from mer_ray.core.config import load_yaml, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.submission.slurm_site import SlurmSite

EXAMPLE = Path(__file__).resolve().parents[3] / "cluster" / "slurm" / "site.yaml"
LEAST = {"cpus_per_node": 8, "memory_gb_per_node": 64, "hours": 2}


def parse(**changes: object) -> SlurmSite:
    return parse_config(SlurmSite, {**LEAST, **changes}, "site.yaml")


def test_the_example_is_a_site_file():
    site = parse_config(SlurmSite, load_yaml(EXAMPLE), str(EXAMPLE))
    assert site.nodes > 1
    assert site.setup


def test_an_unknown_key_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"site.yaml: partitions: unknown key; did you mean 'partition'"):
        parse(partitions="gpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "gpu; rm"}, "partition"),
        ({"sbatch": ["-p gpu"]}, "write each option in full as --name=value"),
        ({"sbatch": ["--constraint=a100\n--mem=1"]}, "write each option in full as --name=value"),
        ({"sbatch": ["--mem=1G"]}, "mer-ray sets --mem itself; leave it out"),
        ({"logs": "logs%j"}, "logs: 'logs%j': the sign '%' means something else to Slurm"),
        ({"scratch": "tmp"}, "scratch: tmp: write an absolute path of at most 20 characters"),
        ({"scratch": "/scratch/of/a/very/deep/tree"}, "at most 20 characters"),
        ({"gpu_type": "a100"}, "gpu_type: needs gpus_per_node"),
        ({"hours": 0.05}, "hours: 0.05 leaves no time before the end at stop_s, 120 s; allow 0.08 or more"),
        ({"array": 1}, "array"),
        ({"hours": None}, "hours"),
    ],
)
def test_what_slurm_would_misread_is_refused_in_one_line(changes: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_slurm_counts_in_whole_minutes():
    assert parse(hours=2).time_limit_min == 120
    assert parse(hours=0.151).time_limit_min == 10
