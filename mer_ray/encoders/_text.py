"""What the encoders of sentences from transformers checkpoints share: tokens, windows, and states pooled over real tokens.

Shapes: B windows, T tokens, D hidden size, L layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import EncoderInput, Features, FloatArray, TextFormat
from mer_ray.encoders._budget import BatchBudget, make_rungs
from mer_ray.encoders._compiled import MAX_LENGTHS
from mer_ray.encoders._pretrained import NetworkEncoder, PretrainedEncoderConfig, exact_float32, pool_states, to_device
from mer_ray.encoders._windows import Window, cut_windows, merge_statistics

# Windows share a quarter of their tokens or more with their neighbours.
OVERLAP_DIVISOR = 4
# Tokens in one forward pass, padding counted.
CPU_BATCH_TOKENS, CUDA_BATCH_TOKENS = 1024, 16_384
# What `compile` prepares for; sentences are short.
SHORTEST_COMPILED, LONGEST_COMPILED = 16, 2048
# One of these must be there: without them transformers builds a tokenizer that knows no words.
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model")
TOKENIZER_FILES = ("tokenizer*.json", "vocab*", "merges*", "special_tokens_map*", "added_tokens*", "*.model")


class PretrainedTextConfig(PretrainedEncoderConfig):
    """A transformers checkpoint that reads sentences; every hidden state is a layer, every token a frame.

    `special_tokens`: whether the tokens that the tokenizer adds ([CLS], [SEP], <s>) count as frames. They are left out by
    default, as MERTools does: they are no words, and a causal model's first token has states too large for float16.
    `max_batch_tokens` bounds the padded tokens in one pass (None: 1024 on a CPU, 16384 on a GPU).
    """

    companions: ClassVar[tuple[str, ...]] = TOKENIZER_FILES

    special_tokens: bool = False
    max_batch_tokens: int | None = where_or_how_fast(None, ge=1)

    @property
    def input_format(self) -> TextFormat:
        """The sentence of the manifest."""
        return TextFormat()

    @property
    def frame_s(self) -> None:
        """Tokens have no time."""
        return

    def check(self) -> None:
        """Refuse what `EncoderConfig.check` refuses, and a rate."""
        if self.rate_hz is not None:
            raise ConfigError(f"encoder {self.name}: rate_hz averages frames in time, but tokens have no time; leave rate_hz out")
        super().check()

    def architecture(self) -> transformers.PreTrainedConfig:
        """Sizes and kinds of all parts, from config.json."""
        settings = self.settings()
        architecture: transformers.PreTrainedConfig = transformers.CONFIG_MAPPING[settings["model_type"]].from_dict(settings)
        return architecture

    def layers(self) -> dict[str, int]:
        """`layer_0` (input of the first block) to `layer_N` (output of the model, after the final norm where it has one)."""
        architecture = self.architecture()
        return {f"layer_{number}": architecture.hidden_size for number in range(architecture.num_hidden_layers + 1)}

    def skeleton(self) -> nn.Module:
        """The network without weights."""
        with torch.device("meta"):
            make: Any = transformers.AutoModel.from_config
            network: nn.Module = make(self.architecture())
        return network

    @abstractmethod
    def max_tokens(self) -> int | None:
        """The longest input of the model, special tokens counted; None where there is no limit."""


@dataclass(frozen=True)
class _Window:
    """One row of a batch: its tokens, and those whose states are kept."""

    sentence: int
    token_ids: list[int]
    keep_start: int
    keep_end: int


@dataclass(frozen=True)
class _Part:
    """What a window gives: mean and deviation over its kept tokens, and their states."""

    num_tokens: int
    mean_LD: FloatArray
    std_LD: FloatArray
    sequences: dict[str, FloatArray]


class PretrainedTextEncoder(NetworkEncoder):
    """A network over tokens; windows of similar length share a padded batch and do not notice it."""

    def __init__(self, config: PretrainedTextConfig, model: Any, tokenizer: Any, device: torch.device) -> None:
        super().__init__(config)
        self.model, self.tokenizer, self.device = model, tokenizer, device
        self.keeps_special_tokens = config.special_tokens
        self.numbers = {layer: int(layer.removeprefix("layer_")) for layer in self.layers}
        self.prefix, self.suffix = _special_tokens(tokenizer)
        max_tokens = config.max_tokens()
        self.capacity = None if max_tokens is None else max_tokens - len(self.prefix) - len(self.suffix)
        # Any token will do as padding: the mask hides it. Some tokenizers have none.
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        longest = min(max_tokens or LONGEST_COMPILED, LONGEST_COMPILED)
        rungs = make_rungs(min(SHORTEST_COMPILED, longest), longest, MAX_LENGTHS) if config.compile else ()
        self.budget = BatchBudget(config.max_batch_tokens or (CUDA_BATCH_TOKENS if device.type == "cuda" else CPU_BATCH_TOKENS), rungs)

    def padding(self) -> tuple[int, int]:
        """Tokens, special ones counted."""
        return self.budget.real_units, self.budget.padded_units

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        sentences = [clip_input for clip_input in inputs if isinstance(clip_input, str)]
        if not sentences:
            return []
        windows = [window for number, sentence in enumerate(sentences) for window in self._cut(number, sentence)]
        lengths = [len(window.token_ids) for window in windows]
        parts = self.budget.run(lengths, lambda batch: self._encode_batch([windows[number] for number in batch]))
        by_sentence: list[list[_Part]] = [[] for _ in sentences]
        for window, part in zip(windows, parts, strict=True):
            by_sentence[window.sentence].append(part)
        return [self._join(own) for own in by_sentence]

    def _cut(self, number: int, sentence: str) -> list[_Window]:
        content = self.tokenizer(sentence, add_special_tokens=False, verbose=False)["input_ids"]
        capacity = self.capacity or max(len(content), 1)
        windows = cut_windows(len(content), capacity, capacity // OVERLAP_DIVISOR)
        cut = [self._wrap(number, content, window, window is windows[0], window is windows[-1]) for window in windows]
        if not any(window.keep_end > window.keep_start for window in cut):
            raise EncoderError(f"{self.name}: the sentence {sentence[:40]!r} has no tokens; at least 1 is needed")
        return cut

    def _wrap(self, number: int, content: list[int], window: Window, is_first: bool, is_last: bool) -> _Window:
        offset = len(self.prefix) - window.start
        keeps = self.keeps_special_tokens
        return _Window(
            number,
            [*self.prefix, *content[window.start : window.stop], *self.suffix],
            0 if keeps and is_first else window.keep_start + offset,
            window.keep_stop + offset + (len(self.suffix) if keeps and is_last else 0),
        )

    def trim(self, clip_input: EncoderInput, start: float, max_s: float) -> str:
        """The sentence: what is beyond the model's window is left out by `last_states`.

        Raises:
            EncoderError: it has no tokens.

        """
        assert isinstance(clip_input, str)
        self._cut(0, clip_input)
        return clip_input

    def last_states(self, inputs: Sequence[EncoderInput]) -> tuple[Tensor, Tensor]:
        """Of the network's output over the tokens that count; of a long sentence over its first window."""
        windows = [self._cut(0, sentence)[0] for sentence in inputs if isinstance(sentence, str)]
        state_BTD: Tensor = self._forward(windows)[-1]
        starts_B1, ends_B1 = (
            torch.tensor([[place] for place in places], device=state_BTD.device)
            for places in ([window.keep_start for window in windows], [window.keep_end for window in windows])
        )
        times_T = torch.arange(state_BTD.shape[1], device=state_BTD.device)
        return state_BTD, (times_T >= starts_B1) & (times_T < ends_B1)

    def _forward(self, windows: Sequence[_Window]) -> tuple[Tensor, ...]:
        """All hidden states (B, T, D)."""
        longest = self.budget.padded_length(max(len(window.token_ids) for window in windows))
        # Padding on the right: a causal model's real tokens cannot see it, and positions count from the sentence's start.
        ids_BT = torch.full((len(windows), longest), self.pad_id)
        mask_BT = torch.zeros(len(windows), longest, dtype=torch.long)
        for row, window in enumerate(windows):
            ids_BT[row, : len(window.token_ids)] = torch.tensor(window.token_ids)
            mask_BT[row, : len(window.token_ids)] = 1
        output = self.model(
            input_ids=to_device(ids_BT, self.device), attention_mask=to_device(mask_BT, self.device), output_hidden_states=True
        )
        return (*output.hidden_states[:-1], output.last_hidden_state)

    @torch.inference_mode()
    def _encode_batch(self, windows: Sequence[_Window]) -> list[_Part]:
        with exact_float32():
            states = self._forward(windows)
        kept_LBTD = [states[number] for number in self.numbers.values()]
        starts = [window.keep_start for window in windows]
        counts = [window.keep_end - window.keep_start for window in windows]
        mean_LBD, std_LBD = pool_states(kept_LBTD, torch.tensor(counts, device=self.device), torch.tensor(starts, device=self.device))
        return [
            _Part(
                counts[row],
                mean_LBD[:, row],
                std_LBD[:, row],
                {
                    layer: states[self.numbers[layer]][row, window.keep_start : window.keep_end].float().cpu().numpy()
                    for layer in self.sequences
                },
            )
            for row, window in enumerate(windows)
        ]

    def _join(self, parts: Sequence[_Part]) -> Features:
        num_tokens = [part.num_tokens for part in parts]
        mean_LD, std_LD = merge_statistics(num_tokens, [part.mean_LD for part in parts], [part.std_LD for part in parts])
        return Features(
            num_frames=sum(num_tokens),
            frame_s=0.0,
            mean=dict(zip(self.numbers, mean_LD, strict=True)),
            std=dict(zip(self.numbers, std_LD, strict=True)),
            sequences={layer: np.concatenate([part.sequences[layer] for part in parts]) for layer in self.sequences},
        )


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and behind a sentence."""
    word = tokenizer("a", return_special_tokens_mask=True, add_special_tokens=True)
    ids, is_special = word["input_ids"], word["special_tokens_mask"]
    content = [place for place, special in enumerate(is_special) if not special]
    return (ids[: content[0]], ids[content[-1] + 1 :]) if content else (ids[:0], ids[:0])


def load_tokenizer(config: PretrainedTextConfig, vocab_size: int, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of `config.folder()`, a fast one where there is one.

    Raises:
        EncoderError: its files are missing or broken, or it knows more tokens than the model.

    """
    folder = config.folder()
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise EncoderError(
            f"weights {config.weights}: {folder} lacks the tokenizer ({' or '.join(VOCABULARY_FILES)}); "
            "save it there with save_pretrained(), or download all files"
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise EncoderError(f"weights {config.weights}: the tokenizer cannot be loaded ({_in_short(error)})") from error
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocab_size:
        raise EncoderError(
            f"weights {config.weights}: the tokenizer has token {largest}, but the model knows {vocab_size}; "
            "take tokenizer and tensors from the same checkpoint"
        )
    return tokenizer


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
