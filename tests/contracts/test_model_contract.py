"""Every model keeps the contract of its family, each promise apart."""

import pytest

from mer_ray.core.contract import Check
from mer_ray.models import AttentionConfig, FusionModelConfig
from mer_ray.models.contract import MODEL_CHECKS

# A new model is one line here.
MODELS = {"attention": AttentionConfig(hidden=16, dropout=0.0)}


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.name.replace(" ", "_"))
@pytest.mark.parametrize("model", MODELS)
def test_it_keeps_the_contract(model: str, check: Check[FusionModelConfig]) -> None:
    reason = check.run(MODELS[model])
    if reason is not None:
        pytest.skip(reason)
