"""The `hubert` encoder: HuBERT through transformers, every hidden state a layer."""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from typing import Any, Literal

import transformers

from mer_ray.encoders._speech import on_hub
from mer_ray.encoders._speech_conv import ConvSpeechConfig


class HubertEncoderConfig(ConvSpeechConfig):
    """HuBERT (Hsu et al., 2021)."""

    model_types = ("hubert",)
    checkpoints = (
        on_hub("facebook/hubert-base-ls960", 94_371_712, 768, 12, "apache-2.0"),
        on_hub("facebook/hubert-large-ll60k", 315_438_720, 1024, 24, "apache-2.0"),
        on_hub("TencentGameMate/chinese-hubert-base", 94_371_712, 768, 12, "mit"),
        on_hub("TencentGameMate/chinese-hubert-large", 315_438_720, 1024, 24, "mit"),
    )

    name: Literal["hubert"] = "hubert"

    def whole_architecture(self) -> transformers.HubertConfig:
        """Sizes and kinds of all parts, from config.json."""
        return transformers.HubertConfig.from_dict(self.settings())

    def model_class(self) -> Any:
        """HubertModel."""
        return transformers.HubertModel
