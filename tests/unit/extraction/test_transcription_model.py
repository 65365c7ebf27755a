import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from whisper_weights import LANGUAGES, save_small_whisper

from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import FloatArray
from mer_ray.extraction.transcription_model import VOCABULARY_FILES, WhisperConfig, WhisperTranscriber, cut_at_pauses

SAMPLE_RATE_HZ = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_whisper(tmp_path_factory.mktemp("weights") / "whisper")


@pytest.fixture(scope="module")
def transcriber(folder: Path) -> WhisperTranscriber:
    return WhisperTranscriber(WhisperConfig(weights=str(folder)), "cpu")


def sound(seconds: float, seed: int) -> FloatArray:
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(num_samples)
    return (noise * np.sin(np.arange(num_samples) / (50 * (seed + 1)))).astype(np.float32)


SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.0, 0.5, 2.0, 5.3, 1.9))]


def test_a_sound_has_the_same_transcript_alone_and_in_a_batch(transcriber: WhisperTranscriber) -> None:
    together = transcriber.transcribe(SOUNDS)
    assert len({transcript.text for transcript in together}) == len(SOUNDS)
    for samples_S, transcript in zip(SOUNDS, together, strict=True):
        alone = transcriber.transcribe([samples_S])[0]
        assert (alone.text, alone.language) == (transcript.text, transcript.language)
        assert alone.confidence == pytest.approx(transcript.confidence, rel=1e-5)
    assert transcriber.transcribe([]) == []


def test_batches_keep_the_budget_and_the_order(folder: Path, transcriber: WhisperTranscriber) -> None:
    small = WhisperTranscriber(WhisperConfig(weights=str(folder), max_batch_s=4.0), "cpu")
    sizes: list[int] = []
    small.model.model.encoder.conv1.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    found, expected = small.transcribe(SOUNDS), transcriber.transcribe(SOUNDS)
    assert [transcript.text for transcript in found] == [transcript.text for transcript in expected]
    assert max(sizes) == 2


def test_the_confidence_is_the_mean_probability_of_the_tokens(folder: Path, transcriber: WhisperTranscriber) -> None:
    transcript = transcriber.transcribe([SOUNDS[0]])[0]
    model = transcriber.model
    features = transcriber.extractor([SOUNDS[0]], sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")["input_features"]
    tokens = model.generate(
        features, do_sample=False, task="transcribe", force_unique_generate_call=True, return_dict_in_generate=True
    ).sequences
    with torch.no_grad():
        logits_TV = model(features, decoder_input_ids=tokens[:, :-1]).logits[0]
    generation = model.generation_config
    logits_TV[:, generation.suppress_tokens] = -torch.inf
    # The prompt is start, language, task and no timestamps; the first token behind it must not be the end.
    logits_TV[3, generation.begin_suppress_tokens] = -torch.inf
    log_probabilities_T = logits_TV.log_softmax(dim=-1)[3:].gather(1, tokens[0, 4:, None])[:, 0]
    assert transcript.confidence == pytest.approx(float(log_probabilities_T.mean().exp()), rel=1e-4)
    assert transcript.text == transcriber.tokenizer.decode(tokens[0, 4:], skip_special_tokens=True).strip()


def test_the_language_is_the_one_asked_for_or_a_detected_one(folder: Path, transcriber: WhisperTranscriber) -> None:
    assert {transcript.language for transcript in transcriber.transcribe(SOUNDS)} <= set(LANGUAGES)
    for language in LANGUAGES:
        asked = WhisperTranscriber(WhisperConfig(weights=str(folder), language=language), "cpu").transcribe(SOUNDS[:2])
        assert [transcript.language for transcript in asked] == [language] * 2
    with pytest.raises(ConfigError, match=r"does not know 'xx'\. Allowed: de, en, zh"):
        WhisperTranscriber(WhisperConfig(weights=str(folder), language="xx"), "cpu")


def test_a_model_of_english_alone_says_so(tmp_path: Path) -> None:
    folder = save_small_whisper(tmp_path / "english", multilingual=False)
    transcript = WhisperTranscriber(WhisperConfig(weights=str(folder)), "cpu").transcribe(SOUNDS[:1])[0]
    assert transcript.language == "en"
    assert transcript.text
    with pytest.raises(ConfigError, match="Allowed: en"):
        WhisperTranscriber(WhisperConfig(weights=str(folder), language="de"), "cpu")


def test_a_long_sound_is_the_sum_of_its_pieces(transcriber: WhisperTranscriber) -> None:
    pieces = cut_at_pauses(SOUNDS[3], transcriber.window)
    assert len(pieces) == 3
    parts = transcriber.transcribe(pieces)
    whole = transcriber.transcribe([SOUNDS[3]])[0]
    assert whole.text.replace(" ", "") == "".join(part.text for part in parts).replace(" ", "")
    assert min(part.confidence for part in parts) <= whole.confidence <= max(part.confidence for part in parts)


def test_cuts_lie_in_pauses_and_lose_nothing() -> None:
    speech = np.ones(100_000, dtype=np.float32)
    speech[28_000:30_000] = 0
    pieces = cut_at_pauses(speech, 32_000)
    assert np.array_equal(np.concatenate(pieces), speech)
    assert all(len(piece) <= 32_000 for piece in pieces)
    assert 28_000 < len(pieces[0]) < 30_000
    assert len(cut_at_pauses(speech[:32_000], 32_000)) == 1


def test_the_identity_follows_weights_language_and_type_but_no_path(folder: Path, tmp_path: Path) -> None:
    moved = save_small_whisper(tmp_path / "moved")
    configs = [{"weights": str(folder)}, {"weights": str(folder), "language": "en"}, {"weights": str(folder), "compute": "bf16"}]
    configs.append({"weights": str(save_small_whisper(tmp_path / "other", seed=1))})
    assert len({WhisperConfig.model_validate(config).identity() for config in configs}) == 4
    same = WhisperConfig(weights=str(moved), max_batch_s=2.0)
    assert same.identity() == WhisperConfig(weights=str(folder)).identity()


def test_other_and_broken_weights_are_refused(tmp_path: Path) -> None:
    folder = save_small_whisper(tmp_path / "whisper")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(EncoderError, match="cannot be loaded"):
        WhisperTranscriber(WhisperConfig(weights=str(folder)), "cpu")
    (folder / "generation_config.json").unlink()
    with pytest.raises(EncoderError, match=r"lacks generation_config\.json"):
        WhisperTranscriber(WhisperConfig(weights=str(folder)), "cpu")
    hubert = tmp_path / "hubert"
    transformers.HubertConfig().save_pretrained(hubert)
    for name in ("generation_config.json", "preprocessor_config.json", "model.safetensors"):
        (hubert / name).write_text("{}")
    with pytest.raises(EncoderError, match="model_type 'hubert'; transcribe reads 'whisper'"):
        WhisperTranscriber(WhisperConfig(weights=str(hubert)), "cpu")


def test_a_sound_without_numbers_is_refused(transcriber: WhisperTranscriber) -> None:
    for samples_S in (np.full(3000, np.nan, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(EncoderError, match="empty, or holds samples that are not finite"):
            transcriber.transcribe([SOUNDS[0], samples_S])


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("config.json", "config.json cannot be read"),
        ("generation_config.json", "cannot be loaded"),
        ("tokenizer.json", "lacks tokenizer.json"),
    ],
)
def test_broken_files_are_one_clear_error(broken: str, reason: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / broken).write_text("{")
    if broken == "tokenizer.json":
        for name in VOCABULARY_FILES:
            (copy / name).unlink(missing_ok=True)
    with pytest.raises(EncoderError, match=reason):
        WhisperTranscriber(WhisperConfig(weights=str(copy)), "cpu")
