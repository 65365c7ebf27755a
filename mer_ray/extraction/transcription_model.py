"""Whisper as a transcriber: sound to text, language and confidence.

Shapes: B windows, S samples, M mel bands, T mel frames, V vocabulary.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from pydantic import field_validator
from safetensors import SafetensorError
from torch import Tensor

from mer_ray.core.config import Config, PlaceOrName, digest_of, where_or_how_fast
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import FloatArray
from mer_ray.encoders._budget import BatchBudget
from mer_ray.encoders._pretrained import COMPUTE_DTYPES, Compute, read_settings
from mer_ray.encoders._weights import CONFIG_FILE, digest_weights, find_weights

SAMPLE_RATE_HZ = 16_000
# Seconds of sound in one pass; every window counts as a full one.
CPU_BATCH_S, CUDA_BATCH_S = 120.0, 960.0
# A longer sound is cut where it is quietest in the last sixth of a window, so that few words are cut in two.
SEARCHED_PART = 6
QUIET_S = 0.1
COMPANIONS = (
    CONFIG_FILE,
    "generation_config.json",
    "preprocessor_config.json",
    *("tokenizer*.json", "vocab*", "merges*", "special_tokens_map*", "added_tokens*", "normalizer*"),
)
# One of these must be there: without them transformers builds a tokenizer that knows no words, and every text is empty.
VOCABULARY_FILES = ("tokenizer.json", "vocab.json")
# Raised when the same config gives other texts.
ALGORITHM_VERSION = 1


class WhisperConfig(Config):
    """A Whisper checkpoint: `weights` is a folder, or a hub id with an optional `revision`.

    `language` is a code that the model knows (en, zh, de...); None has it detected in each window of 30 s.
    `max_batch_s` bounds the padded seconds of sound in one pass (None: 120 on a CPU, 960 on a GPU).
    """

    weights: PlaceOrName = where_or_how_fast()
    revision: str | None = where_or_how_fast(None)
    language: str | None = None
    compute: Compute = "float32"
    max_batch_s: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: str) -> str:
        # Workers run in folders of their own.
        folder = Path(weights).expanduser()
        return str(folder.absolute()) if folder.is_dir() else weights

    def folder(self) -> Path:
        """Where the files lie, downloaded if need be.

        Raises:
            EncoderError: there are none.

        """
        return find_weights(self.weights, self.revision, COMPANIONS)

    def identity(self) -> str:
        """The sha256 of what decides the texts: weights, tokenizer, language, compute type; never a path."""
        digest = digest_weights(self.folder(), COMPANIONS)
        return digest_of({"version": ALGORITHM_VERSION, "weights": digest, "language": self.language, "compute": self.compute})


@dataclass(frozen=True)
class Transcript:
    """`confidence` is the mean probability of the chosen tokens, exp of their mean log-probability, the end token counted."""

    text: str
    language: str
    confidence: float


@dataclass(frozen=True)
class _Piece:
    text: str
    language: str
    log_probability: float
    num_tokens: int


class _Recorder(transformers.LogitsProcessor):
    """Notes the log-probability of the likeliest token, which greedy decoding takes; runs behind all that forbids tokens."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.steps.append(scores.float().log_softmax(dim=-1).amax(dim=-1))
        return scores


class WhisperTranscriber:
    """Whisper with greedy decoding; a sound's transcript depends on nothing but the sound."""

    def __init__(self, config: WhisperConfig, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.model, self.extractor, self.tokenizer = _load(config, self.device)
        generation = self.model.generation_config
        self.is_multilingual = bool(getattr(generation, "is_multilingual", False))
        self.languages = {number: token.strip("<|>") for token, number in (getattr(generation, "lang_to_id", None) or {}).items()}
        self._check_language()
        batch_s = config.max_batch_s or (CUDA_BATCH_S if self.device.type == "cuda" else CPU_BATCH_S)
        self.window = int(self.extractor.n_samples)
        self.budget = BatchBudget(batch_s * SAMPLE_RATE_HZ)

    def transcribe(self, sounds: Sequence[FloatArray]) -> list[Transcript]:
        """Transcripts of mono sounds at 16 kHz, in order; sounds beyond 30 s go through windows of at most 30 s.

        Raises:
            EncoderError: a sound is empty or not finite.

        """
        if not all(len(samples_S) and np.isfinite(samples_S).all() for samples_S in sounds):
            raise EncoderError("transcribe: a sound is empty, or holds samples that are not finite; decode the file again")
        windows, owners = [], []
        for number, samples_S in enumerate(sounds):
            for window_S in cut_at_pauses(samples_S, self.window):
                windows.append(window_S)
                owners.append(number)
        pieces = self.budget.run([self.window] * len(windows), lambda batch: self._transcribe([windows[number] for number in batch]))
        by_sound: list[list[_Piece]] = [[] for _ in sounds]
        for owner, piece in zip(owners, pieces, strict=True):
            by_sound[owner].append(piece)
        return [_join(own) for own in by_sound]

    @torch.inference_mode()
    def _transcribe(self, windows: Sequence[FloatArray]) -> list[_Piece]:
        inputs = self.extractor(list(windows), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        mel_BMT = inputs["input_features"].to(self.device, COMPUTE_DTYPES[self.config.compute])
        recorder = _Recorder()
        asked = {"language": self.config.language, "task": "transcribe"} if self.is_multilingual else {}
        output = self.model.generate(
            mel_BMT,
            do_sample=False,
            num_beams=1,
            return_timestamps=False,
            return_dict_in_generate=True,
            force_unique_generate_call=True,
            logits_processor=[recorder],
            **asked,
        )
        log_probabilities_BT = torch.stack(recorder.steps, dim=1).cpu()
        sequences = output.sequences.cpu()
        num_prompt = sequences.shape[1] - log_probabilities_BT.shape[1]
        return [
            self._piece(sequence_T.tolist(), num_prompt, log_probabilities_T)
            for sequence_T, log_probabilities_T in zip(sequences, log_probabilities_BT, strict=True)
        ]

    def _piece(self, tokens: list[int], num_prompt: int, log_probabilities_T: Tensor) -> _Piece:
        chosen = tokens[num_prompt:]
        ends = self.model.generation_config.eos_token_id
        end = ends[0] if isinstance(ends, list) else ends
        num_tokens = chosen.index(end) + 1 if end in chosen else len(chosen)
        return _Piece(
            text=self.tokenizer.decode(chosen[:num_tokens], skip_special_tokens=True),
            language=self.languages[tokens[1]] if self.is_multilingual else "en",
            log_probability=float(log_probabilities_T[:num_tokens].double().sum()),
            num_tokens=num_tokens,
        )

    def _check_language(self) -> None:
        known = sorted(self.languages.values()) if self.is_multilingual else ["en"]
        if self.config.language is not None and self.config.language not in known:
            allowed = ", ".join(known)
            raise ConfigError(f"language: {self.config.weights} does not know {self.config.language!r}. Allowed: {allowed}")
        if self.is_multilingual and not self.languages:
            raise EncoderError(f"weights {self.config.weights}: generation_config.json lacks lang_to_id; download the file again")


def cut_at_pauses(samples_S: FloatArray, max_samples: int) -> list[FloatArray]:
    """Pieces of at most `max_samples` that follow one another, each cut at the quietest tenth of a second of its last sixth."""
    pieces, start = [], 0
    while len(samples_S) - start > max_samples:
        searched_S = samples_S[start + max_samples - max_samples // SEARCHED_PART : start + max_samples]
        quiet = min(round(QUIET_S * SAMPLE_RATE_HZ), len(searched_S))
        energy_S = np.cumsum(np.square(searched_S, dtype=np.float64))
        loudness = energy_S[quiet - 1 :] - np.concatenate([[0.0], energy_S[:-quiet]])
        end = start + max_samples - len(searched_S) + int(np.argmin(loudness)) + quiet // 2
        pieces.append(samples_S[start:end])
        start = end
    return [*pieces, samples_S[start:]]


def _join(pieces: Sequence[_Piece]) -> Transcript:
    num_tokens = sum(piece.num_tokens for piece in pieces)
    # The tokens bring their own spaces, where the script has some.
    text = "".join(piece.text for piece in pieces).strip()
    return Transcript(text, pieces[0].language, math.exp(sum(piece.log_probability for piece in pieces) / num_tokens))


def _load(config: WhisperConfig, device: torch.device) -> tuple[Any, Any, Any]:
    folder = config.folder()
    settings = read_settings(folder, config.weights)
    if settings.get("model_type") != "whisper":
        raise EncoderError(
            f"weights {config.weights}: config.json says model_type {settings.get('model_type')!r}; transcribe reads 'whisper'"
        )
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise EncoderError(f"weights {config.weights}: {folder} lacks {' or '.join(VOCABULARY_FILES)}; download all files")
    be_silent: Callable[[], None] = transformers.utils.logging.disable_progress_bar
    be_silent()
    try:
        # A broken one would pass for that of a model of English alone.
        transformers.GenerationConfig.from_pretrained(folder)
        extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
        tokenizer = transformers.WhisperTokenizer.from_pretrained(folder, local_files_only=True)
        loaded: Any = transformers.WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, weights_only=True, dtype=COMPUTE_DTYPES[config.compute], output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"weights {config.weights}: cannot be loaded ({reason}); download them again") from error
    model, found = loaded
    # The head's tensor is the embedding's, and saved once.
    missing = sorted(set(found["missing_keys"]) - {"proj_out.weight"})
    if missing:
        raise EncoderError(
            f"weights {config.weights}: {len(missing)} tensors of the model are missing, e.g. {missing[0]}; download them again"
        )
    return model.eval().requires_grad_(False).to(device), extractor, tokenizer
