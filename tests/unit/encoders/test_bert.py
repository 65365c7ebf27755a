import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from text_cases import WINDOW_TOKENS, save_small_bert

from mer_ray.core.config import identity_fields
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.encoders import encoder_identity
from mer_ray.encoders.bert import BertEncoderConfig
from mer_ray.encoders.hashing import HashingConfig

LAYERS = ("layer_0", "layer_1", "layer_2")
LONG = "why would you do that, I told you so, " * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_bert(tmp_path_factory.mktemp("weights") / "bert")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The same weights, free to be broken."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def config_of(folder: Path, **fields: object) -> BertEncoderConfig:
    return BertEncoderConfig.model_validate({"weights": str(folder), "dtype": "float32", **fields})


def reference_states(folder: Path, sentence: str) -> list[np.ndarray]:
    """Hidden states as transformers alone gives them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return [state[0].numpy() for state in model(**tokenizer(sentence, return_tensors="pt"), output_hidden_states=True).hidden_states]


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm-roberta", "electra"])
@pytest.mark.parametrize("special_tokens", [False, True])
def test_layers_are_the_hidden_states_with_or_without_special_tokens(tmp_path: Path, model_type: str, special_tokens: bool) -> None:
    folder = save_small_bert(tmp_path / "bert", model_type)
    features = config_of(folder, sequences=LAYERS, special_tokens=special_tokens).build("cpu").encode(["I told you."])[0]
    for layer, state_TD in zip(LAYERS, reference_states(folder, "I told you."), strict=True):
        expected_TD = state_TD if special_tokens else state_TD[1:-1]
        assert features.num_frames == len(expected_TD)
        assert np.abs(features.sequences[layer] - expected_TD).max() < 1e-5
        assert np.abs(features.mean[layer] - expected_TD.mean(axis=0)).max() < 1e-5
        assert np.abs(features.std[layer] - expected_TD.std(axis=0)).max() < 1e-5


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_a_sentence_of_the_windows_length_goes_through_at_once(tmp_path: Path, model_type: str) -> None:
    folder = save_small_bert(tmp_path / "bert", model_type)
    config = config_of(folder, sequences=("layer_2",))
    assert config.max_tokens() == WINDOW_TOKENS
    sentence = "a" if model_type == "roberta" else "a "
    found = config.build("cpu").encode([sentence * (WINDOW_TOKENS - 2)])[0]
    expected_TD = reference_states(folder, sentence * (WINDOW_TOKENS - 2))[-1][1:-1]
    assert np.abs(found.sequences["layer_2"] - expected_TD).max() < 1e-5


def test_a_longer_sentence_is_stitched_from_overlapping_windows(folder: Path) -> None:
    encoder = config_of(folder, sequences=LAYERS).build("cpu")
    whole = encoder.encode([LONG])[0]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(LONG, add_special_tokens=False, verbose=False)["input_ids"]
    assert whole.num_frames == len(tokens) > 2 * WINDOW_TOKENS
    for layer in LAYERS:
        frames_TD = whole.sequences[layer]
        assert frames_TD.shape == (len(tokens), 32)
        assert whole.mean[layer] == pytest.approx(frames_TD.mean(axis=0, dtype=np.float64), abs=1e-6)
        assert whole.std[layer] == pytest.approx(frames_TD.std(axis=0, dtype=np.float64), abs=1e-6)
    # The first tokens see what they would see in a sentence of one window.
    start = encoder.tokenizer.decode(tokens[: WINDOW_TOKENS - 2])
    first = encoder.encode([start])[0].sequences["layer_2"]
    assert np.abs(whole.sequences["layer_2"][:10] - first[:10]).max() < 1e-5


def test_special_tokens_of_a_long_sentence_are_kept_once(folder: Path) -> None:
    without, with_them = (config_of(folder, special_tokens=kept).build("cpu").encode([LONG])[0] for kept in (False, True))
    assert with_them.num_frames == without.num_frames + 2


def test_bf16_stays_close(folder: Path) -> None:
    sentences = ["I told you so!", "why", LONG]
    exact = config_of(folder, sequences=LAYERS).build("cpu").encode(sentences)
    encoder = config_of(folder, sequences=LAYERS, compute="bf16").build("cpu")
    together = encoder.encode(sentences)
    for sentence, features, reference in zip(sentences, together, exact, strict=True):
        alone = encoder.encode([sentence])[0]
        for layer in LAYERS:
            scale = np.abs(reference.mean[layer]).max()
            assert np.abs(alone.mean[layer] - features.mean[layer]).max() < 1e-2 * scale
            assert np.abs(features.mean[layer] - reference.mean[layer]).max() < 3e-2 * scale
            frames_TD = reference.sequences[layer]
            assert np.abs(alone.sequences[layer] - features.sequences[layer]).max() < 3e-2 * np.abs(frames_TD).max()


def test_batches_keep_the_budget_of_tokens(folder: Path) -> None:
    encoder = config_of(folder, max_batch_tokens=12).build("cpu")
    sizes: list[tuple[int, ...]] = []
    encoder.model.register_forward_pre_hook(lambda module, args, kwargs: sizes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True)
    encoder.encode(["i you", "so why", "told", "do", "i told you so"])
    assert sizes == [(2, 6), (2, 4), (1, 3)] or all(rows * columns <= 12 for rows, columns in sizes)
    assert len(sizes) > 1


@pytest.mark.slow
def test_compiled_blocks_see_few_lengths_and_give_the_same(folder: Path) -> None:
    sentences = ["i", "i you so", "why would you", "told you, told you, told you", LONG]
    expected = config_of(folder).build("cpu").encode(sentences)
    encoder = config_of(folder, compile=True).build("cpu")
    lengths: set[int] = set()
    encoder.model.register_forward_pre_hook(lambda module, args, kwargs: lengths.add(kwargs["input_ids"].shape[1]), with_kwargs=True)
    found = [features for sentence in sentences for features in encoder.encode([sentence])]
    assert lengths <= set(encoder.budget.rungs)
    assert max(encoder.budget.rungs) == WINDOW_TOKENS
    for features, wanted in zip(found, expected, strict=True):
        assert all(np.abs(features.mean[layer] - wanted.mean[layer]).max() < 1e-5 for layer in LAYERS)


def test_a_sentence_without_tokens_is_refused(folder: Path) -> None:
    encoder = config_of(folder).build("cpu")
    for sentence in ("", "  ", "\x00"):
        with pytest.raises(EncoderError, match="has no tokens; at least 1 is needed"):
            encoder.encode([sentence])


def test_a_rate_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="rate_hz averages frames in time, but tokens have no time"):
        config_of(folder, sequences=("layer_1",), rate_hz=2.0).build("cpu")


def test_a_tokenizer_from_a_vocabulary_alone_gives_the_same(copy: Path) -> None:
    expected = config_of(copy).build("cpu").encode(["I told you, 今天!"])[0]
    tokens = json.loads((copy / "tokenizer.json").read_text())["model"]["vocab"]
    (copy / "vocab.txt").write_text("\n".join(sorted(tokens, key=lambda token: tokens[token])))
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    found = config_of(copy).build("cpu").encode(["I told you, 今天!"])[0]
    assert found.num_frames == expected.num_frames
    assert np.array_equal(found.mean["layer_2"], expected.mean["layer_2"])


def test_missing_or_foreign_tokenizers_are_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"lacks the tokenizer \(tokenizer\.json or vocab\.txt"):
        config_of(copy).build("cpu")
    other = save_small_bert(tmp_path / "other", "roberta")
    shutil.copy(other / "tokenizer.json", copy)
    shutil.copy(other / "tokenizer_config.json", copy)
    with pytest.raises(EncoderError, match=r"the tokenizer has token \d+, but the model knows \d+"):
        config_of(copy).build("cpu")
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(EncoderError, match="the tokenizer cannot be loaded"):
        config_of(copy).build("cpu")


def test_another_kind_of_model_is_refused(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"model_type": "t5"}))
    with pytest.raises(EncoderError, match="model_type 't5'; encoder bert reads 'bert', 'roberta'"):
        config_of(copy).build("cpu")


def test_the_tokenizer_is_part_of_the_identity(folder: Path, copy: Path) -> None:
    assert encoder_identity(config_of(folder)) == encoder_identity(config_of(copy))
    assert "weights" not in identity_fields(config_of(folder))
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text().replace('"lowercase": true', '"lowercase": false'))
    assert encoder_identity(config_of(folder)) != encoder_identity(config_of(copy))


def test_all_encoders_of_text_read_the_same_format(folder: Path) -> None:
    assert config_of(folder).input_format == HashingConfig().input_format
