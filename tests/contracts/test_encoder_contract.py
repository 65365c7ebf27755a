"""Every encoder keeps the contract of its family, each promise apart; and what only the package's own encoders promise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from encoder_case import EncoderCase
from encoder_cases import ENCODER_CASES
from pydantic import TypeAdapter
from speech_models import save_small_speech

from mer_ray.core.contract import Check
from mer_ray.encoders import AnyEncoder, encoder_identity
from mer_ray.encoders._pretrained import PretrainedEncoderConfig
from mer_ray.encoders.contract import ENCODER_CHECKS, EncoderSubject, check_same
from mer_ray.encoders.contract_inputs import ContractInputs
from mer_ray.encoders.hubert import HubertEncoderConfig

# In bf16, which has three digits: of the means and deviations, and of single frames.
BF16_TOLERANCE, BF16_FRAME_TOLERANCE = 1e-2, 3e-2
# Against float32: networks of 32 channels average rounding less than those of 768, where 9e-3 and 1.6e-2 were measured.
BF16_LOSS, BF16_FRAME_LOSS = 2e-2, 5e-2
MIN_WEIGHTLESS_LAYERS = 8


@dataclass(frozen=True)
class Subject(EncoderSubject):
    case: EncoderCase


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, id=case.label, marks=[pytest.mark.slow] if case.is_slow else []) for case in ENCODER_CASES],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    case: EncoderCase = request.param
    config = case.make_config(tmp_path_factory.mktemp(case.label))
    return Subject(config, ContractInputs(case.inputs, case.hostile_inputs), case)


@pytest.mark.parametrize("check", ENCODER_CHECKS, ids=lambda check: check.name.replace(" ", "_"))
def test_it_keeps_the_contract(subject: Subject, check: Check[EncoderSubject]) -> None:
    reason = check.run(subject)
    if reason is not None:
        pytest.skip(reason)


def test_in_bf16_a_clip_has_the_same_features_alone_in_a_batch_and_in_float32(subject: Subject) -> None:
    if not isinstance(subject.config, PretrainedEncoderConfig):
        pytest.skip("only networks have a compute type")
    asked = subject.config.sequence_layers()
    short = subject.changed(sequences=asked, compute="bf16").build("cpu")
    together = short.encode(subject.case.inputs)
    exact = subject.changed(sequences=asked, compute="float32").build("cpu").encode(subject.case.inputs)
    for clip_input, features, reference in zip(subject.case.inputs, together, exact, strict=True):
        check_same(features, short.encode([clip_input])[0], "in a batch and alone", BF16_TOLERANCE, BF16_FRAME_TOLERANCE)
        check_same(features, reference, "bf16 and float32", BF16_LOSS, BF16_FRAME_LOSS)
        assert any(not np.array_equal(features.mean[layer], reference.mean[layer]) for layer in subject.encoder.layers)


def test_without_weights_there_are_layers_to_choose_from(subject: Subject) -> None:
    if subject.case.has_weights or subject.case.measures_recording:
        pytest.skip("its layers are those of its network, or none to search for emotion")
    assert len(subject.encoder.layers) >= MIN_WEIGHTLESS_LAYERS


def test_the_identity_follows_what_decides_the_features(subject: Subject) -> None:
    identities = [encoder_identity(subject.config)]
    identities += [encoder_identity(subject.changed(**changes)) for changes in subject.case.identity_changes]
    assert len(set(identities)) == len(identities)
    for changes in subject.case.other_changes:
        assert encoder_identity(subject.changed(**changes)) == identities[0]


def test_configs_survive_the_union(subject: Subject) -> None:
    parsed = TypeAdapter(AnyEncoder).validate_python(subject.config.model_dump(mode="json"))
    assert parsed == subject.config
    assert encoder_identity(parsed) == encoder_identity(subject.config)


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
