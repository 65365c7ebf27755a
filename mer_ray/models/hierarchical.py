"""Hierarchical audio-visual fusion with multi-label joint decoding (arXiv 2309.07925): three structures of AFG decide together.

Shapes: B clips, S streams, H hidden.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._base import FusionModel, FusionModelConfig, TrainStep
from mer_ray.models._decision_fusion import fuse_decisions
from mer_ray.models._feature_gathering import GatheringName, make_gathering
from mer_ray.models._joint_decoder import DecoderName, JointDecoder
from mer_ray.models._stream_projection import StreamProjection
from mer_ray.models._structures import Structure, StructureName, structure_groups


class HierarchicalConfig(FusionModelConfig):
    """The paper's system has all three structures and the joint decoder; the rest are its ablations. `num_heads`: of self-attention."""

    reads_frames: ClassVar[bool] = True

    name: Literal["hierarchical"] = "hierarchical"
    structures: tuple[StructureName, ...] = Field(("flat", "hierarchical", "cross_modal"), min_length=1)
    gathering: GatheringName = "afg"
    decoder: DecoderName = "joint"
    detach: bool = False
    # LayerNorm over one number is constant.
    hidden: int = Field(128, ge=2, le=65_536)
    num_heads: int = Field(4, ge=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.structures)) < len(self.structures):
            raise ValueError(f"structures: {', '.join(self.structures)}: name each structure once")
        if self.gathering == "self_attention" and self.hidden % self.num_heads:
            raise ValueError(f"hidden: {self.hidden} does not split into {self.num_heads} heads; take a multiple of num_heads")
        return self

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "HierarchicalFusion":
        """Make the model, with random weights."""
        return HierarchicalFusion(self, streams, task)


class HierarchicalFusion(FusionModel):
    """Each structure is a network of its own and learns in a step of its own, as if trained alone; they predict together.

    Prediction [paper]: the structures combined at the level of posteriors and of values; the mean is our choice, as are all formulas
    of the parts (README.md).
    """

    def __init__(self, config: HierarchicalConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.networks = nn.ModuleDict({name: StructureNetwork(name, config, streams, task) for name in config.structures})
        self.steps = tuple(TrainStep(name, (name,)) for name in config.structures)

    def forward(self, batch: Batch) -> Predictions:
        """Predict with all structures; attention and gates are means over them."""
        decisions: list[Predictions] = [network(batch) for network in self.networks.values()]
        fused = fuse_decisions(decisions)
        fused.attention = torch.stack([one.attention for one in decisions if one.attention is not None]).mean(dim=0)
        fused.attention_names = decisions[0].attention_names
        fused.facts = {name: torch.stack([one.facts[name] for one in decisions]).mean(dim=0) for name in decisions[0].facts}
        return fused

    def forward_step(self, batch: Batch, step: str) -> Predictions:
        """The predictions of the structure that the step trains."""
        predictions: Predictions = self.networks[step](batch)
        return predictions

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The parameters by structure."""
        return {name: network.parameters() for name, network in self.networks.items()}

    def start_from(self, class_means: Mapping[str, Tensor]) -> None:
        """Start the mapping from emotion to values at the training means."""
        for decoder in self._decoders():
            decoder.start_from(class_means)

    def learnt(self) -> dict[str, Any]:
        """`class_values`: the value that each class is mapped to, mean over the structures; nothing without a mapping."""
        found = [decoder.class_values_VC.detach() for decoder in self._decoders() if decoder.class_values_VC is not None]
        if not found:
            return {}
        rows = torch.stack(found).mean(dim=0).tolist()
        by_class = [dict(zip(self.task.classes, row, strict=True)) for row in rows]
        return {"class_values": dict(zip(self.task.values, by_class, strict=True))}

    def _decoders(self) -> list[JointDecoder]:
        return [module for module in self.modules() if isinstance(module, JointDecoder)]


class StructureNetwork(nn.Module):
    """One structure, whole: streams projected, gathered, decoded."""

    def __init__(self, name: StructureName, config: HierarchicalConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.projections = nn.ModuleList(StreamProjection(spec, config.hidden, config.dropout, config.input_dropout) for spec in streams)
        gather = make_gathering(config.gathering, config.hidden, config.num_heads)
        self.structure = Structure(structure_groups(name, streams), len(streams), gather)
        self.decoder = JointDecoder(config.decoder, config.detach, config.hidden, task)

    def forward(self, batch: Batch) -> Predictions:
        """The predictions of this structure alone; attention (B, S) is the weight of each stream, NaN where absent."""
        present_BS = torch.stack([batch.present[spec.name] for spec in self.streams], dim=1)
        h_BSH = torch.stack([projection(batch) for projection in self.projections], dim=1)
        z_BH, weights_BS = self.structure(h_BSH, present_BS)
        predictions: Predictions = self.decoder(z_BH)
        predictions.attention = weights_BS.detach().masked_fill(~present_BS, torch.nan)
        predictions.attention_names = tuple(spec.name for spec in self.streams)
        return predictions
