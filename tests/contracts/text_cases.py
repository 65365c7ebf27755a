"""The encoders of sentences: small random networks with real tokenizers, saved as their authors would."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from encoder_case import EncoderCase
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from mer_ray.encoders import EncoderConfig
from mer_ray.encoders.bert import BertEncoderConfig
from mer_ray.encoders.causal_lm import CausalLmConfig

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
WINDOW_TOKENS = 24


def save_wordpiece(folder: Path) -> int:
    """BERT's tokenizer: whole words where known, else pieces; Chinese by character. The number of tokens."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "told", "you", "so", "why", "would", "do", "that", "!", "?", ",", "."]
    words += [*"我今天真的很高兴", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return _save_tokenizer(tokenizer, folder, names)


def save_byte_level(folder: Path, special: dict[str, str], start: str | None, end: str | None) -> int:
    """A tokenizer of bytes, as GPT-2, RoBERTa and Llama 3 have it, with the special tokens of `special` first."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate([*dict.fromkeys(special.values()), *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    used = [token for token in (start, end) if token]
    if used:
        template = " ".join(token for token in (start, "$A", end) if token)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(token, vocabulary[token]) for token in dict.fromkeys(used)]
        )
    return _save_tokenizer(tokenizer, folder, special)


def _save_tokenizer(tokenizer: Tokenizer, folder: Path, special: dict[str, str]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.add_special_tokens(list(dict.fromkeys(special.values())))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **{f"{name}_token": token for name, token in special.items()}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    size: int = tokenizer.get_vocab_size()
    return size


def save_small_bert(folder: Path, model_type: str = "bert", seed: int = 0, **changes: object) -> Path:
    """A random network of two layers whose window is 24 tokens."""
    torch.manual_seed(seed)
    if model_type in ("bert", "electra"):
        size, positions, pad = save_wordpiece(folder), WINDOW_TOKENS, 0
    else:
        special = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
        size, positions, pad = save_byte_level(folder, special, "<s>", "</s>"), WINDOW_TOKENS + 2, 1
    sizes = {**SMALL, "vocab_size": size, "max_position_embeddings": positions, "pad_token_id": pad, **changes}
    if model_type == "electra":
        sizes["embedding_size"] = 16
    architecture = transformers.CONFIG_MAPPING[model_type](**sizes)
    # What language models are published as: a head that is not read, no pooler.
    transformers.AutoModelForMaskedLM.from_config(architecture).save_pretrained(folder)
    return folder


def save_small_causal_lm(folder: Path, model_type: str = "llama", seed: int = 0, **changes: object) -> Path:
    """A random decoder of three layers with its head. Llama's tokenizer puts a token first and has none for padding."""
    torch.manual_seed(seed)
    if model_type in ("llama", "mistral"):
        size = save_byte_level(folder, {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>"}, "<|begin_of_text|>", None)
    else:
        size = save_byte_level(folder, {"pad": "<|endoftext|>", "eos": "<|endoftext|>"}, None, None)
    sizes = {**SMALL, "num_hidden_layers": 3, "num_key_value_heads": 1, "vocab_size": size, "max_position_embeddings": 512, "head_dim": 16}
    architecture = transformers.CONFIG_MAPPING[model_type](**{**sizes, **changes})
    transformers.AutoModelForCausalLM.from_config(architecture).save_pretrained(folder)
    return folder


def _bert(model_type: str, **fields: object) -> Callable[[Path], EncoderConfig]:
    return lambda folder: BertEncoderConfig(weights=str(save_small_bert(folder / "bert", model_type)), **fields)


def _causal_lm(model_type: str, **fields: object) -> Callable[[Path], EncoderConfig]:
    return lambda folder: CausalLmConfig(weights=str(save_small_causal_lm(folder / "lm", model_type)), compute="float32", **fields)


SENTENCES = (
    "I told you so!",
    "why would you do that",
    "我今天真的很高兴",
    "So, why would I do that? I told you, I told you, and I told you again: do that, and do it so that all of us would be happy.",
)
# None is without tokens: such a sentence is refused.
HOSTILE_SENTENCES = ("?!…", "a" * 500, "🙂🙂", "é ﬁ ①", "[CLS] [PAD] <s> </s> <pad>", "z")

TEXT_CASES = (
    *(
        EncoderCase(
            f"bert-{model_type}",
            _bert(model_type, special_tokens=special_tokens),
            SENTENCES,
            HOSTILE_SENTENCES,
            ({"compute": "bf16"}, {"dtype": "float32"}, {"sequences": ("layer_1",)}, {"special_tokens": not special_tokens}),
            ({"max_batch_tokens": 30},),
            has_weights=True,
        )
        for model_type, special_tokens in (("bert", False), ("roberta", False), ("xlm-roberta", True), ("electra", False))
    ),
    *(
        EncoderCase(
            f"causal_lm-{model_type}",
            _causal_lm(model_type, chosen_layers=chosen_layers),
            SENTENCES,
            HOSTILE_SENTENCES,
            ({"compute": "bf16"}, {"dtype": "float32"}, {"sequences": ("layer_3",)}, {"special_tokens": True}, {"chosen_layers": (3,)}),
            ({"max_batch_tokens": 30}, {"device_map": "auto"}),
            has_weights=True,
        )
        for model_type, chosen_layers in (("llama", None), ("mistral", None), ("qwen2", (-1, -3)), ("qwen3", None))
    ),
)
