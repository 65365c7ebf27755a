"""The `clip` encoder: CLIP's tower for pictures through transformers, every hidden state of the class token a layer.

Shapes: B frames, C channels, H height, W width, T tokens (class token, patches), D hidden size.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import transformers
from torch import Tensor, nn

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import EncoderInput, Frames
from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._pretrained import NetworkEncoder, PretrainedEncoderConfig, load_pretrained
from mer_ray.encoders._vision import VisionEncoder, VisionEncoderConfig

PREPROCESSOR_FILE = "preprocessor_config.json"
WITH_PROJECTION = "CLIPVisionModelWithProjection"
CLASS_TOKEN = 0


class ClipEncoderConfig(VisionEncoderConfig, PretrainedEncoderConfig):
    """CLIP, or its tower for pictures alone; frames are decoded at the size it was trained with."""

    model_types = ("clip", "clip_vision_model")
    companions = (PREPROCESSOR_FILE,)
    checkpoints: ClassVar[tuple[Checkpoint, ...]] = (
        Checkpoint(
            weights="openai/clip-vit-large-patch14",
            num_parameters=427_616_513,
            dim=1024,
            num_layers=25,
            licence="MIT (OpenAI's code; the hub's model card names none)",
            source="https://huggingface.co/openai/clip-vit-large-patch14",
        ),
    )

    name: Literal["clip"] = "clip"

    @property
    def decoded_size(self) -> int:
        """The size of picture that the position embeddings are for."""
        size = self.architecture().image_size
        if not isinstance(size, int):
            raise EncoderError(f"weights {self.weights}: config.json says image_size {size}; square pictures of one size are supported")
        return size

    def architecture(self) -> transformers.CLIPVisionConfig:
        """Sizes and kinds of all parts of the tower, from config.json."""
        settings = self.settings()
        if settings["model_type"] == "clip":
            # The whole model says the projection's size for both of its towers.
            settings = {**settings["vision_config"], "projection_dim": settings["projection_dim"]}
        return transformers.CLIPVisionConfig.from_dict(settings)

    def has_projection(self) -> bool:
        """Whether the checkpoint can project into the space that it shares with text."""
        settings = self.settings()
        return settings["model_type"] == "clip" or WITH_PROJECTION in (settings.get("architectures") or ())

    def layers(self) -> dict[str, int]:
        """`layer_0` (input of the first block) to `layer_N` of the class token, and `projection` where there is one."""
        architecture = self.architecture()
        layers = {f"layer_{number}": architecture.hidden_size for number in range(architecture.num_hidden_layers + 1)}
        return {**layers, "projection": architecture.projection_dim} if self.has_projection() else layers

    def network_digest(self) -> str:
        """The sha256 over tensors, configs and the adapter's files."""
        return PretrainedEncoderConfig.weights_digest(self)

    def preprocessing(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and deviation of each colour from 0 to 1, from preprocessor_config.json.

        Raises:
            EncoderError: it asks for another size than the network has, or does not say these numbers.

        """
        settings: dict[str, Any] = json.loads((self.folder() / PREPROCESSOR_FILE).read_text())
        size = settings.get("crop_size") or settings.get("size")
        height = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
        means, deviations = settings.get("image_mean"), settings.get("image_std")
        if height != self.decoded_size or not (
            isinstance(means, list) and isinstance(deviations, list) and len(means) == len(deviations) == 3
        ):
            raise EncoderError(
                f"weights {self.weights}: {PREPROCESSOR_FILE} says size {height}, image_mean {means}, image_std {deviations}; "
                f"the network needs size {self.decoded_size} and three means and deviations"
            )
        return means, deviations

    def model_class(self) -> Any:
        """The tower, with the projection where the checkpoint has one."""
        return transformers.CLIPVisionModelWithProjection if self.has_projection() else transformers.CLIPVisionModel

    def skeleton(self) -> nn.Module:
        """The tower without weights."""
        with torch.device("meta"):
            network: nn.Module = self.model_class()(self.architecture())
        return network

    def _build(self, device: str) -> ClipEncoder:
        """The encoder with its weights on `device`."""
        return ClipEncoder(self, device)


class ClipEncoder(VisionEncoder, NetworkEncoder):
    """A CLIP vision transformer."""

    def __init__(self, config: ClipEncoderConfig, device: str) -> None:
        means, deviations = ([255 * value for value in values] for values in config.preprocessing())
        super().__init__(config, device, means, deviations)
        self.has_projection = config.has_projection()
        self.model = load_pretrained(config, config.model_class(), self.device, config=config.architecture())

    def trim(self, clip_input: EncoderInput, start: float, max_s: float) -> Frames:
        """All frames: each goes through the network alone."""
        assert isinstance(clip_input, Frames)
        return clip_input

    def last_states(self, inputs: Sequence[EncoderInput]) -> tuple[Tensor, Tensor]:
        """The class token of each frame after the last block; a clip's T are its frames."""
        clips = [torch.from_numpy(clip_input.images) for clip_input in inputs if isinstance(clip_input, Frames)]
        counts = [len(images) for images in clips]
        layers = self._forward(self._normalise(torch.cat(clips).to(self.device)))
        state_ND = layers[-2] if self.has_projection else layers[-1]
        mask_BT = torch.arange(max(counts), device=self.device) < torch.tensor(counts, device=self.device)[:, None]
        return nn.utils.rnn.pad_sequence(list(torch.split(state_ND, counts)), batch_first=True), mask_BT

    def _forward(self, images_BCHW: Tensor) -> list[Tensor]:
        output = self.model(images_BCHW, output_hidden_states=True)
        layers = [state_BTD[:, CLASS_TOKEN] for state_BTD in output.hidden_states]
        return [*layers, output.image_embeds] if self.has_projection else layers
