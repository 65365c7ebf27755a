"""The `bert` encoder: BERT and its kin (MacBERT, RoBERTa, XLM-R, ELECTRA) through transformers, every hidden state a layer."""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import transformers

from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._pretrained import load_pretrained
from mer_ray.encoders._text import PretrainedTextConfig, PretrainedTextEncoder, load_tokenizer

# These count positions from behind the padding token's number.
OFFSET_TYPES = ("roberta", "xlm-roberta")
# The pooler is for another task, and checkpoints of language models have none.
POOLER_TYPES = ("bert", "roberta", "xlm-roberta")


class BertEncoderConfig(PretrainedTextConfig):
    """BERT, RoBERTa, XLM-R or ELECTRA; a sentence beyond the model's window goes through overlapping windows."""

    model_types = ("bert", "roberta", "xlm-roberta", "electra")
    checkpoints: ClassVar[tuple[Checkpoint, ...]] = (
        Checkpoint("hfl/chinese-macbert-large", 325_545_608, 1024, 24, "apache-2.0", "https://huggingface.co/hfl/chinese-macbert-large"),
        Checkpoint(
            "hfl/chinese-roberta-wwm-ext-large",
            *(325_545_608, 1024, 24),
            "apache-2.0",
            "https://huggingface.co/hfl/chinese-roberta-wwm-ext-large",
        ),
        Checkpoint("FacebookAI/roberta-large", 355_412_057, 1024, 24, "mit", "https://huggingface.co/FacebookAI/roberta-large"),
        Checkpoint("FacebookAI/xlm-roberta-large", 560_142_482, 1024, 24, "mit", "https://huggingface.co/FacebookAI/xlm-roberta-large"),
        Checkpoint(
            "google-bert/bert-base-uncased", 109_514_298, 768, 12, "apache-2.0", "https://huggingface.co/google-bert/bert-base-uncased"
        ),
    )

    name: Literal["bert"] = "bert"

    def max_tokens(self) -> int:
        """512 for all published models."""
        architecture = self.architecture()
        offset = architecture.pad_token_id + 1 if architecture.model_type in OFFSET_TYPES else 0
        num_tokens: int = architecture.max_position_embeddings - offset
        return num_tokens

    def _build(self, device: str) -> PretrainedTextEncoder:
        """The encoder with its weights on `device`."""
        architecture = self.architecture()
        tokenizer = load_tokenizer(self, architecture.vocab_size)
        options: dict[str, Any] = {"add_pooling_layer": False} if architecture.model_type in POOLER_TYPES else {}
        model = load_pretrained(self, transformers.AutoModel, torch.device(device), **options)
        return PretrainedTextEncoder(self, model, tokenizer, torch.device(device))
