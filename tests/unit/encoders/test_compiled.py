import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_models import save_small_speech

from mer_ray.core.media_types import Audio
from mer_ray.encoders import encoder_identity
from mer_ray.encoders.hubert import HubertEncoderConfig

SAMPLE_RATE_HZ = 16_000


def sound(seconds: float, seed: int) -> Audio:
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ))
    return Audio(samples.astype(np.float32), SAMPLE_RATE_HZ)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU, and there is no g++")
def test_compiled_blocks_give_the_same_features_and_are_compiled_few_times(tmp_path: Path) -> None:
    folder = save_small_speech(tmp_path, "hubert", "group")
    eager = HubertEncoderConfig(weights=str(folder), sequences=("layer_0", "layer_1", "layer_2"), window_s=2.0, overlap_s=0.5)
    compiled = eager.model_copy(update={"compile": True})
    assert encoder_identity(compiled) == encoder_identity(eager)
    encoder = compiled.build("cpu")
    expected = eager.build("cpu")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # Lengths on two rungs, with two to four rows: one compilation for each rung.
    calls = [[sound(seconds, number) for number, seconds in enumerate(call)] for call in ((0.4, 0.9), (1.0, 0.8, 0.5), (3.0, 3.1))]
    for clips in calls:
        for found, wanted in zip(encoder.encode(clips), expected.encode(clips), strict=True):
            for layer in encoder.layers:
                scale = np.abs(wanted.sequences[layer]).max()
                assert np.abs(found.sequences[layer] - wanted.sequences[layer]).max() < 1e-5 * scale
                assert np.abs(found.mean[layer] - wanted.mean[layer]).max() < 1e-5 * scale
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert not torch._dynamo.utils.counters["graph_break"]
    real, padded = encoder.padding()
    assert padded > real
    assert expected.padding()[1] < padded
