"""What every model promises: predicts whatever is missing, clip by clip, and every parameter of it can be trained, saved and loaded.

Shapes: B clips, C classes, S streams.
"""

import io
import math
from collections.abc import Collection, Sequence

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.core.contract import Check, require
from mer_ray.models._base import FusionModel, FusionModelConfig

# Streams are named by users and after encoders' layers: any sign may be in a name.
TONE, FACE, WORDS = "tone", "face.v2/layer_3", "words@0a1b2c3d"
STREAMS = (StreamSpec(TONE, "audio", 12), StreamSpec(FACE, "vision", 9), StreamSpec(WORDS, "text", 7))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence", "arousal"))
TOLERANCE = 1e-6
NUM_OVER_FIT_STEPS = 300


def build(config: FusionModelConfig, seed: int = 0, streams: Sequence[StreamSpec] = STREAMS, task: TaskSpec = TASK) -> FusionModel:
    """A model whose weights follow from the seed."""
    torch.manual_seed(seed)
    return config.build(streams, task)


def make_batch(
    num_clips: int = 8, missing: Collection[str] = (), probability: float = 1.0, streams: Sequence[StreamSpec] = STREAMS
) -> Batch:
    """Random features, each present with a probability; classes in turn, random values."""
    generator = torch.Generator().manual_seed(1)
    present = {spec.name: torch.rand(num_clips, generator=generator) < probability for spec in streams}
    for name in missing:
        present[name] = torch.zeros(num_clips, dtype=torch.bool)
    features = {spec.name: torch.randn(num_clips, spec.dim, generator=generator) * present[spec.name][:, None] for spec in streams}
    values = {name: torch.randn(num_clips, generator=generator) for name in TASK.values}
    return Batch(features, present, torch.arange(num_clips) % len(TASK.classes), values)


def check_missing(config: FusionModelConfig) -> None:
    """Whatever is missing, also everything, there are finite predictions of the task's shape."""
    model = build(config).eval()
    for missing in ((), (TONE,), (FACE, WORDS), (TONE, FACE, WORDS)):
        _check_predictions(model(make_batch(missing=missing)), 8, TASK, f"without {', '.join(missing)}" if missing else "with all streams")


def check_small_batches(config: FusionModelConfig) -> None:
    """Batches of no clip and of one can be trained on: the last of an epoch, or of one of several workers."""
    for num_clips in (0, 1):
        model, batch = build(config).train(), make_batch(num_clips)
        predictions = model(batch)
        _check_predictions(predictions, num_clips, TASK, f"of a batch of {num_clips} clips")
        torch.autograd.backward(_loss(predictions, batch))
        lacking = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()]
        require(not lacking, f"a batch of {num_clips} clips gives {', '.join(lacking)} no finite gradient; let all take part in every call")


def check_other_tasks(config: FusionModelConfig) -> None:
    """One stream and no values are a task too."""
    task, streams = TaskSpec(("calm", "excited")), STREAMS[1:2]
    batch = make_batch(streams=streams)
    _check_predictions(build(config, streams=streams, task=task).eval()(batch), 8, task, "of one stream, two classes and no values")


def check_absent_values(config: FusionModelConfig) -> None:
    """What stands in a stream where a clip lacks it does not matter."""
    model, batch = build(config).eval(), make_batch(missing=(FACE,))
    expected = model(batch)
    batch.streams[FACE] = torch.full_like(batch.streams[FACE], 7.0)
    require(torch.equal(model(batch).logits, expected.logits), "reads a stream that a clip lacks; mask it by batch.present")


def check_independence(config: FusionModelConfig) -> None:
    """A clip's predictions depend on nothing but the clip."""
    model, batch = build(config).eval(), make_batch(probability=0.6)
    together = model(batch)
    for row in range(batch.num_clips):
        alone = model(_rows(batch, row))
        difference = _largest_difference(alone, together, row)
        require(
            difference <= TOLERANCE,
            f"clip {row} alone and in a batch of 8 differ by {difference:.2g} (allowed: {TOLERANCE:g}); use no statistics of the batch",
        )


def check_gradients(config: FusionModelConfig) -> None:
    """Every parameter learns."""
    model, batch = build(config).train(), make_batch(64)
    torch.autograd.backward(_loss(model(batch), batch))
    untouched = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    require(not untouched, f"{', '.join(untouched)} gets no gradient; use it in forward, or leave it out")


def check_saving(config: FusionModelConfig) -> None:
    """What checkpoints and bundles keep is all that a model is: its tensors, loaded into another one, predict the same."""
    model, other, batch = build(config).eval(), build(config, seed=9).eval(), make_batch()
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
    model, batch = build(config).train(), make_batch(probability=0.8)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(NUM_OVER_FIT_STEPS):
        optimiser.zero_grad()
        torch.autograd.backward(_loss(model(batch), batch) / batch.num_clips)
        optimiser.step()
    predictions = model.eval()(batch)
    has_any_B = torch.stack(list(batch.present.values())).any(dim=0)
    right_B = predictions.logits.argmax(dim=1) == batch.emotion
    how = f"{NUM_OVER_FIT_STEPS} steps of Adam"
    require(bool(right_B[has_any_B].all()), f"{how} learn only {int(right_B[has_any_B].sum())} of {int(has_any_B.sum())} clips by heart")
    error = float((predictions.values["valence"] - batch.values["valence"])[has_any_B].detach().abs().max())
    require(error < 0.1, f"{how} leave an error of {error:.2g} in valence (allowed: 0.1); values are unbounded, of any scale")


def check_attention(config: FusionModelConfig) -> str | None:
    """Attention sums to one over what is present, NaN where it is not."""
    batch = make_batch(32, probability=0.5)
    predictions = build(config).eval()(batch)
    if predictions.attention is None:
        return "it gives no attention"
    names = predictions.attention_names
    unknown = set(names) - {spec.name for spec in STREAMS}
    require(not unknown, f"attention_names name {', '.join(sorted(unknown))}, which are no streams")
    present_BS = torch.stack([batch.present[name] for name in names], dim=1)
    require(predictions.attention.shape == present_BS.shape, f"attention has the shape {tuple(predictions.attention.shape)}, not (B, S)")
    require(torch.equal(predictions.attention.isnan(), ~present_BS), "attention is NaN where a stream is absent, and only there")
    sums_B, wanted_B = predictions.attention.nansum(dim=1), present_BS.any(dim=1).float()
    require(torch.allclose(sums_B, wanted_B, atol=TOLERANCE), "attention does not sum to 1 over the streams that are present")
    return None


MODEL_CHECKS: tuple[Check[FusionModelConfig], ...] = (
    Check("predicts whatever is missing", check_missing),
    Check("takes empty and single batches", check_small_batches),
    Check("takes one stream and no values", check_other_tasks),
    Check("ignores what is absent", check_absent_values),
    Check("a clip does not depend on its batch", check_independence),
    Check("every parameter gets a gradient", check_gradients),
    Check("survives a save and a load", check_saving),
    Check("over-fits eight clips", check_over_fitting),
    Check("attention sums to one", check_attention),
)


def _check_predictions(predictions: Predictions, num_clips: int, task: TaskSpec, what: str) -> None:
    wanted = (num_clips, len(task.classes))
    logits = predictions.logits
    require(tuple(logits.shape) == wanted, f"logits {what} have the shape {tuple(logits.shape)}, not {wanted}")
    require(logits.dtype == torch.float32, f"logits {what} are {logits.dtype}, not torch.float32")
    require(bool(logits.isfinite().all()), f"logits {what} are not finite")
    require(set(predictions.values) == set(task.values), f"values {what} are {list(predictions.values)}, not {list(task.values)}")
    for name, value_B in predictions.values.items():
        require(tuple(value_B.shape) == (num_clips,), f"{name} {what} has the shape {tuple(value_B.shape)}, not {(num_clips,)}")
        require(bool(value_B.isfinite().all()), f"{name} {what} is not finite")


def _rows(batch: Batch, row: int) -> Batch:
    return Batch(
        {name: x[row : row + 1] for name, x in batch.streams.items()},
        {name: x[row : row + 1] for name, x in batch.present.items()},
        batch.emotion[row : row + 1],
        {},
    )


def _largest_difference(alone: Predictions, together: Predictions, row: int) -> float:
    pairs = [(alone.logits[0], together.logits[row]), *[(alone.values[name][0], together.values[name][row]) for name in TASK.values]]
    differences = [float((one - other).detach().abs().max()) for one, other in pairs]
    return math.inf if any(math.isnan(difference) for difference in differences) else max(differences)


def _loss(predictions: Predictions, batch: Batch) -> Tensor:
    """The sum over clips of cross entropy and squared errors, as training minimises it."""
    emotion = functional.cross_entropy(predictions.logits, batch.emotion, reduction="sum")
    return emotion + torch.stack([(predictions.values[name] - batch.values[name]).square().sum() for name in TASK.values]).sum()
