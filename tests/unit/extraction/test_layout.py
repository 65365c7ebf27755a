"""How machines are used, and which encoders share an actor."""

import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout, Machines, actor_bytes, cap_decoding, choose_layout
from mer_ray.extraction.passes import choose_passes, largest_bytes, needed_bytes

CPUS = Machines(8, 0.0, 32e9)
GPUS = Machines(16, 2.0, 64e9, gpu_bytes=24e9)


class HeavyConfig(HashingConfig):
    """An encoder that says how large it is."""

    size: float = 1e9
    spreads: bool = False

    def num_weight_bytes(self) -> int:
        return int(self.size)

    @property
    def spreads_over_gpus(self) -> bool:
        return self.spreads


def config(**changes: object) -> ExtractConfig:
    return parse_config(ExtractConfig, {"manifest": "m.parquet", "store": "store", "encoders": [{"name": "hashing"}], **changes}, "test")


def test_cpus_get_an_actor_each_and_no_decode_stage():
    assert choose_layout(config(), CPUS) == Layout(8, 0.0, 0, "cpu")


def test_gpus_get_an_actor_each_and_the_other_cores_decode():
    assert choose_layout(config(), GPUS) == Layout(2, 1.0, 14, "cuda")
    assert choose_layout(config(gpus_per_actor=0.5), GPUS) == Layout(4, 0.5, 12, "cuda")
    assert choose_layout(config(device="cpu"), GPUS) == Layout(16, 0.0, 0, "cpu")


def test_what_does_not_fit_is_refused_with_what_does():
    with pytest.raises(ClusterError, match="gpus_per_actor: 1 GPUs asked for, the cluster has 0"):
        choose_layout(config(gpus_per_actor=1), CPUS)
    with pytest.raises(ClusterError, match=r"num_actors: 3 do not fit on 16 CPUs and 2 GPUs beside a core .*; set num_actors=2 or less"):
        choose_layout(config(num_actors=3), GPUS)
    with pytest.raises(ClusterError, match=r"num_actors: 1 do not fit on 1 CPUs .*; set decode=in_actor"):
        choose_layout(config(decode="ahead"), Machines(1, 1.0, 8e9))
    with pytest.raises(ClusterError, match="device: cuda needs a GPU for each actor, the cluster has 0"):
        choose_layout(config(device="cuda"), CPUS)
    with pytest.raises(ClusterError, match=r"budget\.usd: bounds what GPUs cost; there are 0"):
        choose_layout(config(budget={"usd": 5}, price_per_gpu_hour=2), CPUS)
    with pytest.raises(ClusterError, match=r"gpus_per_actor: 1\.5 is neither a share of one GPU nor a whole number"):
        choose_layout(config(gpus_per_actor=1.5), GPUS)


def test_machines_without_a_spare_core_decode_in_the_actors():
    assert choose_layout(config(), Machines(1, 1.0, 8e9)) == Layout(1, 1.0, 0, "cuda")
    assert choose_layout(config(num_actors=8), Machines(8, 8.0, 64e9)) == Layout(8, 1.0, 0, "cuda")


def test_shares_of_a_gpu_do_not_reach_over_two():
    assert choose_layout(config(gpus_per_actor=0.6), Machines(16, 3.0, 64e9)).num_actors == 3
    assert choose_layout(config(gpus_per_actor=2), Machines(16, 5.0, 64e9)).num_actors == 2


def test_fewer_actors_where_memory_is_short_and_each_computes_on_more_cores():
    assert choose_layout(config(), CPUS, actor_bytes=7e9) == Layout(4, 0.0, 0, "cpu", threads_per_actor=2)
    assert choose_layout(config(), CPUS, actor_bytes=100e9) == Layout(1, 0.0, 0, "cpu", threads_per_actor=8)
    assert choose_layout(config(num_actors=2), CPUS).threads_per_actor == 4


def test_common_machines_hold_a_base_network():
    base = {"hubert": HeavyConfig(size=0.38e9)}
    for num_cpus, memory in ((2, 8e9), (4, 16e9), (8, 16e9), (32, 64e9), (64, 256e9)):
        machines = Machines(num_cpus, 0.0, 0.7 * memory)
        layout = choose_layout(config(), machines, largest_bytes(base))
        assert len(choose_passes(base, "cpu", actor_bytes(config(), machines, layout))) == 1


def test_decoding_is_capped_by_the_measured_ratio():
    layout = Layout(2, 1.0, 14, "cuda")
    assert cap_decoding(layout, decode_s=1.0, encode_s=1.0).num_decode_tasks == 3
    assert cap_decoding(layout, decode_s=0.01, encode_s=1.0).num_decode_tasks == 1
    assert cap_decoding(layout, decode_s=100.0, encode_s=1.0).num_decode_tasks == 14
    assert cap_decoding(Layout(8, 0.0, 0, "cpu"), 1.0, 1.0).num_decode_tasks == 0


def test_an_actor_has_its_share_of_the_memory():
    assert actor_bytes(config(), CPUS, choose_layout(config(), CPUS)) == 4e9
    assert actor_bytes(config(gpus_per_actor=0.5), GPUS, choose_layout(config(gpus_per_actor=0.5), GPUS)) == 12e9
    assert actor_bytes(config(actor_memory_gb=2.5), GPUS, choose_layout(config(), GPUS)) == 2.5e9
    with pytest.raises(ClusterError, match="actor_memory_gb: the memory of the GPUs is not known"):
        actor_bytes(config(), Machines(4, 1.0, 8e9), choose_layout(config(), Machines(4, 1.0, 8e9)))


def test_all_encoders_go_together_where_they_fit():
    encoders = {"spectral": SpectralConfig(), "gradient": GradientConfig(), "hashing": HashingConfig()}
    (only,) = choose_passes(encoders, "cpu", 4e9)
    assert only.keys == ("spectral", "gradient", "hashing")


def test_what_does_not_fit_follows_in_another_pass():
    encoders = {"a": HeavyConfig(size=2e9), "b": HeavyConfig(size=9e9), "c": HeavyConfig(size=4e9), "d": HashingConfig()}
    passes = choose_passes(encoders, "cuda", 12.5e9)
    assert [chosen.keys for chosen in passes] == [("b", "d"), ("a", "c")]
    assert all(chosen.num_bytes == needed_bytes({key: encoders[key] for key in chosen.keys}, "cuda") <= 12.5e9 for chosen in passes)


def test_an_encoder_larger_than_an_actor_is_refused_before_anything_starts():
    with pytest.raises(ClusterError, match=r"encoder huge: needs about 33\.0 GB, an actor has 24\.0 GB; take machines with more memory"):
        choose_passes({"huge": HeavyConfig(size=30e9)}, "cuda", 24e9)
    assert len(choose_passes({"huge": HeavyConfig(size=30e9, spreads=True)}, "cuda", 24e9)) == 1


def test_parts_are_written_i_of_n():
    part = config(part="2/5").part
    assert part is not None
    assert (part.index, part.count, str(part)) == (2, 5, "2/5")
    for wrong, message in {
        "6/5": "part 6/5: the parts of 5 are 1/5 to 5/5",
        "two": "write part i/n",
        "0/3": "greater than or equal to 1",
    }.items():
        with pytest.raises(ConfigError, match=message):
            config(part=wrong)


def test_money_needs_a_price():
    with pytest.raises(ConfigError, match=r"budget\.usd: needs price_per_gpu_hour"):
        config(budget={"usd": 10})
    assert config(budget={"usd": 10}, price_per_gpu_hour=2.5).budget.usd == 10
