"""Several models as one batched computation: attention written out runs under `torch.func.vmap`, and gives what each model gives."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from mer_ray.core.batch import Batch
from mer_ray.models.audio_guided import AudioGuidedConfig
from mer_ray.models.contract import STREAMS, build, make_batch
from mer_ray.models.mult import MultConfig

SIZES = {"hidden": 8, "num_heads": 2, "feed_forward": 16}
CONFIGS = {
    "guided": AudioGuidedConfig(**SIZES),
    "gate": AudioGuidedConfig(**SIZES, fallback="gate"),
    "plain": AudioGuidedConfig(**SIZES, fusion="plain"),
    "mult": MultConfig(hidden=8, num_heads=2, num_layers=1),
}
NUM_MODELS = 3


def outputs(predictions) -> dict[str, Tensor]:
    shown = {} if predictions.attention is None else {"attention": predictions.attention}
    return {"logits": predictions.logits, **predictions.values, **predictions.facts, **shown}


@pytest.mark.parametrize("is_sequence", [False, True], ids=["pooled", "frames"])
@pytest.mark.parametrize("name", CONFIGS)
def test_stacked_models_predict_and_learn_as_one_by_one(name: str, is_sequence: bool):
    streams = tuple(replace(spec, is_sequence=is_sequence) for spec in STREAMS)
    batch = make_batch(streams, num_clips=5, probability=0.7)
    models = [build(CONFIGS[name], streams, seed).eval() for seed in range(NUM_MODELS)]
    weights, buffers = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")

    def predict(weights, buffers, features, present, masks):
        return outputs(functional_call(skeleton, (weights, buffers), Batch(features, present, batch.emotion, batch.values, masks)))

    def loss(weights, buffers, *inputs):
        found = predict(weights, buffers, *inputs)
        return found["logits"].logsumexp(dim=1).sum() + found["valence"].square().sum()

    inputs = (batch.streams, batch.present, batch.frame_masks)
    shared = (0, 0, None, None, None)
    together = vmap(predict, in_dims=shared)(weights, buffers, *inputs)
    slopes = vmap(grad(loss), in_dims=shared)(weights, buffers, *inputs)
    for number, model in enumerate(models):
        for key, alone in outputs(model(batch)).items():
            assert torch.allclose(together[key][number], alone, atol=1e-5, equal_nan=True), key
        alone = grad(loss)(dict(model.named_parameters()), dict(model.named_buffers()), *inputs)
        for key, slope in alone.items():
            assert torch.allclose(slopes[key][number], slope, atol=1e-4, rtol=1e-3), key


@pytest.mark.parametrize("name", CONFIGS)
def test_stacked_models_train_with_dropout(name: str):
    streams = tuple(replace(spec, is_sequence=True) for spec in STREAMS)
    batch = make_batch(streams, num_clips=4)
    weights, buffers = stack_module_state([build(CONFIGS[name], streams).train()] * NUM_MODELS)
    skeleton = build(CONFIGS[name], streams).train()
    logits = vmap(lambda *state: functional_call(skeleton, state, batch).logits, randomness="different")(weights, buffers)
    assert bool(logits.isfinite().all()) and not torch.equal(logits[0], logits[1])
