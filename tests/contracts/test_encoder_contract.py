"""What every encoder of the family must keep, whoever writes it."""

import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from encoder_case import EncoderCase
from encoder_cases import ENCODER_CASES, make_frames
from pydantic import TypeAdapter
from speech_cases import make_sound
from speech_models import save_small_speech

from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, Features, Frames, TextFormat
from mer_ray.encoders import AnyEncoder, Encoder, EncoderConfig, encoder_identity, encoder_key
from mer_ray.encoders._pretrained import PretrainedEncoderConfig
from mer_ray.encoders.hubert import HubertEncoderConfig

RELATIVE_TOLERANCE = 1e-5
# In bf16, which has three digits: of the means and deviations, and of single frames.
BF16_TOLERANCE, BF16_FRAME_TOLERANCE = 1e-2, 3e-2
# Against float32: networks of 32 channels average rounding less than those of 768, where 9e-3 and 1.6e-2 were measured.
BF16_LOSS, BF16_FRAME_LOSS = 2e-2, 5e-2
MIN_WEIGHTLESS_LAYERS = 8


@dataclass
class Subject:
    case: EncoderCase
    config: EncoderConfig
    encoder: Encoder

    def changed(self, **changes: object) -> EncoderConfig:
        return type(self.config).model_validate(self.config.model_dump() | changes)


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, id=case.label, marks=[pytest.mark.slow] if case.is_slow else []) for case in ENCODER_CASES],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    case: EncoderCase = request.param
    config = case.make_config(tmp_path_factory.mktemp(case.label))
    yield Subject(case, config, config.build("cpu"))


def assert_same(
    found: Features, expected: Features, tolerance: float = RELATIVE_TOLERANCE, frame_tolerance: float = RELATIVE_TOLERANCE
) -> None:
    assert (found.num_frames, found.frame_s) == (expected.num_frames, expected.frame_s)
    for kind, allowed in (("mean", tolerance), ("std", tolerance), ("sequences", frame_tolerance)):
        values, wanted = getattr(found, kind), getattr(expected, kind)
        assert list(values) == list(wanted)
        for layer in wanted:
            scale = max(float(np.abs(wanted[layer]).max()), 1e-3)
            assert values[layer].shape == wanted[layer].shape
            assert np.abs(values[layer] - wanted[layer]).max() <= allowed * scale, f"{kind} of {layer}"


def test_a_clip_has_the_same_features_alone_and_in_a_batch(subject: Subject) -> None:
    config = subject.changed(sequences=subject.config.sequence_layers())
    encoder = config.build("cpu")
    together = encoder.encode(subject.case.inputs)
    for clip_input, features in zip(subject.case.inputs, together, strict=True):
        assert_same(features, encoder.encode([clip_input])[0])


def test_in_bf16_a_clip_has_the_same_features_alone_in_a_batch_and_in_float32(subject: Subject) -> None:
    if not isinstance(subject.config, PretrainedEncoderConfig):
        pytest.skip("only networks have a compute type")
    asked = subject.config.sequence_layers()
    short = subject.changed(sequences=asked, compute="bf16").build("cpu")
    together = short.encode(subject.case.inputs)
    exact = subject.changed(sequences=asked, compute="float32").build("cpu").encode(subject.case.inputs)
    for clip_input, features, reference in zip(subject.case.inputs, together, exact, strict=True):
        assert_same(features, short.encode([clip_input])[0], BF16_TOLERANCE, BF16_FRAME_TOLERANCE)
        assert_same(features, reference, BF16_LOSS, BF16_FRAME_LOSS)
        assert any(not np.array_equal(features.mean[layer], reference.mean[layer]) for layer in subject.encoder.layers)


def test_results_come_in_the_order_of_the_inputs(subject: Subject) -> None:
    forwards = subject.encoder.encode(subject.case.inputs)
    backwards = subject.encoder.encode(subject.case.inputs[::-1])
    for first, second in zip(forwards, reversed(backwards), strict=True):
        assert_same(first, second)
    means = [np.concatenate(list(features.mean.values())) for features in forwards]
    assert len({mean.tobytes() for mean in means}) == len(means)


def test_an_empty_batch_gives_no_features(subject: Subject) -> None:
    assert subject.encoder.encode([]) == []


def test_layers_are_as_declared(subject: Subject) -> None:
    layers = subject.encoder.layers
    assert layers == subject.config.layers()
    assert subject.case.has_weights or len(layers) >= MIN_WEIGHTLESS_LAYERS
    for features in subject.encoder.encode(subject.case.inputs):
        for values in (features.mean, features.std):
            assert list(values) == list(layers)
            assert {layer: vector.shape for layer, vector in values.items()} == {layer: (dim,) for layer, dim in layers.items()}
            assert all(vector.dtype == np.float32 for vector in values.values())
        assert features.num_frames >= 1
        assert features.sequences == {}


def test_what_it_says_of_itself_holds_together(subject: Subject) -> None:
    config, encoder = subject.config, subject.encoder
    assert encoder.modality == config.modality == config.input_format.modality == encoder.input_format.modality
    assert encoder.input_format == config.input_format
    assert encoder.frame_s == config.frame_s
    assert encoder.licence
    if encoder.frame_s is not None:
        assert {features.frame_s for features in encoder.encode(subject.case.inputs)} == {encoder.frame_s}


def test_all_features_are_finite_and_fit_float16(subject: Subject) -> None:
    for features in subject.encoder.encode([*subject.case.inputs, *subject.case.hostile_inputs]):
        for values in (features.mean, features.std):
            for layer, vector in values.items():
                assert np.isfinite(vector).all(), layer
                assert np.abs(vector).max() < np.finfo(np.float16).max, layer


def test_two_builds_give_the_same_bits(subject: Subject) -> None:
    again = subject.config.build("cpu").encode(subject.case.inputs)
    for first, second in zip(subject.encoder.encode(subject.case.inputs), again, strict=True):
        assert all(np.array_equal(first.mean[layer], second.mean[layer]) for layer in subject.encoder.layers)
        assert all(np.array_equal(first.std[layer], second.std[layer]) for layer in subject.encoder.layers)


def test_inputs_are_left_as_they_were(subject: Subject) -> None:
    arrays = [clip.samples if isinstance(clip, Audio) else clip.images for clip in subject.case.inputs if not isinstance(clip, str)]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    subject.encoder.encode(subject.case.inputs)
    assert all(np.array_equal(now, then) for now, then in zip(arrays, before, strict=True))


def test_sequences_hold_the_frames_that_the_mean_is_taken_over(subject: Subject) -> None:
    asked = subject.config.sequence_layers()[::2]
    encoder = subject.changed(sequences=asked).build("cpu")
    for features in encoder.encode(subject.case.inputs):
        assert tuple(features.sequences) == asked
        for layer in asked:
            frames_TD = features.sequences[layer]
            assert frames_TD.dtype == np.float32
            assert frames_TD.shape == (features.num_frames, encoder.layers[layer])
            scale = max(float(np.abs(frames_TD).max()), 1e-3)
            assert np.abs(frames_TD.mean(axis=0) - features.mean[layer]).max() <= 1e-5 * scale
            assert np.abs(frames_TD.std(axis=0) - features.std[layer]).max() <= 1e-4 * scale


def test_sequences_are_averaged_to_the_rate(subject: Subject) -> None:
    if not subject.config.sequence_layers() or subject.config.frame_s is None:
        pytest.skip("the encoder has no frames in time to keep")
    layer = subject.config.sequence_layers()[0]
    rate_hz = 3.0
    full = subject.changed(sequences=(layer,)).build("cpu").encode(subject.case.inputs)
    pooled = subject.changed(sequences=(layer,), rate_hz=rate_hz).build("cpu").encode(subject.case.inputs)
    for before, after in zip(full, pooled, strict=True):
        num_windows = math.floor((before.num_frames - 1) * before.frame_s * rate_hz + 1e-9) + 1
        assert after.sequences[layer].shape == (num_windows, subject.encoder.layers[layer])
        assert after.num_frames == before.num_frames
        first_frames = [number for number in range(before.num_frames) if number * before.frame_s < 1 / rate_hz - 1e-9]
        expected = before.sequences[layer][first_frames].mean(axis=0)
        assert np.allclose(after.sequences[layer][0], expected, rtol=1e-4, atol=1e-5)


def test_unknown_sequences_are_refused_with_the_allowed_layers(subject: Subject) -> None:
    allowed = subject.config.sequence_layers()
    with pytest.raises(ConfigError, match=r"no layer 'layer_x'" if allowed else "one vector per clip") as error:
        subject.changed(sequences=("layer_x",)).build("cpu")
    assert all(layer in str(error.value) for layer in allowed)


def test_a_rate_without_sequences_or_above_the_frame_rate_is_refused(subject: Subject) -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        subject.changed(rate_hz=1.0).check()
    if subject.config.sequence_layers():
        reason = "rate_hz .* no time" if subject.config.frame_s is None else "rate_hz 1000 is above"
        with pytest.raises(ConfigError, match=reason):
            subject.changed(sequences=subject.config.sequence_layers()[:1], rate_hz=1000.0).check()


def test_the_identity_follows_what_decides_the_features(subject: Subject) -> None:
    identities = [encoder_identity(subject.config)]
    identities += [encoder_identity(subject.changed(**changes)) for changes in subject.case.identity_changes]
    assert len(set(identities)) == len(identities)
    for changes in subject.case.other_changes:
        assert encoder_identity(subject.changed(**changes)) == identities[0]
    assert encoder_key(subject.config) == f"{subject.config.name}@{identities[0][:8]}"


def test_configs_survive_pickle_and_the_union(subject: Subject) -> None:
    assert pickle.loads(pickle.dumps(subject.config)) == subject.config
    parsed = TypeAdapter(AnyEncoder).validate_python(subject.config.model_dump(mode="json"))
    assert parsed == subject.config
    assert encoder_identity(parsed) == encoder_identity(subject.config)


def test_inputs_of_another_kind_are_refused(subject: Subject) -> None:
    wanted = subject.encoder.input_format
    others = [
        make_sound(0.5, 100, 0),
        Audio(np.zeros(8000, dtype=np.float32), 8000),
        make_frames(1, 0),
        make_frames(1, 0, size=64),
        "a sentence",
    ]
    for other in others:
        fits = (
            (isinstance(other, Audio) and wanted == AudioFormat(other.sample_rate_hz))
            or (isinstance(other, Frames) and other.images.shape[1] == getattr(wanted, "size", None))
            or (isinstance(other, str) and wanted == TextFormat())
        )
        if not fits:
            with pytest.raises(EncoderError, match=f"{subject.config.name} reads"):
                subject.encoder.encode([other])


def test_empty_inputs_are_refused_with_the_minimum(subject: Subject) -> None:
    if subject.encoder.modality == "text":
        pytest.skip("an empty sentence is a sentence without words")
    size = getattr(subject.encoder.input_format, "size", 0)
    empty = {
        "audio": Audio(np.zeros(0, dtype=np.float32), 16_000),
        "vision": Frames(np.zeros((0, size, size, 3), dtype=np.uint8), np.zeros(0)),
    }[subject.encoder.modality]
    with pytest.raises(EncoderError, match=r"at least \d+"):
        subject.encoder.encode([subject.case.inputs[0], empty])


def test_sound_that_is_not_finite_is_refused(subject: Subject) -> None:
    if subject.encoder.modality != "audio":
        pytest.skip("only sound is floating point")
    with pytest.raises(EncoderError, match="not finite"):
        subject.encoder.encode([Audio(np.full(8000, np.nan, dtype=np.float32), 16_000)])


def test_the_union_holds_every_encoder_that_is_tested() -> None:
    schema = TypeAdapter(AnyEncoder).json_schema()
    names = set(schema["discriminator"]["mapping"])
    assert names == {case.label.partition("-")[0] for case in ENCODER_CASES}


def test_weights_not_their_folder_decide_the_identity(tmp_path: Path) -> None:
    first, moved, other = (
        HubertEncoderConfig(weights=str(save_small_speech(tmp_path / name, "hubert", seed=seed)))
        for name, seed in (("first", 0), ("moved", 0), ("other", 1))
    )
    assert encoder_identity(first) == encoder_identity(moved)
    assert encoder_identity(first) != encoder_identity(other)
