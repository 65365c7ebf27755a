import numpy as np
import pytest
import torch
from torch import nn

from mer_ray.core.batch import Batch, StreamSpec, TaskSpec
from mer_ray.core.errors import ConfigError
from mer_ray.models import VavlConfig
from mer_ray.models._masked_batch_norm import MaskedBatchNorm
from mer_ray.models._positions import sinusoidal_positions
from mer_ray.models._relative_attention import RelativeAttention, relative_shift
from mer_ray.models._vavl_official import FILES, load_official_state_dict

AUDIO, VISION = StreamSpec("tone", "audio", 12, True), StreamSpec("face", "vision", 9, True)
TASK = TaskSpec(("a", "b", "c"), ("arousal",))
SMALL = {"width": 16, "bottleneck": 8, "num_heads": 2, "num_encoder_blocks": 1, "kernel": 3}


def build(streams=(AUDIO, VISION), task=TASK, **changes):
    torch.manual_seed(0)
    return VavlConfig(**SMALL, **changes).build(streams, task)


def make_batch(num_clips=6, num_frames=5):
    torch.manual_seed(1)
    lengths = torch.tensor([5, 3, 1, 4, 2, 5])[:num_clips]
    mask = torch.arange(num_frames) < lengths[:, None]
    streams = {spec.name: torch.randn(num_clips, num_frames, spec.dim) * mask[:, :, None] for spec in (AUDIO, VISION)}
    present = {name: torch.ones(num_clips, dtype=torch.bool) for name in streams}
    labels = torch.arange(num_clips) % 3
    return Batch(streams, present, labels, {"arousal": torch.randn(num_clips)}, dict.fromkeys(streams, mask))


def without(batch, name):
    gone = torch.zeros(batch.num_clips, dtype=torch.bool)
    masks = {**batch.frame_masks, name: torch.zeros_like(batch.frame_masks[name])}
    return Batch(batch.streams, {**batch.present, name: gone}, batch.emotion, batch.values, masks)


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def test_parameters_are_the_official_ones():
    with torch.device("meta"):
        streams = (StreamSpec("a", "audio", 1024, True), StreamSpec("v", "vision", 1408, True))
        model = VavlConfig().build(streams, TaskSpec(tuple("abcdef")))
        separate = VavlConfig(shared=False).build(streams, TaskSpec(tuple("abcdef")))
    assert (count(model.encoders["audio"]), count(model.encoders["vision"])) == (19_046_912, 19_066_112)
    assert count(model.shared) == 12_910_080 and count(model.audio_visual_head) == 657_670
    assert count(model.heads["audio"]) == count(model.heads["vision"]) == 395_526
    assert (count(model.rebuilders["audio"]), count(model.rebuilders["vision"])) == (657_152, 755_840)
    assert count(separate) == pytest.approx(count(model), rel=0.05) and len(separate.shared) == 2


def test_relative_attention_is_the_sum_over_keys_written_out():
    torch.manual_seed(0)
    attention = RelativeAttention(8, 2, 0.0)
    x_BTH, lengths = torch.randn(2, 5, 8), (5, 3)
    mask_BT = torch.arange(5) < torch.tensor(lengths)[:, None]
    found = attention(x_BTH, mask_BT)
    for clip, length in enumerate(lengths):
        x_TH = x_BTH[clip, :length]
        query, key, value = (layer(x_TH).reshape(length, 2, 4) for layer in (attention.query, attention.key, attention.value))
        position = attention.position(sinusoidal_positions(length, 8, x_TH.device)).reshape(length, 2, 4)
        gathered = torch.zeros(length, 2, 4)
        for head in range(2):
            q_u, q_v = query[:, head] + attention.content_bias_NE[head], query[:, head] + attention.position_bias_NE[head]
            for i in range(length):
                scores = []
                for j in range(length):
                    if j <= i:
                        shifted = q_v[i] @ position[length - 1 - i + j, head]
                    else:
                        shifted = 0.0 if j == i + 1 else q_v[i + 1] @ position[j - i - 2, head]
                    scores.append((q_u[i] @ key[j, head] + shifted) / 8**0.5)
                gathered[i, head] = torch.stack(scores).softmax(dim=0) @ value[:, head]
        assert torch.allclose(found[clip, :length], attention.output(gathered.flatten(1)), atol=1e-5)


def test_the_shift_of_a_clip_without_padding_is_that_of_a_padded_column():
    scores = torch.randn(2, 3, 4, 4)
    padded = torch.cat([torch.zeros(2, 3, 4, 1), scores], dim=3).reshape(2, 3, 5, 4)[:, :, 1:].reshape(2, 3, 4, 4)
    assert torch.equal(relative_shift(scores, torch.tensor([4, 4])), padded)


def test_masked_batch_norm_is_torchs_on_the_real_frames():
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm(4), nn.BatchNorm1d(4)
    mask_BT = torch.tensor([[True, True, False], [True, False, False]])
    x_BTH = torch.randn(2, 3, 4, requires_grad=True)
    real = x_BTH.detach()[mask_BT].requires_grad_()
    wanted, weights = torch.randn(3, 4), torch.arange(1.0, 4.0)[:, None]
    ((ours(x_BTH, mask_BT)[mask_BT] - wanted).square() * weights).sum().backward()
    ((theirs(real) - wanted).square() * weights).sum().backward()
    assert torch.allclose(x_BTH.grad[mask_BT], real.grad, atol=1e-5) and not x_BTH.grad[~mask_BT].any()
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-5)
    assert torch.allclose(ours.running_mean, theirs.running_mean) and torch.allclose(ours.running_var, theirs.running_var)
    before = ours.running_mean.clone()
    ours(x_BTH, torch.zeros_like(mask_BT))
    assert torch.equal(ours.running_mean, before)
    assert torch.allclose(ours.eval()(x_BTH, mask_BT)[mask_BT], theirs.eval()(real), atol=1e-6)


def test_each_clip_is_predicted_by_the_head_of_what_it_has():
    model, batch = build().eval(), make_batch()
    sound, pictures = (model.forward_step(batch, step).logits for step in ("audio", "vision"))
    assert torch.allclose(model(without(batch, "face")).logits, sound) and torch.allclose(model(without(batch, "tone")).logits, pictures)
    assert torch.allclose(model(batch).logits, model.forward_step(batch, "audio_visual").logits)
    assert not model(without(without(batch, "tone"), "face")).logits.any()


def test_without_its_head_sound_and_pictures_are_averaged():
    model, batch = build(audio_visual_head=False).eval(), make_batch()
    parts = [model.forward_step(batch, step).logits.softmax(dim=1) for step in ("audio", "vision")]
    assert [step.name for step in model.steps] == ["vision", "audio"]
    assert torch.allclose(model(batch).logits.softmax(dim=1), torch.stack(parts).mean(dim=0), atol=1e-6)


def test_the_audio_visual_step_moves_its_head_alone():
    model, batch = build(dropout=0.5).train(), make_batch()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.forward_step(batch, "audio_visual").logits.sum().backward()
    head = {id(weight) for weight in model.audio_visual_head.parameters()}
    assert all((weight.grad is not None) == (id(weight) in head) for weight in model.parameters())
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers()) and model.shared.training


def test_statistics_and_reconstruction_are_those_of_clips_that_have_the_modality():
    model, batch = build().train(), make_batch()
    batch.present["face"][:3] = False
    batch.frame_masks["face"] = batch.frame_masks["face"] & batch.present["face"][:, None]
    few = Batch(
        {name: x[3:] for name, x in batch.streams.items()},
        {name: x[3:] for name, x in batch.present.items()},
        batch.emotion[3:],
        {},
        {name: x[3:] for name, x in batch.frame_masks.items()},
    )
    other = build().train()
    for network in (model, other):
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    found, expected = model.forward_step(batch, "vision"), other.forward_step(few, "vision")
    assert torch.allclose(found.logits[3:], expected.logits, atol=1e-5)
    for (name, buffer), (_, wanted) in zip(model.named_buffers(), other.named_buffers(), strict=True):
        assert torch.allclose(buffer, wanted, atol=1e-6), name
    mask = batch.frame_masks["face"][3]
    assert np.allclose(found.reconstructions["face"].target[3], batch.streams["face"][3][mask].mean(dim=0), atol=1e-6)


def test_one_modality_alone_is_a_model_too():
    model = build(streams=(AUDIO,))
    assert [step.name for step in model.steps] == ["audio"] and model.eval()(make_batch()).logits.shape == (6, 3)


def test_streams_that_it_does_not_read_are_refused():
    with pytest.raises(ConfigError, match="reads audio, vision only"):
        build(streams=(AUDIO, StreamSpec("words", "text", 4, True)))
    with pytest.raises(ConfigError, match="reads one audio stream, not tone, tone2"):
        build(streams=(AUDIO, StreamSpec("tone2", "audio", 4, True)))
    with pytest.raises(ConfigError, match="reads frames only"):
        build(streams=(StreamSpec("tone", "audio", 12),))


def official_files(model):
    """The model's own tensors under the official names, convolutions of length 1 as convolutions."""
    blocks = {
        "feed_forward": "0.module.sequential",
        "attention_norm": "1.module.layer_norm",
        "attention": "1.module.attention",
        "convolution.layer_norm": "2.module.sequential.0",
        "convolution.expand": "2.module.sequential.2.conv",
        "convolution.depthwise": "2.module.sequential.4.conv",
        "convolution.norm": "2.module.sequential.5",
        "convolution.reduce": "2.module.sequential.7.conv",
        "last_feed_forward": "3.module.sequential",
        "last_norm": "4",
    }
    attention = {
        "query.": "query_proj.linear.",
        "key.": "key_proj.linear.",
        "value.": "value_proj.linear.",
        "position.": "pos_proj.linear.",
        "output.": "out_proj.linear.",
        "content_bias_NE": "u_bias",
        "position_bias_NE": "v_bias",
    }
    heads = {"0": "projav1", "3": "projav2", "4": "out_layer"}
    files = {name: {} for name in FILES}
    for key, tensor in model.state_dict().items():
        file, official, ours = next(
            (name, official, ours) for name, pairs in FILES.items() for official, ours in pairs if key.startswith(f"{ours}.")
        )
        rest = key.removeprefix(f"{ours}.")
        if not official:
            layer, _, last = rest.partition(".")
            files[file][f"{heads[layer]}.{last}"] = tensor
            continue
        rest = rest.replace("projection.", "input_projection.0.linear.", 1) if rest.startswith("projection.") else rest
        if rest.startswith("blocks."):
            _, number, inner = rest.split(".", 2)
            module = next(name for name in blocks if inner.startswith(f"{name}."))
            last = inner.removeprefix(f"{module}.")
            if module == "attention":
                start = next(name for name in attention if last.startswith(name))
                last = attention[start] + last.removeprefix(start)
            if module in ("feed_forward", "last_feed_forward") and last[0] in "14":
                last = last.replace(".", ".linear.", 1)
            rest = f"layers.{number}.sequential.{blocks[module]}.{last}"
            if ".conv." in rest and rest.endswith("weight") and tensor.dim() == 2:
                tensor = tensor[:, :, None]
        files[file][f"{official}.{rest}"] = tensor[:, :, None] if official.startswith("conv_1d") else tensor
    files["final_acoustic_head"]["x_acoustic.encoder.conv_subsample.sequential.0.weight"] = torch.zeros(1)
    return files


def test_official_weights_are_taken_by_their_names():
    model, other, batch = build().eval(), build().eval(), make_batch()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    assert not torch.allclose(model(batch).logits, other(batch).logits)
    files = official_files(model)
    load_official_state_dict(other, files)
    assert torch.equal(model(batch).logits, other(batch).logits)
    del files["MLP_a_head"]["projav1.bias"]
    with pytest.raises(ConfigError, match=r"do not fit this model: heads\.audio\.0\.bias is missing"):
        load_official_state_dict(other, files)
