from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from mer_ray.core.batch import Batch, StreamSpec
from mer_ray.models.contract import FACE, STREAMS, TASK, TONE, WORDS, build, make_batch
from mer_ray.models.mult import CrossmodalBlock, CrossmodalTransformer, ModalityTokens, MultConfig

FRAMES = tuple(replace(spec, is_sequence=True) for spec in STREAMS)
NAMES = {"audio": TONE, "vision": FACE, "text": WORDS}
SMALL = MultConfig(hidden=8, num_heads=2, num_layers=2)


def attend(attention: nn.Module, queries: Tensor, keys: Tensor) -> Tensor:
    """One clip without padding, by torch's own kernel."""
    q, k, v = (
        layer(x).unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
        for layer, x in ((attention.query, queries), (attention.key, keys), (attention.value, keys))
    )
    return attention.output(functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1))


def crossmodal(transformer: CrossmodalTransformer, target: Tensor, source: Tensor | None) -> Tensor:
    """Z_{source -> target} of one clip by the formulas of section 3.2, residuals as in the official code."""
    x = target
    for block in transformer.blocks:
        keys = x if source is None else source
        x = x + attend(block.attention, block.attention_norm(x), block.attention_norm(keys))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return transformer.norm(x)


def test_every_modality_is_the_target_of_every_other_one():
    model, batch = build(SMALL, FRAMES).eval(), make_batch(FRAMES, num_clips=3)
    tokens = {modality: module(batch) for modality, module in model.tokens.items()}
    found = model.represent(batch)
    for clip in range(3):
        real = {modality: x[clip][mask[clip]] for modality, (x, mask) in tokens.items()}
        for target, sources in {"audio": ("vision", "text"), "vision": ("audio", "text"), "text": ("audio", "vision")}.items():
            module = model.targets[target]
            gathered = torch.cat([crossmodal(module.crossmodal[source], real[target], real[source]) for source in sources], dim=1)
            wanted = crossmodal(module.self_attention, gathered, None).mean(dim=0)
            assert torch.allclose(found[target][clip], wanted, atol=1e-4)
    h = torch.cat([found[modality] for modality in ("audio", "vision", "text")], dim=1)
    z = h + model.mix(h)
    predictions = model(batch)
    assert torch.equal(predictions.logits, model.heads.emotion_head(z))
    assert torch.equal(torch.stack(list(predictions.values.values()), dim=1), model.heads.value_heads(z))


@pytest.mark.parametrize(("target", "source"), [("audio", "vision"), ("vision", "text"), ("text", "audio")])
def test_information_flows_from_a_sources_real_frames_only(target: str, source: str):
    model, batch = build(SMALL, FRAMES).eval(), make_batch(FRAMES)
    batch.streams = {name: x.requires_grad_() for name, x in batch.streams.items()}
    # A weighted sum: the sum of what a LayerNorm gives is always the same.
    vector = model.represent(batch)[target]
    torch.autograd.backward((vector * torch.randn_like(vector)).sum())
    name = NAMES[source]
    reached = (batch.streams[name].grad != 0).any(dim=2)
    assert torch.equal(reached, batch.frame_masks[name]) and bool((~batch.frame_masks[name]).any())


def test_information_flows_both_ways_between_every_pair():
    model, batch = build(SMALL, FRAMES).eval(), make_batch(FRAMES)
    before = model.represent(batch)
    for modality, name in NAMES.items():
        changed = replace(batch, streams={**batch.streams, name: batch.streams[name] + 1.0})
        after = model.represent(changed)
        assert not [other for other in NAMES if torch.allclose(after[other], before[other], atol=1e-4)], modality


def test_an_absent_source_contributes_nothing():
    for streams in (STREAMS, FRAMES):
        model, batch = build(SMALL, streams).eval(), make_batch(streams, missing=(TONE,))
        x, mask = model.tokens["text"](batch)
        transformer = model.targets["text"].crossmodal["audio"]
        alone = x
        for block in transformer.blocks:
            alone = alone + block.feed_forward(block.feed_forward_norm(alone))
        assert torch.allclose(transformer(x, mask, model.tokens["audio"](batch)), transformer.norm(alone), atol=1e-6)
        assert not model.represent(batch)["audio"].any()


def test_the_targets_length_rules():
    torch.manual_seed(0)
    transformer = CrossmodalTransformer(8, 2, 2, 0.0, is_single_key=False)
    target, target_mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    for num_tokens in (1, 11):
        source = (torch.randn(2, num_tokens, 8), torch.ones(2, num_tokens, dtype=torch.bool))
        assert transformer(target, target_mask, source).shape == (2, 3, 8)


def test_every_block_looks_at_the_same_low_level_source():
    """Changing what the first block makes of the target changes no key of the second."""
    torch.manual_seed(0)
    transformer = CrossmodalTransformer(8, 2, 2, 0.0, is_single_key=False).eval()
    seen: list[Tensor] = []
    for block in transformer.blocks:
        block.attention.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    source = torch.randn(2, 4, 8)
    transformer(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool), (source, torch.ones(2, 4, dtype=torch.bool)))
    assert [torch.equal(keys, block.attention_norm(source)) for keys, block in zip(seen, transformer.blocks, strict=True)] == [True, True]


def test_one_modality_alone_keeps_its_self_attention():
    model, batch = build(SMALL, FRAMES[2:]).eval(), make_batch(FRAMES[2:], num_clips=2)
    assert not model.targets["text"].crossmodal and len(model.targets["text"].self_attention.blocks) == 1
    (x, mask), transformer = model.tokens["text"](batch), model.targets["text"].self_attention
    wanted = [crossmodal(transformer, x[clip][mask[clip]], None).mean(dim=0) for clip in range(2)]
    assert torch.allclose(model.represent(batch)["text"], torch.stack(wanted), atol=1e-5)


def test_streams_of_a_modality_follow_each_other_in_time():
    specs = (
        StreamSpec("slow", "audio", 3, is_sequence=True),
        StreamSpec("whole", "audio", 4),
        StreamSpec("fast", "audio", 5, is_sequence=True),
    )
    torch.manual_seed(0)
    tokens = ModalityTokens(specs, SMALL).eval()
    features = {"slow": torch.randn(1, 2, 3), "whole": torch.randn(1, 4), "fast": torch.randn(1, 6, 5)}
    masks = {"slow": torch.tensor([[True, False]]), "fast": torch.tensor([[True] * 5 + [False]])}
    batch = Batch(features, {name: torch.tensor([True]) for name in features}, torch.tensor([0]), {}, masks)
    x, mask = tokens(batch)
    assert x.shape == (1, 9, 8) and mask.tolist() == [[True, False, True, *[True] * 5, False]]
    whole = 8**0.5 * functional.conv1d(features["whole"][:, :, None], tokens.projections[1].weight[:, :, None])
    assert torch.allclose(x[:, 2], whole[:, :, 0], atol=1e-6)
    # Each stream's first frame has the first position: sines of 0 and cosines of 0.
    first = 8**0.5 * tokens.projections[2](features["fast"][:, 0]) + torch.tensor([0.0, 1.0] * 4)
    assert torch.allclose(x[:, 3], first, atol=1e-6)


def test_blocks_need_no_queries_where_a_source_is_one_token():
    torch.manual_seed(0)
    full, single = CrossmodalBlock(8, 2, 0.0, is_single_key=False), CrossmodalBlock(8, 2, 0.0, is_single_key=True)
    single.load_state_dict({name: full.state_dict()[name] for name in single.state_dict()})
    target, source, mask = torch.randn(2, 3, 8), torch.randn(2, 1, 8), torch.tensor([[True], [False]])
    assert torch.allclose(single(target, source, mask), full(target, source, mask), atol=1e-6)
    assert len(single.state_dict()) < len(full.state_dict())


def test_padding_may_be_no_number():
    model, batch = build(SMALL, FRAMES).eval(), make_batch(FRAMES, probability=0.6)
    expected = model(batch).logits
    for name, mask in batch.frame_masks.items():
        batch.streams[name] = torch.where(mask[:, :, None], batch.streams[name], torch.nan)
    assert torch.equal(model(batch).logits, expected)


def test_outputs_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        found = build(SMALL, FRAMES)(make_batch(FRAMES, probability=0.5))
    assert {x.dtype for x in (found.logits, *found.values.values())} == {torch.float32} and bool(found.logits.isfinite().all())


def test_heads_that_do_not_divide_the_width_are_refused_in_one_line():
    with pytest.raises(ValidationError, match="num_heads: 4 heads cannot share hidden 10 evenly; choose a divisor of it"):
        MultConfig(hidden=10, num_heads=4)
    assert len(build(MultConfig(hidden=10, num_heads=5), FRAMES, task=TASK).targets) == 3
