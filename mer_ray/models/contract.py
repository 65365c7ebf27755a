"""What every model promises: predicts whatever is missing, clip by clip, and every parameter of it can be trained, saved and loaded.

Shapes: B clips, T frames, D feature dimension, C classes, S streams.
"""

import io
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.core.contract import Check, require
from mer_ray.models._base import FusionModel, FusionModelConfig, TrainStep

# Streams are named by users and after encoders' layers: any sign may be in a name.
TONE, FACE, WORDS = "tone", "face.v2/layer_3", "words@0a1b2c3d"
STREAMS = (StreamSpec(TONE, "audio", 12), StreamSpec(FACE, "vision", 9), StreamSpec(WORDS, "text", 7))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence", "arousal"))
TOLERANCE = 1e-6
# Sums over more or fewer padded frames are rounded otherwise.
FRAME_TOLERANCE = 1e-5
NUM_OVER_FIT_STEPS = 300
MAX_FRAMES = 7
PADDING = 5


def build(config: FusionModelConfig, streams: Sequence[StreamSpec], seed: int = 0, task: TaskSpec = TASK) -> FusionModel:
    """A model whose weights follow from the seed."""
    torch.manual_seed(seed)
    return config.build(streams, task)


def stream_sets(config: FusionModelConfig) -> list[tuple[StreamSpec, ...]]:
    """The streams that a model is tried with: one of each modality that it reads, pooled and, where it takes them, as frames."""
    pooled = tuple(spec for spec in STREAMS if spec.modality in config.modalities)
    frames = tuple(replace(spec, is_sequence=True) for spec in pooled)
    return [*([pooled] if config.reads_pooled else []), *([frames] if config.reads_frames else [])]


def make_batch(streams: Sequence[StreamSpec], num_clips: int = 8, missing: Collection[str] = (), probability: float = 1.0) -> Batch:
    """Random features, each present with a probability, frames of any length; classes in turn, random values."""
    generator = torch.Generator().manual_seed(1)
    present = {spec.name: torch.rand(num_clips, generator=generator) < probability for spec in streams}
    for name in missing:
        present[name] = torch.zeros(num_clips, dtype=torch.bool)
    features, masks = {}, {}
    for spec in streams:
        shape = (num_clips, MAX_FRAMES, spec.dim) if spec.is_sequence else (num_clips, spec.dim)
        kept = present[spec.name][:, None]
        if spec.is_sequence:
            lengths_B = torch.randint(1, MAX_FRAMES + 1, (num_clips,), generator=generator)
            masks[spec.name] = (torch.arange(MAX_FRAMES) < lengths_B[:, None]) & kept
            kept = masks[spec.name][:, :, None]
        features[spec.name] = torch.randn(shape, generator=generator) * kept
    values = {name: torch.randn(num_clips, generator=generator) for name in TASK.values}
    return Batch(features, present, torch.arange(num_clips) % len(TASK.classes), values, masks)


def check_missing(config: FusionModelConfig) -> None:
    """Whatever is missing, also everything, there are finite predictions of the task's shape."""
    for streams in stream_sets(config):
        model, names = build(config, streams).eval(), [spec.name for spec in streams]
        for missing in ([], names[:1], names[1:], names):
            what = f"without {', '.join(missing)}" if missing else "with all streams"
            _check_predictions(model(make_batch(streams, missing=missing)), 8, TASK, what)


def check_small_batches(config: FusionModelConfig) -> None:
    """Batches of no clip and of one can be trained on: the last of an epoch, or of one of several workers."""
    for streams in stream_sets(config):
        for num_clips in (0, 1):
            model, batch = build(config, streams).train(), make_batch(streams, num_clips)
            for step in model.steps:
                model.zero_grad()
                predictions = model.forward_step(batch, step.name)
                _check_predictions(predictions, num_clips, TASK, f"of a batch of {num_clips} clips")
                torch.autograd.backward(_loss(predictions, batch, step, model))
                lacking = [name for name, weight in _moved(model, step) if weight.grad is None or not weight.grad.isfinite().all()]
                require(
                    not lacking,
                    f"a batch of {num_clips} clips gives {', '.join(lacking)} no finite gradient; let all take part in every call",
                )


def check_other_tasks(config: FusionModelConfig) -> None:
    """One stream and no values are a task too."""
    task = TaskSpec(("calm", "excited"))
    for streams in stream_sets(config):
        batch = make_batch(streams[:1])
        model = build(config, streams[:1], task=task).eval()
        _check_predictions(model(batch), 8, task, "of one stream, two classes and no values")


def check_absent_values(config: FusionModelConfig) -> None:
    """What stands in a stream where a clip lacks it does not matter."""
    for streams in stream_sets(config):
        name = streams[-1].name
        model, batch = build(config, streams).eval(), make_batch(streams, missing=(name,))
        expected = model(batch)
        batch.streams[name] = torch.full_like(batch.streams[name], 7.0)
        require(torch.equal(model(batch).logits, expected.logits), "reads a stream that a clip lacks; mask it by batch.present")


def check_padding(config: FusionModelConfig) -> str | None:
    """More padding, and whatever stands in it, changes nothing."""
    if not config.reads_frames:
        return "it reads no frames"
    streams = stream_sets(config)[-1]
    model, batch = build(config, streams).eval(), make_batch(streams, probability=0.8)
    features, masks = dict(batch.streams), dict(batch.frame_masks)
    for name, mask_BT in batch.frame_masks.items():
        filled = torch.where(mask_BT[:, :, None], features[name], 3.0)
        features[name] = functional.pad(filled, (0, 0, 0, PADDING), value=-5.0)
        masks[name] = functional.pad(mask_BT, (0, PADDING))
    difference = _largest_difference(model(replace(batch, streams=features, frame_masks=masks)), model(batch))
    require(difference <= FRAME_TOLERANCE, f"padding changes predictions by {difference:.2g}; mask frames by batch.frame_masks")
    return None


def check_independence(config: FusionModelConfig) -> None:
    """A clip's predictions depend on nothing but the clip."""
    for streams in stream_sets(config):
        model, batch = build(config, streams).eval(), make_batch(streams, probability=0.6)
        allowed = FRAME_TOLERANCE if batch.frame_masks else TOLERANCE
        together = model(batch)
        for row in range(batch.num_clips):
            difference = _largest_difference(model(_rows(batch, row)), _row_of(together, row))
            require(
                difference <= allowed,
                f"clip {row} alone and in a batch of 8 differ by {difference:.2g} (allowed: {allowed:g}); use no statistics of the batch",
            )


def check_gradients(config: FusionModelConfig) -> None:
    """Every parameter learns, in the steps that move it, and belongs to one part."""
    for streams in stream_sets(config):
        model, batch = build(config, streams).train(), make_batch(streams, 64)
        owners = [id(weight) for weights in model.parts().values() for weight in weights]
        require(sorted(owners) == sorted(id(weight) for weight in model.parameters()), "parts() names a parameter twice, or not at all")
        touched: set[str] = set()
        for step in model.steps:
            model.zero_grad()
            torch.autograd.backward(_loss(model.forward_step(batch, step.name), batch, step, model))
            touched |= {name for name, weight in _moved(model, step) if weight.grad is not None and bool(weight.grad.any())}
        untouched = [name for name, _ in model.named_parameters() if name not in touched]
        require(not untouched, f"{', '.join(untouched)} gets no gradient; use it in forward, or leave it out")


def check_saving(config: FusionModelConfig) -> None:
    """What checkpoints and bundles keep is all that a model is: its tensors, loaded into another one, predict the same."""
    streams = stream_sets(config)[-1]
    model, other, batch = build(config, streams).eval(), build(config, streams, seed=9).eval(), make_batch(streams)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn_like(weight))
    expected = model(batch)
    require(not torch.equal(other(batch).logits, expected.logits), "other weights give the same predictions")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    try:
        bundled = safetensors.torch.load(safetensors.torch.save({name: x.contiguous() for name, x in model.state_dict().items()}))
    except RuntimeError as error:
        require(False, f"cannot be written as safetensors: {' '.join(str(error).split())}")
    for tensors in (torch.load(io.BytesIO(file.getvalue()), weights_only=True), bundled):
        other.load_state_dict(tensors)
        require(
            torch.equal(other(batch).logits, expected.logits),
            "saved and loaded it predicts otherwise; register what decides of predictions as parameters or buffers",
        )


def check_over_fitting(config: FusionModelConfig) -> None:
    """Eight clips can be learnt by heart, classes and values."""
    for streams in stream_sets(config):
        model, batch = build(config, streams).train(), make_batch(streams, probability=0.8)
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        _learn(model, batch, NUM_OVER_FIT_STEPS)
        predictions = model.eval()(batch)
        has_any_B = torch.stack(list(batch.present.values())).any(dim=0)
        right_B = predictions.logits.argmax(dim=1) == batch.emotion
        how = f"{NUM_OVER_FIT_STEPS} steps of Adam"
        require(
            bool(right_B[has_any_B].all()), f"{how} learn only {int(right_B[has_any_B].sum())} of {int(has_any_B.sum())} clips by heart"
        )
        error = float((predictions.values["valence"] - batch.values["valence"])[has_any_B].detach().abs().max())
        require(error < 0.1, f"{how} leave an error of {error:.2g} in valence (allowed: 0.1); values are unbounded, of any scale")


def check_attention(config: FusionModelConfig) -> str | None:
    """Attention sums to one over what is present, NaN where it is not."""
    for streams in stream_sets(config):
        batch = make_batch(streams, 32, probability=0.5)
        predictions = build(config, streams).eval()(batch)
        if predictions.attention is None:
            return "it gives no attention"
        names = predictions.attention_names
        unknown = set(names) - {spec.name for spec in streams}
        require(not unknown, f"attention_names name {', '.join(sorted(unknown))}, which are no streams")
        present_BS = torch.stack([batch.present[name] for name in names], dim=1)
        shape = tuple(predictions.attention.shape)
        require(predictions.attention.shape == present_BS.shape, f"attention has the shape {shape}, not (B, S)")
        require(torch.equal(predictions.attention.isnan(), ~present_BS), "attention is NaN where a stream is absent, and only there")
        sums_B, wanted_B = predictions.attention.nansum(dim=1), present_BS.any(dim=1).float()
        require(torch.allclose(sums_B, wanted_B, atol=TOLERANCE), "attention does not sum to 1 over the streams that are present")
    return None


MODEL_CHECKS: tuple[Check[FusionModelConfig], ...] = (
    Check("predicts whatever is missing", check_missing),
    Check("takes empty and single batches", check_small_batches),
    Check("takes one stream and no values", check_other_tasks),
    Check("ignores what is absent", check_absent_values),
    Check("ignores padding", check_padding),
    Check("a clip does not depend on its batch", check_independence),
    Check("every parameter gets a gradient", check_gradients),
    Check("survives a save and a load", check_saving),
    Check("over-fits eight clips", check_over_fitting),
    Check("attention sums to one", check_attention),
)


def _moved(model: FusionModel, step: TrainStep) -> list[tuple[str, nn.Parameter]]:
    """The parameters that a step moves, by name."""
    moved = {id(weight) for part, weights in model.parts().items() if part in step.parts for weight in weights}
    return [(name, weight) for name, weight in model.named_parameters() if id(weight) in moved]


def _learn(model: FusionModel, batch: Batch, num_steps: int) -> None:
    optimisers = {part: torch.optim.Adam(list(weights), lr=1e-2) for part, weights in model.parts().items()}
    for _ in range(num_steps):
        for step in model.steps:
            model.zero_grad()
            torch.autograd.backward(_loss(model.forward_step(batch, step.name), batch, step, model) / batch.num_clips)
            for part in step.parts:
                optimisers[part].step()


def _check_predictions(predictions: Predictions, num_clips: int, task: TaskSpec, what: str) -> None:
    wanted = (num_clips, len(task.classes))
    logits = predictions.logits
    require(tuple(logits.shape) == wanted, f"logits {what} have the shape {tuple(logits.shape)}, not {wanted}")
    require(logits.dtype == torch.float32, f"logits {what} are {logits.dtype}, not torch.float32")
    require(bool(logits.isfinite().all()), f"logits {what} are not finite")
    require(set(predictions.values) == set(task.values), f"values {what} are {list(predictions.values)}, not {list(task.values)}")
    for name, value_B in {**predictions.values, **predictions.facts}.items():
        require(tuple(value_B.shape) == (num_clips,), f"{name} {what} has the shape {tuple(value_B.shape)}, not {(num_clips,)}")
    for name, value_B in predictions.values.items():
        require(bool(value_B.isfinite().all()), f"{name} {what} is not finite")


def _rows(batch: Batch, row: int) -> Batch:
    return Batch(
        {name: x[row : row + 1] for name, x in batch.streams.items()},
        {name: x[row : row + 1] for name, x in batch.present.items()},
        batch.emotion[row : row + 1],
        {},
        {name: x[row : row + 1] for name, x in batch.frame_masks.items()},
    )


def _row_of(predictions: Predictions, row: int) -> Predictions:
    return Predictions(predictions.logits[row : row + 1], {name: x[row : row + 1] for name, x in predictions.values.items()})


def _largest_difference(one: Predictions, other: Predictions) -> float:
    pairs = [(one.logits, other.logits), *[(one.values[name], other.values[name]) for name in TASK.values]]
    differences = [float((here - there).detach().abs().max()) for here, there in pairs]
    return math.inf if any(math.isnan(difference) for difference in differences) else max(differences)


def _loss(predictions: Predictions, batch: Batch, step: TrainStep, model: FusionModel) -> Tensor:
    """The sum over the step's clips of cross entropy, squared errors and reconstruction errors, as training minimises it."""
    taking_part_B = torch.ones(batch.num_clips)
    for modality in step.needs:
        having = [batch.present[spec.name] for spec in model.streams if spec.modality == modality]
        taking_part_B = taking_part_B * torch.stack(having).any(dim=0)
    emotion_B = functional.cross_entropy(predictions.logits, batch.emotion, reduction="none")
    values = [(predictions.values[name] - batch.values[name]).square() for name in TASK.values]
    rebuilt = [predictions.reconstructions[name] for name in step.reconstructs]
    rebuilt_errors = [(one.predicted - one.target).square().mean(dim=1) for one in rebuilt]
    return (torch.stack([emotion_B, *values, *rebuilt_errors]) * taking_part_B).sum()
