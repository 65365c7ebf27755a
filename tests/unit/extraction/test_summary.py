import pytest

from mer_ray.extraction.layout import Layout
from mer_ray.extraction.shard_report import ShardReport
from mer_ray.extraction.summary import ExtractSummary
from mer_ray.store.encoder_cost import EncoderCost


@pytest.mark.parametrize(
    ("layout", "device", "device_s"),
    [
        (Layout(4, 0.25, 8, "cuda"), "cuda", 1.5),
        (Layout(2, 0.0, 0, "cpu", threads_per_actor=4), "cpu", 24.0),
    ],
)
def test_a_cost_counts_the_share_of_the_device_and_clips_that_were_computed(layout: Layout, device: str, device_s: float) -> None:
    summary = ExtractSummary({"a": 0, "b": 0}, {"a": 0, "b": 0}, {})
    for seconds in (2.0, 4.0):
        summary.add(ShardReport(10, 60.0, done={"a": 9}, failed={"a": 1}, lacking={"a": 4}, encode_s={"a": seconds}))
    assert summary.cost_of("a", layout) == EncoderCost(device=device, num_clips=10, device_s=device_s)
    assert summary.cost_of("b", layout) is None
