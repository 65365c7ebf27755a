import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mer_ray.core.batch import Batch, StreamSpec, TaskSpec
from mer_ray.core.errors import ConfigError
from mer_ray.models._context_transformer import ContextTransformer
from mer_ray.models._guided_fusion import GuidedFusion
from mer_ray.models._multimodal_fusion import AdaptiveFusion, GuideGate
from mer_ray.models._plain_fusion import PlainFusion
from mer_ray.models.audio_guided import AudioGuidedConfig, AudioGuidedFusion, guided_fusion, matched_feed_forward, plain_fusion
from mer_ray.models.contract import FACE, STREAMS, TASK, TONE, WORDS, build, make_batch

FRAMES = tuple(replace(spec, is_sequence=True) for spec in STREAMS)
SMALL = AudioGuidedConfig(hidden=8, num_heads=2, feed_forward=12)
GATED = SMALL.model_copy(update={"fallback": "gate"})
WIDTH, HEADS = 6, 2


# The formulas again, clip by clip, without padding, in NumPy.


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    bias = 0.0 if layer.bias is None else layer.bias.detach().double().numpy()
    return x @ layer.weight.detach().double().numpy().T + bias


def layer_norm(norm: nn.LayerNorm, x: np.ndarray) -> np.ndarray:
    scaled = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + norm.eps)
    return scaled * norm.weight.detach().double().numpy() + norm.bias.detach().double().numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def transformer_block(block: nn.Module, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    q, k, v = (
        linear(layer, x)
        for layer, x in zip((block.attention.query, block.attention.key, block.attention.value), (queries, keys, keys), strict=True)
    )
    parts = np.split(np.arange(WIDTH), HEADS)
    heads = [softmax(q[:, part] @ k[:, part].T / math.sqrt(WIDTH / HEADS)) @ v[:, part] for part in parts]
    x = layer_norm(block.attention_norm, queries + linear(block.attention.output, np.concatenate(heads, axis=1)))
    return layer_norm(block.feed_forward_norm, x + linear(block.feed_forward[3], gelu(linear(block.feed_forward[0], x))))


def of_clip(x: Tensor, mask: Tensor, clip: int) -> np.ndarray:
    return x[clip][mask[clip]].double().numpy()


def scrambled(module: nn.Module) -> nn.Module:
    """Random weights throughout, so that norms and biases show."""
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight))
    return module.eval()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_context_transformer_is_cross_attention_then_self_attention_then_a_mean(num_layers: int):
    transformer = scrambled(ContextTransformer(WIDTH, HEADS, 5, num_layers, 0.3, is_pooled=False, is_guide_pooled=False))
    guide, x = torch.randn(2, 4, WIDTH), torch.randn(2, 3, WIDTH)
    guide_mask = torch.tensor([[True, True, True, False], [False, True, False, True]])
    mask = torch.tensor([[True, False, True], [False, True, False]])
    found = transformer(guide, guide_mask, x, mask).detach().numpy()
    for clip in range(2):
        context = of_clip(guide, guide_mask, clip)
        for cross, own in zip(transformer.cross_blocks, transformer.self_blocks, strict=True):
            context = transformer_block(cross, context, of_clip(x, mask, clip))
            context = transformer_block(own, context, context)
        assert np.allclose(found[clip], context.mean(axis=0), atol=1e-4)


def test_adaptive_fusion_weighs_by_cosine_gates_channels_and_keeps_the_guide():
    fusion = scrambled(AdaptiveFusion(WIDTH, 3, temperature=0.4))
    guide, streams = torch.randn(2, WIDTH), torch.randn(2, 3, WIDTH)
    streams[:, 0] = guide
    present = torch.tensor([[True, True, True], [True, False, True]])
    z, weights = fusion(guide, streams, present)
    for clip in range(2):
        h, g = streams[clip].double().numpy(), guide[clip].double().numpy()
        there = np.flatnonzero(present[clip].numpy())
        similarity = np.array([h[m] @ g / np.linalg.norm(h[m]) / np.linalg.norm(g) for m in there])
        assert math.isclose(similarity[0], 1.0)
        wanted = softmax(similarity / 0.4)
        gates = [sigmoid(linear(gate[2], gelu(linear(gate[0], h[m])))) for m, gate in enumerate(fusion.channel_gates)]
        assert np.allclose(weights[clip, there].detach().numpy(), wanted, atol=1e-6)
        assert np.allclose(z[clip].detach().numpy(), g + sum(w * gates[m] * h[m] for w, m in zip(wanted, there, strict=True)), atol=1e-5)
    assert weights[1, 1] == 0


def test_a_low_temperature_leaves_the_stream_that_agrees_most():
    guide = torch.tensor([[1.0, 0.0]])
    streams = torch.tensor([[[0.0, 2.0], [3.0, 0.1], [-1.0, 0.0]]])
    _, weights = AdaptiveFusion(2, 3, temperature=0.01)(guide, streams, torch.ones(1, 3, dtype=torch.bool))
    assert torch.allclose(weights, torch.tensor([[0.0, 1.0, 0.0]]), atol=1e-6)


def test_the_model_is_these_stages_with_linear_heads_for_values():
    model, batch = build(SMALL, FRAMES).eval(), make_batch(FRAMES, probability=0.7)
    tokens = [projection(batch) for projection in model.projections]
    present = torch.stack([batch.present[spec.name] for spec in FRAMES], dim=1)
    z, weights, _ = model.guided(tokens, present)
    found = model(batch)
    assert torch.equal(found.logits, model.emotion_head(z))
    assert torch.equal(torch.stack(list(found.values.values()), dim=1), model.value_heads(z))
    assert found.attention_names == (TONE, FACE, WORDS) and torch.equal(found.attention.nan_to_num(0.0), weights)


def test_frames_have_positions_and_pooled_streams_have_none():
    def logits(order: list[int]) -> Tensor:
        batch.streams[TONE], batch.frame_masks[TONE] = frames[:, order], torch.ones(2, 3, dtype=torch.bool)
        return model(batch).logits

    model = build(SMALL, FRAMES).eval()
    batch, frames = make_batch(FRAMES, num_clips=2), torch.randn(2, 3, 12)
    assert not torch.allclose(logits([0, 1, 2]), logits([2, 1, 0]), atol=1e-4)
    pooled = build(SMALL, STREAMS).eval()
    tokens, mask = pooled.projections[0](make_batch(STREAMS, num_clips=2))
    projection = pooled.projections[0]
    assert torch.equal(tokens[:, 0], projection.norm(projection.linear(make_batch(STREAMS, num_clips=2).streams[TONE]))) and bool(
        mask.all()
    )


@pytest.mark.parametrize(("guide", "name"), [("audio", TONE), ("vision", FACE), ("text", WORDS), (FACE, FACE), (WORDS, WORDS)])
def test_any_stream_can_guide(guide: str, name: str):
    model = build(SMALL.model_copy(update={"guide": guide}), FRAMES).eval()
    assert model.streams[model.guide].name == name
    # The guide is like itself: no stream outweighs it.
    attention = model(make_batch(FRAMES)).attention
    assert torch.equal(attention.argmax(dim=1), torch.full((8,), model.guide))
    assert len(model.guided.context_transformers) == 2


def test_a_stream_named_like_a_modality_is_meant_by_its_name():
    streams = (StreamSpec("a", "audio", 3), StreamSpec("audio", "vision", 3))
    assert SMALL.guide_of(streams) == 1


def test_a_guide_that_is_several_streams_or_none_is_refused_before_anything_is_read():
    speech = (StreamSpec("hubert", "audio", 3), StreamSpec("wavlm", "audio", 3), StreamSpec("face", "vision", 3))
    for check in (SMALL.check_streams, lambda streams: SMALL.build(streams, TASK)):
        with pytest.raises(ConfigError, match=r"^guide: 'audio' is several inputs; name the one that guides: hubert, wavlm$"):
            check(speech)
        with pytest.raises(ConfigError, match=r"^guide: 'audio' is none of the inputs nor their modality; name one of face \(vision\)$"):
            check(speech[2:])
    assert SMALL.model_copy(update={"guide": "wavlm"}).guide_of(speech) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden": 10, "num_heads": 4}, "num_heads: 4 heads cannot share hidden 10 evenly; choose a divisor of it"),
        ({"fusion": "plain", "fallback": "gate"}, "fallback: plain fusion has no guide to fall back from"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_one_line(config: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        AudioGuidedConfig(**config)


def test_without_the_guide_a_learnt_token_asks_in_its_place():
    for streams in (STREAMS, FRAMES):
        model, batch = build(SMALL, streams).eval(), make_batch(streams, missing=(TONE,))
        fusion = model.guided
        assert isinstance(fusion, GuidedFusion)
        tokens = [projection(batch) for projection in model.projections]
        _, weights, guide = fusion(tokens, torch.tensor([[False, True, True]]).expand(8, -1))
        assert torch.equal(guide, fusion.absent_guide.expand(8, -1)) and bool((weights[:, 0] == 0).all())
        # It asks the others: what they say still counts.
        other = make_batch(streams, missing=(TONE, FACE))
        assert not torch.allclose(model(batch).logits, model(other).logits, atol=1e-4)
        torch.autograd.backward(model(batch).logits.sum())
        assert bool(fusion.absent_guide.grad.all())


def test_the_learnt_token_is_no_token_of_a_guide_that_is_there():
    model, batch = build(SMALL, FRAMES).eval(), make_batch(FRAMES, num_clips=2)
    (x, mask), token = model.projections[0](batch), model.guided.absent_guide
    _, _, guide = model.guided([projection(batch) for projection in model.projections], torch.ones(2, 3, dtype=torch.bool))
    wanted = [(x[clip][mask[clip]] + token).mean(dim=0) for clip in range(2)]
    assert torch.allclose(guide, torch.stack(wanted), atol=1e-6)


def test_plain_fusion_is_self_attention_over_all_tokens_then_a_mean_of_means():
    fusion = scrambled(PlainFusion(WIDTH, HEADS, 5, 2, 0.3, is_single_token=False))
    frames, vector = torch.randn(3, 4, WIDTH), torch.randn(3, 1, WIDTH)
    mask = torch.tensor([[True, False, True, True], [True] * 4, [False] * 4])
    there = torch.tensor([[True], [False], [False]])
    found = fusion([(frames, mask), (vector, there)]).detach().numpy()
    for clip, num_frames in enumerate((3, 4)):
        x = np.concatenate([of_clip(frames, mask, clip), of_clip(vector, there, clip)])
        for block in fusion.blocks:
            x = transformer_block(block, x, x)
        means = [part.mean(axis=0) for part in (x[:num_frames], x[num_frames:]) if len(part)]
        assert np.allclose(found[clip], np.mean(means, axis=0), atol=1e-4)
    assert not found[2].any()


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("streams", [STREAMS, FRAMES, STREAMS[:2], FRAMES[:1] + STREAMS[1:], STREAMS[:1] + FRAMES[1:]])
def test_the_control_has_as_many_parameters(streams: tuple[StreamSpec, ...], num_layers: int):
    wide = (*streams, StreamSpec("more", "text", 40), StreamSpec("faces", "vision", 30, is_sequence=True))
    for inputs in (streams, wide):
        config = AudioGuidedConfig(num_layers=num_layers)
        control = config.model_copy(update={"fusion": "plain"})
        fused, plain = (
            sum(x.numel() for x in module.parameters())
            for module in (guided_fusion(config, inputs), plain_fusion(config, inputs, matched_feed_forward(config, inputs)))
        )
        assert abs(plain / fused - 1) < 0.02
        whole, whole_control = (sum(x.numel() for x in one.build(inputs, TASK).parameters()) for one in (config, control))
        assert abs(whole_control / whole - 1) < 0.02


def test_the_control_has_no_guide():
    control = SMALL.model_copy(update={"fusion": "plain"})
    found = build(control, FRAMES)(make_batch(FRAMES))
    assert found.attention is None and not found.facts
    assert not [module for module in build(control, FRAMES).modules() if isinstance(module, (GuidedFusion, GuideGate))]


def presence(rows: list[list[int]]) -> Batch:
    """Clips of frames, of which each has the streams of its row."""
    batch = make_batch(FRAMES, num_clips=len(rows))
    for spec, has in zip(FRAMES, torch.tensor(rows, dtype=torch.bool).unbind(dim=1), strict=True):
        batch.present[spec.name] = has
        batch.frame_masks[spec.name] &= has[:, None]
    return batch


def test_the_gate_mixes_both_paths_and_is_exact_where_there_is_nothing_to_choose():
    model = build(GATED, FRAMES).eval()
    batch = presence([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]])
    found = model(batch)
    gate = found.facts["guide_gate"]
    assert gate.dtype == torch.float32 and 0 < gate[0] < 1 and gate[1] == 0 and gate[2] == 1 and gate[3].isnan() and 0 < gate[4] < 1
    tokens = [projection(batch) for projection in model.projections]
    guided, _, _ = model.guided(tokens, torch.stack(list(batch.present.values()), dim=1))
    plain, share = model.unguided(tokens[1:]), gate.nan_to_num(0.0)[:, None]
    assert torch.allclose(found.logits, model.emotion_head(share * guided + (1 - share) * plain), atol=1e-6)
    assert torch.equal(found.logits[1], model.emotion_head(plain)[1]) and bool(found.logits.isfinite().all())


def test_the_gate_of_a_guide_without_others_says_whether_it_is_there():
    model, batch = build(GATED, FRAMES[:1]).eval(), presence([[1, 0, 0], [0, 0, 0]])
    assert torch.allclose(model(batch).facts["guide_gate"], torch.tensor([1.0, torch.nan]), equal_nan=True)


def clips_of_which_half_have_a_noisy_guide(seed: int) -> tuple[Batch, Tensor]:
    """Clean guides tell the class, noisy ones are loud and tell nothing; words tell it less surely. Which guides are noisy, bool (B,)."""
    generator, num_clips = torch.Generator().manual_seed(seed), 96
    emotion = torch.arange(num_clips) % 2
    sign = (2.0 * emotion - 1)[:, None]
    is_noisy = torch.arange(num_clips) % 4 >= 2
    clean, noise = sign + 0.3 * torch.randn(num_clips, 6, generator=generator), 4.0 * torch.randn(num_clips, 6, generator=generator)
    features = {
        "tone": torch.where(is_noisy[:, None], noise, clean),
        "words": 0.3 * sign + torch.randn(num_clips, 5, generator=generator),
    }
    return Batch(features, {name: torch.ones(num_clips, dtype=torch.bool) for name in features}, emotion, {}), is_noisy


def test_the_gate_learns_to_close_on_a_corrupted_guide():
    torch.manual_seed(0)
    config = AudioGuidedConfig(hidden=8, num_heads=2, feed_forward=8, fallback="gate", dropout=0.0)
    model = config.build((StreamSpec("tone", "audio", 6), StreamSpec("words", "text", 5)), TaskSpec(("sad", "glad")))
    (batch, _), (others, is_noisy) = (clips_of_which_half_have_a_noisy_guide(seed) for seed in (0, 1))

    def difference() -> Tensor:
        gate = model(others).facts["guide_gate"]
        return gate[~is_noisy].mean() - gate[is_noisy].mean()

    untrained = difference()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(batch).logits, batch.emotion))
        optimiser.step()
    assert difference() > untrained + 0.1


@pytest.mark.parametrize("config", [SMALL, GATED, SMALL.model_copy(update={"fusion": "plain"})], ids=["guided", "gate", "plain"])
def test_outputs_are_float32_under_autocast(config: AudioGuidedConfig):
    model = build(config, FRAMES)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(make_batch(FRAMES, probability=0.5))
    assert {x.dtype for x in (found.logits, *found.values.values(), *found.facts.values())} == {torch.float32}
    assert isinstance(model, AudioGuidedFusion) and bool(found.logits.isfinite().all())


@pytest.mark.parametrize("config", [SMALL, GATED, SMALL.model_copy(update={"fusion": "plain"})], ids=["guided", "gate", "plain"])
def test_padding_may_be_no_number(config: AudioGuidedConfig):
    model, batch = build(config, FRAMES).eval(), make_batch(FRAMES, probability=0.6)
    expected = model(batch).logits
    for name, mask in batch.frame_masks.items():
        batch.streams[name] = torch.where(mask[:, :, None], batch.streams[name], torch.nan)
    assert torch.equal(model(batch).logits, expected)
