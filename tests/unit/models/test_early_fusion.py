import torch

from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.models.contract import make_batch
from mer_ray.models.early_fusion import EarlyFusionConfig
from mer_ray.models.late_fusion import LateFusionConfig

STREAMS = (StreamSpec("tone", "audio", 5), StreamSpec("face", "vision", 4), StreamSpec("words", "text", 3))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence",))


def made(config, streams=STREAMS):
    torch.manual_seed(0)
    return config.build(streams, TASK).eval()


def test_one_network_reads_all_streams_side_by_side_and_zeros_where_absent():
    model, batch = made(EarlyFusionConfig(hidden=8)), make_batch(STREAMS, missing=("face",))
    batch.streams["face"] = torch.full_like(batch.streams["face"], torch.nan)
    x = torch.cat([batch.streams["tone"], torch.zeros(8, 4), batch.streams["words"]], dim=1)
    for layer in (model.network.layers[1], model.network.layers[4]):
        x = torch.relu(layer(x))
    found = model(batch)
    assert torch.allclose(found.logits, model.network.heads.emotion_head(x), atol=1e-6)
    assert torch.allclose(found.values["valence"], model.network.heads.value_heads(x)[:, 0], atol=1e-6)


def test_of_one_modality_it_is_late_fusion():
    settings, batch = {"hidden": 8, "num_layers": 3}, make_batch(STREAMS[:1])
    early, late = made(EarlyFusionConfig(**settings), STREAMS[:1]), made(LateFusionConfig(**settings), STREAMS[:1])
    late.load_state_dict({name.replace("network.", "networks.audio."): weight for name, weight in early.state_dict().items()})
    assert torch.allclose(early(batch).logits.softmax(dim=1), late(batch).logits.softmax(dim=1), atol=1e-6)


def test_it_learns_in_one_step():
    model = made(EarlyFusionConfig(num_layers=3, dropout=0.4, input_dropout=0.2))
    assert [(step.name, step.needs) for step in model.steps] == [("all", ())]
    rates = [layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)]
    assert rates == [0.2, 0.4, 0.4, 0.4] and sum(isinstance(layer, torch.nn.Linear) for layer in model.network.layers) == 3
