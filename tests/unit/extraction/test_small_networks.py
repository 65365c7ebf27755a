"""Small random networks: the encoders read them, and they are what their seed makes of them."""

from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from mer_ray.encoders import AnyEncoder, encoder_identity
from mer_ray.extraction.small_networks import WRITERS, write_small_network


@pytest.mark.parametrize("name", WRITERS)
def test_an_encoder_reads_the_network_and_another_writing_is_the_same(name: str, tmp_path: Path) -> None:
    random_before = torch.random.get_rng_state()
    for folder in ("one", "two"):
        write_small_network(name, tmp_path / folder)
    assert torch.equal(torch.random.get_rng_state(), random_before)
    one, two = (TypeAdapter(AnyEncoder).validate_python({"name": name, "weights": str(tmp_path / folder)}) for folder in ("one", "two"))
    assert encoder_identity(one) == encoder_identity(two)
    assert one.build("cpu").layers == {f"layer_{number}": 64 for number in range(4)}
