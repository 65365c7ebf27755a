"""What every encoder promises: a clip's features depend on nothing but the clip, and are what the config says of them.

Shapes: T frames, D feature dimension of a layer.
"""

import math
import pickle
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mer_ray.core.contract import Check, require
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features, FloatArray, Frames, TextFormat
from mer_ray.encoders._base import Encoder, EncoderConfig, encoder_identity, encoder_key
from mer_ray.encoders.contract_inputs import ContractInputs, make_frames, make_sound

RELATIVE_TOLERANCE = 1e-5
DEVIATION_TOLERANCE = 1e-4
# Of the scale that differences are measured by: features near 0 are compared absolutely.
SMALLEST_SCALE = 1e-3
RATE_HZ = 3.0


@dataclass(frozen=True)
class EncoderSubject:
    """An encoder under examination, built once on the CPU, and what it is given to encode."""

    config: EncoderConfig
    inputs: ContractInputs

    @cached_property
    def encoder(self) -> Encoder:
        """The config's encoder."""
        return self.config.build("cpu")

    @cached_property
    def features(self) -> list[Features]:
        """Of the usual inputs, as one batch."""
        return self.encoder.encode(self.inputs.usual)

    def changed(self, **changes: object) -> EncoderConfig:
        """The config with other values in some fields."""
        return type(self.config).model_validate(self.config.model_dump() | changes)


def check_description(subject: EncoderSubject) -> None:
    """Config and encoder say the same of themselves."""
    config, encoder = subject.config, subject.encoder
    require(encoder.name == config.stored_name, f"the encoder is named {encoder.name!r}, its config {config.stored_name!r}")
    require(encoder.input_format == config.input_format, f"the encoder reads {encoder.input_format}, its config says {config.input_format}")
    require(encoder.modality == config.modality == encoder.input_format.modality, "modality and input_format differ")
    require(encoder.frame_s == config.frame_s, f"frame_s is {encoder.frame_s}, its config says {config.frame_s}")
    require(bool(encoder.licence), "licence is empty; name the licence of the weights, or of the code")
    numbers = all(isinstance(features.frame_s, float) and math.isfinite(features.frame_s) for features in subject.features)
    require(numbers, "features have a frame_s that is no number; write 0.0 where frames have no time")
    if encoder.frame_s is not None:
        found = {features.frame_s for features in subject.features}
        require(found == {encoder.frame_s}, f"features have frame_s {sorted(found)}, the config says {encoder.frame_s}")


def check_layers(subject: EncoderSubject) -> None:
    """Features have the layers and dimensions that the config declares, as float32."""
    layers = subject.encoder.layers
    require(bool(layers), "declares no layers")
    require(layers == subject.config.layers(), f"the encoder has layers {layers}, its config says {subject.config.layers()}")
    for features in subject.features:
        for kind, values in _pooled(features):
            require(list(values) == list(layers), f"{kind} has the layers {list(values)}, in another order than declared: {list(layers)}")
            shapes = {layer: x.shape for layer, x in values.items()}
            require(shapes == {layer: (dim,) for layer, dim in layers.items()}, f"{kind} has the shapes {shapes}, {layers} are declared")
            types = {str(x.dtype) for x in values.values()}
            require(types == {"float32"}, f"{kind} is {', '.join(sorted(types))}, not float32")
        require(features.num_frames >= 1, "num_frames is 0 for a clip that has content")
        require(features.sequences == {}, f"keeps frames of {', '.join(features.sequences)} that `sequences` does not ask for")


def check_independence(subject: EncoderSubject) -> None:
    """A clip alone and in a batch has the same features, frames included."""
    encoder = subject.changed(sequences=subject.config.sequence_layers()).build("cpu")
    together = encoder.encode(subject.inputs.usual)
    for number, (clip_input, features) in enumerate(zip(subject.inputs.usual, together, strict=True)):
        check_same(features, encoder.encode([clip_input])[0], f"clip {number} in a batch and alone")


def check_order(subject: EncoderSubject) -> None:
    """Results come in the order of the inputs, and differ where these do."""
    count = len(subject.inputs.usual)
    for order in (list(range(count))[::-1], [*range(1, count), 0]):
        found = subject.encoder.encode([subject.inputs.usual[number] for number in order])
        for number, features in zip(order, found, strict=True):
            check_same(subject.features[number], features, f"clip {number} and the result in its place in another order")
    means = {np.concatenate(list(features.mean.values())).tobytes() for features in subject.features}
    require(len(means) == len(subject.features), "clips that differ have the same features")


def check_empty_batch(subject: EncoderSubject) -> None:
    """No clips, no features."""
    require(subject.encoder.encode([]) == [], "a batch without clips gives features")


def check_finite(subject: EncoderSubject) -> None:
    """All features are finite and fit into float16, those of silence and of blank pictures too."""
    for features in subject.encoder.encode([*subject.inputs.usual, *subject.inputs.hostile]):
        _check_range(features)


def check_odd_inputs(subject: EncoderSubject) -> None:
    """A clip of odd length is encoded, or refused as data: an exception of another kind would end the run."""
    for clip_input in subject.inputs.odd:
        try:
            found = subject.encoder.encode([clip_input])
        except EncoderError:
            continue
        for features in found:
            _check_range(features)


def check_builds(subject: EncoderSubject) -> None:
    """Two builds give the same bits."""
    again = subject.config.build("cpu").encode(subject.inputs.usual)
    for number, (first, second) in enumerate(zip(subject.features, again, strict=True)):
        for (kind, one), (_, other) in zip(_pooled(first), _pooled(second), strict=True):
            differing = [layer for layer in one if not np.array_equal(one[layer], other[layer])]
            require(not differing, f"two builds differ in {kind} of {', '.join(differing)} of clip {number}; fix seeds, load weights")


def check_inputs_stay(subject: EncoderSubject) -> None:
    """Inputs are shared with other encoders: they stay as they were."""
    arrays = [x.samples if isinstance(x, Audio) else x.images for x in subject.inputs.usual if not isinstance(x, str)]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    subject.encoder.encode(subject.inputs.usual)
    require(all(np.array_equal(now, then) for now, then in zip(arrays, before, strict=True)), "changes the arrays that it is given")


def check_sequences(subject: EncoderSubject) -> str | None:
    """Kept frames are those that mean and deviation are taken over."""
    asked = subject.config.sequence_layers()[::2]
    if not asked:
        return "it gives one vector per clip"
    encoder = subject.changed(sequences=asked).build("cpu")
    for features in encoder.encode(subject.inputs.usual):
        require(tuple(features.sequences) == asked, f"sequences hold {list(features.sequences)}, not {list(asked)}")
        for layer, frames_TD in features.sequences.items():
            wanted = (features.num_frames, encoder.layers[layer])
            require(frames_TD.shape == wanted, f"frames of {layer} have the shape {frames_TD.shape}, not {wanted}")
            require(frames_TD.dtype == np.float32, f"frames of {layer} are {frames_TD.dtype}, not float32")
            scale = _scale(frames_TD)
            mean_error = np.abs(frames_TD.mean(axis=0) - features.mean[layer]).max()
            require(mean_error <= RELATIVE_TOLERANCE * scale, f"the mean of {layer} is not that of its frames")
            std_error = np.abs(frames_TD.std(axis=0) - features.std[layer]).max()
            require(std_error <= DEVIATION_TOLERANCE * scale, f"the deviation of {layer} is not that of its frames")
    return None


def check_rate(subject: EncoderSubject) -> str | None:
    """`rate_hz` averages kept frames in time."""
    if not subject.config.sequence_layers() or subject.config.frame_s is None:
        return "it has no frames in time to keep"
    layer = subject.config.sequence_layers()[0]
    full = subject.changed(sequences=(layer,)).build("cpu").encode(subject.inputs.usual)
    pooled = subject.changed(sequences=(layer,), rate_hz=RATE_HZ).build("cpu").encode(subject.inputs.usual)
    for before, after in zip(full, pooled, strict=True):
        num_windows = math.floor((before.num_frames - 1) * before.frame_s * RATE_HZ + 1e-9) + 1
        wanted = (num_windows, subject.encoder.layers[layer])
        shape = after.sequences[layer].shape
        require(shape == wanted, f"frames of {layer} at {RATE_HZ:g} Hz have the shape {shape}, not {wanted}")
        require(after.num_frames == before.num_frames, "rate_hz changes num_frames, which counts frames before averaging")
        first_frames = [number for number in range(before.num_frames) if number * before.frame_s < 1 / RATE_HZ - 1e-9]
        expected_D = before.sequences[layer][first_frames].mean(axis=0)
        require(np.allclose(after.sequences[layer][0], expected_D, rtol=1e-4, atol=1e-5), f"frames of {layer} at a rate are no averages")
    return None


def check_unknown_sequences(subject: EncoderSubject) -> None:
    """A layer that does not exist is refused with those that do."""
    allowed = subject.config.sequence_layers()
    try:
        subject.changed(sequences=("layer_x",)).build("cpu")
    except ConfigError as error:
        wanted = ("no layer 'layer_x'" if allowed else "one vector per clip", *allowed)
        lacking = [words for words in wanted if words not in str(error)]
        require(not lacking, f"refuses sequences: [layer_x] without saying {', '.join(lacking)}")
        return
    require(False, "takes sequences: [layer_x], a layer that it does not have; call super().__init__(config)")


def check_wrong_rates(subject: EncoderSubject) -> None:
    """A rate without frames, or above theirs, is refused."""
    _require_refusal(subject.changed(rate_hz=1.0), ("rate_hz",), "rate_hz without sequences")
    layers = subject.config.sequence_layers()
    if layers:
        words = ("no time", "fixed rate") if subject.config.frame_s is None else ("rate_hz 1000 is above",)
        _require_refusal(subject.changed(sequences=layers[:1], rate_hz=1000.0), words, "rate_hz 1000")


def check_identity(subject: EncoderSubject) -> None:
    """The identity is the same each time it is asked, and names the folder in the store."""
    identity = encoder_identity(subject.config)
    require(identity == encoder_identity(subject.changed()), "the same config has another identity; it must not depend on time or chance")
    key = f"{subject.config.stored_name}@{identity[:8]}"
    require(encoder_key(subject.config) == key, f"the store's key is {encoder_key(subject.config)}, not {key}")


def check_pickle(subject: EncoderSubject) -> None:
    """Configs travel to other processes."""
    copy = pickle.loads(pickle.dumps(subject.config))  # noqa: S301 - pickled in this line
    require(copy == subject.config, "the config is another one after pickle")
    require(encoder_identity(copy) == encoder_identity(subject.config), "the config has another identity after pickle")


def check_other_kinds(subject: EncoderSubject) -> None:
    """Inputs of another kind or format are refused."""
    wanted, encoder = subject.encoder.input_format, subject.encoder
    for other in (make_sound(0.5, 100, 0), make_sound(1.0, 100, 0, 8000), make_frames(1, 0), make_frames(1, 0, size=64), "a sentence"):
        fits = (
            (isinstance(other, Audio) and wanted == AudioFormat(other.sample_rate_hz))
            or (isinstance(other, Frames) and other.images.shape[1] == getattr(wanted, "size", None))
            or (isinstance(other, str) and wanted == TextFormat())
        )
        if not fits:
            what = f"an input of another kind ({_kind(other)})"
            _require_input_refusal(encoder, [other], f"{encoder.name} reads", what, "call super().check first")


def check_empty_inputs(subject: EncoderSubject) -> str | None:
    """A clip with no content is refused with the minimum, whatever else is in the batch."""
    wanted = subject.encoder.input_format
    if isinstance(wanted, TextFormat):
        return "an empty sentence is a sentence without words"
    if isinstance(wanted, AudioFormat):
        empty: EncoderInput = Audio(np.zeros(0, dtype=np.float32), wanted.sample_rate_hz)
    else:
        empty = Frames(np.zeros((0, wanted.size, wanted.size, 3), dtype=np.uint8), np.zeros(0))
    _require_input_refusal(subject.encoder, [subject.inputs.usual[0], empty], "at least ", "a clip of length 0", "override `check`")
    return None


def check_infinite_sound(subject: EncoderSubject) -> str | None:
    """Sound that is not finite is refused."""
    wanted = subject.encoder.input_format
    if not isinstance(wanted, AudioFormat):
        return "only sound is floating point"
    sound = Audio(np.full(wanted.sample_rate_hz // 2, np.nan, dtype=np.float32), wanted.sample_rate_hz)
    _require_input_refusal(subject.encoder, [sound], "not finite", "sound of NaN", "call super().check first")
    return None


ENCODER_CHECKS: tuple[Check[EncoderSubject], ...] = (
    Check("says of itself what is true", check_description),
    Check("layers are as declared", check_layers),
    Check("a clip is the same alone and in a batch", check_independence),
    Check("results come in the order of the inputs", check_order),
    Check("an empty batch gives no features", check_empty_batch),
    Check("features are finite and fit float16", check_finite),
    Check("odd lengths are encoded or refused", check_odd_inputs),
    Check("two builds give the same bits", check_builds),
    Check("inputs are left as they were", check_inputs_stay),
    Check("sequences hold the frames of the mean", check_sequences),
    Check("sequences are averaged to the rate", check_rate),
    Check("unknown sequences are refused", check_unknown_sequences),
    Check("wrong rates are refused", check_wrong_rates),
    Check("the identity stays", check_identity),
    Check("configs survive pickle", check_pickle),
    Check("inputs of another kind are refused", check_other_kinds),
    Check("empty inputs are refused", check_empty_inputs),
    Check("sound that is not finite is refused", check_infinite_sound),
)


def check_same(
    found: Features,
    expected: Features,
    what: str,
    tolerance: float = RELATIVE_TOLERANCE,
    frame_tolerance: float = RELATIVE_TOLERANCE,
) -> None:
    """Hold that two features are equal up to rounding, relative to the largest value of each layer.

    Raises:
        ContractError: they differ.

    """
    frames = [(one.num_frames, one.frame_s) for one in (found, expected)]
    require(frames[0] == frames[1], f"{what} differ in (num_frames, frame_s): {frames[0]} and {frames[1]}")
    kinds: tuple[tuple[str, dict[str, FloatArray], dict[str, FloatArray], float], ...] = (
        ("mean", found.mean, expected.mean, tolerance),
        ("std", found.std, expected.std, tolerance),
        ("sequences", found.sequences, expected.sequences, frame_tolerance),
    )
    for kind, values, wanted, allowed in kinds:
        require(list(values) == list(wanted), f"{what} differ in the layers of {kind}")
        for layer in wanted:
            shapes = values[layer].shape, wanted[layer].shape
            require(shapes[0] == shapes[1], f"{what} differ in the shape of {layer}: {shapes[0]} and {shapes[1]}")
            difference = np.abs(values[layer] - wanted[layer]).max() / _scale(wanted[layer])
            require(difference <= allowed, f"{what} differ in {kind} of {layer} by {difference:.2g} of its size (allowed: {allowed:g})")


def _pooled(features: Features) -> tuple[tuple[str, dict[str, FloatArray]], ...]:
    return ("mean", features.mean), ("std", features.std)


def _scale(values: FloatArray) -> float:
    return max(float(np.abs(values).max()), SMALLEST_SCALE)


def _check_range(features: Features) -> None:
    largest = float(np.finfo(np.float16).max)
    for kind, values in _pooled(features):
        for layer, vector_D in values.items():
            require(bool(np.isfinite(vector_D).all()), f"{kind} of {layer} is not finite")
            require(float(np.abs(vector_D).max()) < largest, f"{kind} of {layer} is too large for float16 ({largest:g}); scale it")


def _require_refusal(config: EncoderConfig, words: tuple[str, ...], what: str) -> None:
    try:
        config.check()
    except ConfigError as error:
        require(any(word in str(error) for word in words), f"refuses {what} without saying {' or '.join(words)}: {error}")
        return
    require(False, f"takes {what}; let `check` call super().check()")


def _require_input_refusal(encoder: Encoder, inputs: list[EncoderInput], words: str, what: str, advice: str) -> None:
    try:
        encoder.encode(inputs)
    except EncoderError as error:
        require(words in str(error), f"refuses {what} without saying {words!r}: {error}")
        return
    require(False, f"encodes {what}; {advice}, and raise EncoderError")


def _kind(clip_input: Any) -> str:
    if isinstance(clip_input, Audio):
        return f"sound at {clip_input.sample_rate_hz} Hz"
    return f"frames of {clip_input.images.shape[1]} x {clip_input.images.shape[1]}" if isinstance(clip_input, Frames) else "a sentence"
