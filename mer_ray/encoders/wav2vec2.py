"""The `wav2vec2` encoder: wav2vec 2.0 through transformers, every hidden state a layer."""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from typing import Any, Literal

import transformers

from mer_ray.encoders._speech import on_hub
from mer_ray.encoders._speech_conv import ConvSpeechConfig


class Wav2Vec2EncoderConfig(ConvSpeechConfig):
    """wav2vec 2.0 (Baevski et al., 2020).

    VAVL reads `facebook/wav2vec2-large-robust` with `num_layers: 12` and its `layer_12`: the first 12 of 24 blocks and then the
    model's final norm, as in its code, which deletes the upper blocks. `layer_12` of all 24 blocks is the same before that norm.
    """

    model_types = ("wav2vec2",)
    checkpoints = (
        on_hub("facebook/wav2vec2-base", 95_044_608, 768, 12, "apache-2.0"),
        on_hub("facebook/wav2vec2-large-robust", 317_390_592, 1024, 24, "apache-2.0"),
    )

    name: Literal["wav2vec2"] = "wav2vec2"

    def whole_architecture(self) -> transformers.Wav2Vec2Config:
        """Sizes and kinds of all parts, from config.json."""
        architecture = transformers.Wav2Vec2Config.from_dict(self.settings())
        # Convolutions that some fine-tuned models add after the transformer, at a lower frame rate: layers are the transformer's.
        architecture.add_adapter = False
        return architecture

    def model_class(self) -> Any:
        """Wav2Vec2Model."""
        return transformers.Wav2Vec2Model
