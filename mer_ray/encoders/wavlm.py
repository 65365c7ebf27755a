"""The `wavlm` encoder: WavLM through transformers, every hidden state a layer."""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from typing import Any, Literal

import transformers

from mer_ray.encoders._speech import on_hub
from mer_ray.encoders._speech_conv import ConvSpeechConfig, ConvSpeechEncoder
from mer_ray.encoders._wavlm_attention import use_sdpa


class WavLMEncoderConfig(ConvSpeechConfig):
    """WavLM (Chen et al., 2022). Its model cards name no licence; ask Microsoft's repository before sharing what comes of it."""

    model_types = ("wavlm",)
    checkpoints = (
        on_hub("microsoft/wavlm-base-plus", 94_381_936, 768, 12, "unknown"),
        on_hub("microsoft/wavlm-large", 315_453_120, 1024, 24, "unknown"),
    )

    name: Literal["wavlm"] = "wavlm"

    def whole_architecture(self) -> transformers.WavLMConfig:
        """Sizes and kinds of all parts, from config.json."""
        architecture = transformers.WavLMConfig.from_dict(self.settings())
        # Convolutions that some fine-tuned models add after the transformer, at a lower frame rate: layers are the transformer's.
        architecture.add_adapter = False
        return architecture

    def model_class(self) -> Any:
        """WavLMModel."""
        return transformers.WavLMModel

    def _build(self, device: str) -> ConvSpeechEncoder:
        """The encoder with its weights on `device`."""
        encoder = super()._build(device)
        use_sdpa(encoder.model)
        return encoder
