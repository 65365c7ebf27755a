"""Every model keeps the contract of its family, each promise apart."""

import pytest

from mer_ray.core.contract import Check
from mer_ray.core.errors import ContractError
from mer_ray.models import (
    AttentionConfig,
    AudioGuidedConfig,
    EarlyFusionConfig,
    FusionModelConfig,
    HierarchicalConfig,
    LateFusionConfig,
    LowRankFusionConfig,
    MultConfig,
    TensorFusionConfig,
    VavlConfig,
)
from mer_ray.models.contract import MODEL_CHECKS

SMALL_VAVL = {"width": 16, "bottleneck": 8, "num_heads": 2, "num_encoder_blocks": 1, "kernel": 3, "dropout": 0.0, "head_dropout": 0.0}

# A new model is one line here.
MODELS: dict[str, FusionModelConfig] = {
    "attention": AttentionConfig(hidden=16, dropout=0.0),
    "hierarchical": HierarchicalConfig(hidden=16, dropout=0.0),
    "hierarchical_self_attention": HierarchicalConfig(
        hidden=16, dropout=0.0, structures=("hierarchical",), gathering="self_attention", decoder="separate"
    ),
    "audio_guided": AudioGuidedConfig(hidden=16, num_heads=2, feed_forward=16, dropout=0.0),
    "audio_guided_gate": AudioGuidedConfig(hidden=16, num_heads=2, feed_forward=16, dropout=0.0, fallback="gate"),
    "audio_guided_plain": AudioGuidedConfig(hidden=16, num_heads=2, feed_forward=16, dropout=0.0, fusion="plain"),
    "early_fusion": EarlyFusionConfig(hidden=16, dropout=0.0),
    "late_fusion": LateFusionConfig(hidden=16, dropout=0.0),
    "tfn": TensorFusionConfig(embedding=6, hidden=16, dropout=0.0),
    "lmf": LowRankFusionConfig(embedding=8, rank=3, hidden=16, dropout=0.0),
    "vavl": VavlConfig(**SMALL_VAVL),
    "vavl_separate": VavlConfig(**SMALL_VAVL, norm="layer", shared=False, audio_visual_head=False),
    "mult": MultConfig(hidden=8, num_heads=2, num_layers=1, dropout=0.0),
}


# Training takes seconds.
CHECKS = [
    pytest.param(check, id=check.name.replace(" ", "_"), marks=[pytest.mark.slow] if "over-fits" in check.name else [])
    for check in MODEL_CHECKS
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("model", MODELS)
def test_it_keeps_the_contract(model: str, check: Check[FusionModelConfig]) -> None:
    broken, reason_to_skip = None, None
    try:
        reason_to_skip = check.run(MODELS[model])
    except ContractError as error:
        broken = str(error)
    assert broken is None
    if reason_to_skip is not None:
        pytest.skip(reason_to_skip)
