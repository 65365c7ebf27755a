import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.models.contract import MODEL_CHECKS, make_batch, stream_sets
from mer_ray.models.hierarchical import HierarchicalConfig

STREAMS = (
    StreamSpec("hubert/18", "audio", 5),
    StreamSpec("hubert/19", "audio", 5),
    StreamSpec("manet", "vision", 4, is_sequence=True),
    StreamSpec("resnet", "vision", 3),
)
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence", "arousal"))
ALL = ("flat", "hierarchical", "cross_modal")
SMALL = {"hidden": 8, "dropout": 0.0}


def made(seed=0, task=TASK, **settings):
    torch.manual_seed(seed)
    return HierarchicalConfig(**SMALL, **settings).build(STREAMS, task)


def step_loss(model, batch, step):
    predictions = model.forward_step(batch, step)
    errors = [(predictions.values[name] - batch.values[name]).square().sum() for name in TASK.values]
    return functional.cross_entropy(predictions.logits, batch.emotion) + sum(errors)


def test_the_prediction_is_the_mean_of_the_structures():
    model, batch = made().eval(), make_batch(STREAMS, probability=0.7)
    fused, alone = model(batch), [model.forward_step(batch, name) for name in ALL]
    mean = torch.stack([torch.softmax(one.logits, dim=1) for one in alone]).mean(dim=0)
    assert torch.allclose(fused.logits, mean.log(), atol=1e-5)
    for name in TASK.values:
        assert torch.allclose(fused.values[name], torch.stack([one.values[name] for one in alone]).mean(dim=0), atol=1e-6)
        gates = torch.stack([one.facts[f"gate_{name}"] for one in alone])
        assert torch.allclose(fused.facts[f"gate_{name}"], gates.mean(dim=0)) and not torch.allclose(gates[0], gates[1])
    shown = torch.stack([one.attention for one in alone])
    assert torch.allclose(fused.attention, shown.mean(dim=0), equal_nan=True) and not torch.allclose(shown[0], shown[1], equal_nan=True)
    assert fused.attention_names == tuple(spec.name for spec in STREAMS)


def test_one_structure_predicts_its_own_logits():
    model, batch = made(structures=("cross_modal",)).eval(), make_batch(STREAMS)
    assert torch.equal(model(batch).logits, model.forward_step(batch, "cross_modal").logits)


def test_confident_structures_give_finite_logits():
    model, batch = made().eval(), make_batch(STREAMS)
    with torch.no_grad():
        for number, network in enumerate(model.networks.values()):
            network.decoder.emotion_head.bias[number] = 1e4
    logits = model(batch).logits
    assert logits.isfinite().all()
    assert torch.allclose(torch.softmax(logits, dim=1)[:, :3], torch.full((8, 3), 1 / 3), atol=1e-3)


def test_a_step_moves_its_structure_only():
    model, batch = made(), make_batch(STREAMS, 16)
    assert [step.name for step in model.steps] == list(model.parts()) == list(ALL)
    for step in model.steps:
        model.zero_grad()
        step_loss(model, batch, step.name).backward()
        for name, weights in model.parts().items():
            for weight in weights:
                assert (weight.grad is not None and bool(weight.grad.any())) == (name == step.name)


def test_three_structures_side_by_side_learn_as_if_apart():
    together, batch = made(), make_batch(STREAMS, 16, probability=0.8)
    apart = {name: made(structures=(name,)) for name in ALL}
    for name, model in apart.items():
        model.networks[name].load_state_dict(together.networks[name].state_dict())
    pairs = [(together, name) for name in ALL] + [(model, name) for name, model in apart.items()]
    optimisers = [torch.optim.Adam(model.parts()[name], lr=1e-2) for model, name in pairs]
    for _ in range(3):
        for (model, name), optimiser in zip(pairs, optimisers, strict=True):
            model.zero_grad()
            step_loss(model, batch, name).backward()
            optimiser.step()
    for name, model in apart.items():
        for key, weight in model.networks[name].state_dict().items():
            assert torch.equal(weight, together.networks[name].state_dict()[key])


def test_the_class_values_start_at_the_training_means_and_are_told():
    model = made()
    model.start_from({"valence": torch.tensor([0.0, -1.0, 2.0, torch.nan]), "arousal": torch.tensor([1.0, 2.0, 3.0, 4.0])})
    told = model.learnt()["class_values"]
    assert told["arousal"] == {"neutral": 1.0, "angry": 2.0, "happy": 3.0, "sad": 4.0}
    assert told["valence"] == pytest.approx({"neutral": 0.0, "angry": -1.0, "happy": 2.0, "sad": 1 / 3})
    with torch.no_grad():
        model.networks["flat"].decoder.class_values_VC += 3.0
    assert model.learnt()["class_values"]["arousal"]["angry"] == pytest.approx(3.0)


@pytest.mark.parametrize("settings", [{"decoder": "separate"}, {"task": TaskSpec(TASK.classes)}])
def test_without_a_mapping_there_are_no_class_values(settings):
    model, batch = made(**settings), make_batch(STREAMS)
    model.start_from({})
    assert model.learnt() == {} and model(batch).facts == {}


def test_a_clip_without_streams_predicts_the_biases():
    model = made().eval()
    found = model.forward_step(make_batch(STREAMS, missing=[spec.name for spec in STREAMS]), "hierarchical")
    assert torch.equal(found.logits, model.networks["hierarchical"].decoder.emotion_head.bias.expand(8, 4))
    assert found.attention.isnan().all()


# Over-fitting is left out: a value that is read off the emotion alone cannot learn values at random.
@pytest.mark.parametrize("check", [one for one in MODEL_CHECKS if one.name != "over-fits eight clips"], ids=lambda check: check.name)
@pytest.mark.parametrize(
    "settings",
    [{"decoder": "mapping_only"}, {"decoder": "separate"}, {"detach": True}, {"structures": ("cross_modal",)}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_the_ablations_keep_the_contract(settings, check):
    assert check.run(HierarchicalConfig(**SMALL, **settings)) is None


@pytest.mark.parametrize("gathering", ["afg", "self_attention"])
def test_models_stacked_under_vmap_predict_as_one_by_one(gathering):
    for streams in stream_sets(HierarchicalConfig()):
        models = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            models.append(HierarchicalConfig(**SMALL, gathering=gathering).build(streams, TASK).eval())
        batch = make_batch(streams, probability=0.7)
        state = torch.func.stack_module_state(models)

        def predict(state, model=models[0], batch=batch):
            found = torch.func.functional_call(model, state, (batch,))
            return found.logits, found.values["valence"], found.attention

        for number, found in enumerate(zip(*torch.func.vmap(predict, in_dims=(0,))(state), strict=True)):
            alone = models[number](batch)
            for one, other in zip(found, (alone.logits, alone.values["valence"], alone.attention), strict=True):
                assert torch.allclose(one, other, atol=1e-5, equal_nan=True)


def test_under_autocast_outputs_and_attention_are_float32():
    model, batch = made().eval(), make_batch(STREAMS, probability=0.7)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(batch)
    outputs = (found.logits, *found.values.values(), *found.facts.values(), found.attention)
    assert {x.dtype for x in outputs} == {torch.float32}
    present = torch.stack(list(batch.present.values()), dim=1)
    assert torch.allclose(found.attention.nansum(dim=1), present.any(dim=1).float(), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"structures": ()}, "at least 1 item"),
        ({"structures": ("flat", "flat")}, "name each structure once"),
        ({"structures": ("deep",)}, "'flat', 'hierarchical' or 'cross_modal'"),
        ({"gathering": "self_attention", "hidden": 10}, "hidden: 10 does not split into 4 heads"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, line):
    with pytest.raises(ValidationError, match=line):
        HierarchicalConfig(**settings)
