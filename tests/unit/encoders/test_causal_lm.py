import json
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from text_cases import save_small_causal_lm

from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.encoders import encoder_identity
from mer_ray.encoders.causal_lm import CausalLmConfig
from mer_ray.encoders.fetching import fetch_need, list_needs

SENTENCES = ["I told you so!", "why", "我今天真的很高兴", "So, why would I do that? I told you, and again."]
LAYERS = ("layer_0", "layer_1", "layer_2", "layer_3")

MODELING = """
import pathlib
import torch
import transformers

pathlib.Path({trace!r}).touch()

class OwnConfig(transformers.PreTrainedConfig):
    model_type = "own"

class OwnModel(transformers.PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(config.hidden_size, config.hidden_size) for _ in range(config.num_hidden_layers))
        self.post_init()

    def forward(self, input_ids, attention_mask=None, output_hidden_states=False):
        states = [self.embed(input_ids)]
        for block in self.blocks:
            states.append(states[-1] + torch.tanh(block(states[-1])))
        return transformers.modeling_outputs.BaseModelOutputWithPast(last_hidden_state=states[-1], hidden_states=tuple(states))

class OwnForCausalLM(transformers.PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = OwnModel(config)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_causal_lm(tmp_path_factory.mktemp("weights") / "llama")


def config_of(folder: Path, **fields: object) -> CausalLmConfig:
    return CausalLmConfig.model_validate({"weights": str(folder), "dtype": "float32", "compute": "float32", **fields})


@pytest.fixture
def own_code(tmp_path: Path) -> Path:
    """A model that only the code in its folder knows, published as Baichuan is: the class with the head is mapped, the decoder is not."""
    folder = save_small_causal_lm(tmp_path / "own")
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "modeling_own.py").write_text(MODELING.format(trace=str(tmp_path / "code_ran")))
    auto_map = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    settings = {"model_type": "own", "auto_map": auto_map, "hidden_size": 8, "num_hidden_layers": 2, "vocab_size": size}
    (folder / "config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    names = {"model.embed.weight": (size, 8), "lm_head.weight": (size, 8), "lm_head.bias": (size,)}
    names |= {f"model.blocks.{block}.weight": (8, 8) for block in (0, 1)} | {f"model.blocks.{block}.bias": (8,) for block in (0, 1)}
    (folder / "model.safetensors").unlink()
    torch.save({name: torch.randn(shape) for name, shape in names.items()}, folder / "pytorch_model.bin")
    return folder


def test_layers_are_the_hidden_states_of_the_decoder_without_the_first_token(folder: Path) -> None:
    features = config_of(folder, sequences=LAYERS).build("cpu").encode(["I told you so!"])[0]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)("I told you so!", return_tensors="pt")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        states = model(**tokens, output_hidden_states=True).hidden_states
    for layer, state_1TD in zip(LAYERS, states, strict=True):
        expected_TD = state_1TD[0, 1:].numpy()
        assert np.abs(features.sequences[layer] - expected_TD).max() < 1e-5
        assert np.abs(features.mean[layer] - expected_TD.mean(axis=0)).max() < 1e-5
    assert features.num_frames == tokens["input_ids"].shape[1] - 1


def test_only_the_decoder_is_loaded(folder: Path) -> None:
    names = [name for name, _ in config_of(folder).build("cpu").model.named_parameters()]
    assert not [name for name in names if "lm_head" in name]


def test_chosen_layers_count_from_either_end(folder: Path) -> None:
    every = config_of(folder).build("cpu").encode(SENTENCES[:1])[0]
    chosen = config_of(folder, chosen_layers=(-1, 0, -3)).build("cpu").encode(SENTENCES[:1])[0]
    assert list(chosen.mean) == ["layer_0", "layer_1", "layer_3"]
    assert all(np.array_equal(chosen.mean[layer], every.mean[layer]) for layer in chosen.mean)


@pytest.mark.parametrize(
    ("layers", "reason"), [((4,), "no layer 4. Allowed: 0 to 3"), ((-1, 3), "name each layer once"), ((), "at least one")]
)
def test_layers_that_do_not_exist_are_refused(folder: Path, layers: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config_of(folder, chosen_layers=layers).build("cpu")


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_bf16_is_near_enough_alone_and_in_a_batch(tmp_path: Path, model_type: str) -> None:
    folder = save_small_causal_lm(tmp_path / "lm", model_type)
    assert CausalLmConfig(weights=str(folder)).compute == "bf16"
    encoder = config_of(folder, sequences=LAYERS, compute="bf16").build("cpu")
    for sentence, together in zip(SENTENCES, encoder.encode(SENTENCES), strict=True):
        alone = encoder.encode([sentence])[0]
        for layer in LAYERS:
            assert np.abs(alone.mean[layer] - together.mean[layer]).max() <= 1e-2 * np.abs(together.mean[layer]).max()
            assert np.abs(alone.sequences[layer] - together.sequences[layer]).max() <= 3e-2 * np.abs(together.sequences[layer]).max()


def test_a_model_spread_over_memory_and_disk_gives_the_same(folder: Path, tmp_path: Path) -> None:
    expected = config_of(folder).build("cpu").encode(SENTENCES)
    config = config_of(folder, device_map="auto", max_memory={"cpu": "120KB"}, offload_folder=tmp_path / "offload")
    encoder = config.build("cpu")
    assert {str(place) for place in encoder.model.hf_device_map.values()} == {"cpu", "disk"}
    for found, wanted in zip(encoder.encode(SENTENCES), expected, strict=True):
        assert all(np.abs(found.mean[layer] - wanted.mean[layer]).max() < 1e-5 for layer in LAYERS)
    assert config.spreads_over_gpus
    assert encoder_identity(config) == encoder_identity(config_of(folder))


def test_an_adapter_changes_the_features_and_the_identity(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = transformers.AutoModel.from_pretrained(folder)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(SENTENCES[0], return_tensors="pt")
    with torch.no_grad():
        expected_TD = adapted.eval()(**tokens).last_hidden_state[0, 1:].numpy()
    plain, config = config_of(folder), config_of(folder, adapter=tmp_path / "adapter")
    found = config.build("cpu").encode(SENTENCES[:1])[0].mean["layer_3"]
    assert np.abs(found - expected_TD.mean(axis=0)).max() < 1e-5
    assert np.abs(found - plain.build("cpu").encode(SENTENCES[:1])[0].mean["layer_3"]).max() > 1e-3
    assert encoder_identity(plain) != encoder_identity(config)


def test_code_beside_the_weights_runs_only_where_the_config_says_so(own_code: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trace = own_code.parent / "code_ran"
    with pytest.raises(EncoderError, match="'own' runs Python code that lies beside the weights; read that code, then allow it with trust"):
        config_of(own_code).build("cpu")
    assert not trace.exists()

    config = config_of(own_code, trust_remote_code=True)
    assert list(config.layers().values()) == [8, 8, 8]
    encoder_identity(config)
    config.check()
    assert "runs the Python code in" in capfd.readouterr().err
    assert not trace.exists(), "planning must not run the code"
    features = config.build("cpu").encode(SENTENCES)
    assert trace.exists()
    assert "runs the Python code in" in capfd.readouterr().err
    assert [len(one.mean["layer_2"]) for one in features] == [8] * len(SENTENCES)


def test_code_beside_a_model_that_transformers_knows_is_never_run(tmp_path: Path) -> None:
    folder = save_small_causal_lm(tmp_path / "lm")
    settings = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(settings | {"auto_map": auto_map}))
    (folder / "modeling_own.py").write_text(MODELING.format(trace=str(tmp_path / "code_ran")))
    for trusted in (False, True):
        config_of(folder, trust_remote_code=trusted).build("cpu").encode(SENTENCES[:1])
    assert not (tmp_path / "code_ran").exists()


def test_a_changed_code_file_is_another_encoder(own_code: Path) -> None:
    config = config_of(own_code, trust_remote_code=True)
    before = encoder_identity(config)
    with (own_code / "modeling_own.py").open("a") as code:
        code.write("# changed\n")
    assert encoder_identity(config) != before


def test_broken_code_is_one_line(own_code: Path) -> None:
    (own_code / "modeling_own.py").write_text("import a_module_that_nobody_has\n")
    with pytest.raises(EncoderError, match=r"weights .*a_module_that_nobody_has") as caught:
        config_of(own_code, trust_remote_code=True).build("cpu")
    assert "\n" not in str(caught.value)


def test_a_model_without_padding_token_is_padded(folder: Path) -> None:
    encoder = config_of(folder).build("cpu")
    assert encoder.tokenizer.pad_token_id is None
    assert len(encoder.encode(SENTENCES)) == len(SENTENCES)


def test_a_missing_tensor_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 4, "layer_types": None}))
    with pytest.raises(EncoderError, match="tensors of the model are missing"):
        config_of(copy).build("cpu")


def test_a_sharded_checkpoint_needs_its_index_and_is_collected_with_it(tmp_path: Path) -> None:
    folder = save_small_causal_lm(tmp_path / "lm")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    config = CausalLmConfig(weights=str(folder), compute="float32")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    copy = fetch_need(list_needs(config)[0], tmp_path / "fetched").path
    CausalLmConfig(weights=str(copy), compute="float32").build("cpu")
    (copy / "model.safetensors.index.json").unlink()
    with pytest.raises(EncoderError, match=r"lacks \*\.index\.json"):
        CausalLmConfig(weights=str(copy), compute="float32").build("cpu")


def test_a_broken_config_file_is_one_clear_error(tmp_path: Path) -> None:
    folder = save_small_causal_lm(tmp_path / "lm")
    (folder / "config.json").write_text("{")
    with pytest.raises(EncoderError, match=r"config\.json cannot be read"):
        CausalLmConfig(weights=str(folder)).layers()
