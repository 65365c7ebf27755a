import json
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from peft import LoraConfig, get_peft_model
from text_cases import save_small_bert
from whisper_weights import save_small_whisper

from mer_ray.core.errors import ConfigError, EncoderError, MerRayError
from mer_ray.encoders import encoder_identity
from mer_ray.workflow.fetching import fetch_job
from mer_ray.workflow.job import load_job


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights of two encoders, one with an adapter, and of a transcriber, each in a place of its own."""
    bert = save_small_bert(tmp_path / "here" / "bert")
    (bert / "README.md").write_text("---\nlicense: mit\n---\n")
    (bert / "training_state.bin").write_bytes(b"not needed")
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_pretrained(bert).bert
    lora = LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(tmp_path / "elsewhere" / "adapter")
    save_small_whisper(tmp_path / "there" / "whisper")
    return tmp_path


@pytest.fixture
def job(folder: Path) -> Path:
    bert = {"name": "bert", "weights": "${bert}"}
    adapted = {**bert, "adapter": str(folder / "elsewhere" / "adapter")}
    steps = [
        {"verb": "transcribe", "manifest": "m.parquet", "out": "t.parquet", "weights": str(folder / "there" / "whisper")},
        {"verb": "extract", "manifest": "t.parquet", "store": "${store}", "encoders": [{"name": "spectral"}, bert]},
        {
            "verb": "extract",
            "manifest": "t.parquet",
            "store": "s2",
            "encoders": [adapted],
        },
    ]
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"vars": {"bert": str(folder / "here" / "bert"), "store": "s"}, "steps": steps}))
    return path


def identities(path: Path) -> list[str]:
    steps = load_job(path, []).steps
    return [steps[0].config.identity(), *(encoder_identity(encoder) for step in steps[1:] for encoder in step.config.encoders)]


def test_the_copied_job_reads_the_copies_and_keeps_all_identities(job: Path, folder: Path) -> None:
    before = identities(job)
    summary = fetch_job(job, [], folder / "to")
    assert len(summary.fetched) == 3, "weights that two steps share are copied once"
    for place in ("here", "elsewhere", "there"):
        (folder / place).rename(folder / f"gone_{place}")
    copy = folder / "to" / "job.yaml"
    assert summary.job == copy
    assert identities(copy) == before
    written = yaml.safe_load(copy.read_text())
    assert written["vars"] == yaml.safe_load(job.read_text())["vars"]
    assert written["steps"][1]["store"] == "${store}"
    load_job(copy, []).steps[1].config.encoders[1].build("cpu").encode(["I told you"])
    assert load_job(copy, []).steps[1].config.encoders[1].licence == "mit"


def test_the_copy_of_a_job_of_jobs_holds_their_variables_and_steps(job: Path, folder: Path) -> None:
    (folder / "shared.yaml").write_text("{place: s3}")
    outer = folder / "outer.yaml"
    outer.write_text("vars_from: [shared.yaml]\nsteps: [{verb: run, job: job.yaml, vars: {store: '${place}'}}]")
    fetch_job(outer, [], folder / "to")
    copy = folder / "to" / "outer.yaml"
    assert identities(copy) == identities(outer)
    assert load_job(copy, []).steps[1].config.store == "s3"
    weights = [encoder.weights for step in load_job(copy, []).steps[1:] for encoder in step.config.encoders if encoder.name == "bert"]
    assert [Path(path).parent for path in weights] == [folder / "to"] * 2


def test_the_listing_names_every_file_with_its_digest(job: Path, folder: Path) -> None:
    for item in fetch_job(job, [], folder / "to").fetched:
        listing = json.loads((item.path / "fetched.json").read_text())
        assert set(listing["files"]) == {file.name for file in item.path.iterdir()} - {"fetched.json"}
        assert "training_state.bin" not in listing["files"]
        assert all(len(facts["sha256"]) == 64 and facts["bytes"] > 0 for facts in listing["files"].values())


def test_a_second_run_copies_only_what_is_missing_or_broken(job: Path, folder: Path) -> None:
    first = fetch_job(job, [], folder / "to")
    assert all(item.num_copied == len(item.need.files) for item in first.fetched)
    assert [item.num_copied for item in fetch_job(job, [], folder / "to").fetched] == [0, 0, 0]
    broken = first.fetched[0].path / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-8])
    assert [item.num_copied for item in fetch_job(job, [], folder / "to").fetched] == [1, 0, 0]
    assert "MB" in fetch_job(job, [], folder / "to").tables()[0].columns


def test_a_config_of_one_step_is_enough(folder: Path) -> None:
    config = folder / "extract.yaml"
    config.write_text(
        yaml.safe_dump({"manifest": "m", "store": "s", "encoders": [{"name": "bert", "weights": str(folder / "here" / "bert")}]})
    )
    fetch_job(config, ["store=other"], folder / "to")
    written = yaml.safe_load((folder / "to" / "extract.yaml").read_text())
    assert written["store"] == "other"
    assert Path(written["encoders"][0]["weights"]).parent == folder / "to"


def test_a_face_detector_is_fetched_with_the_encoder_that_uses_it(folder: Path) -> None:
    detector = folder / "yunet.onnx"
    detector.write_bytes(b"a detector")
    weights = folder / "resnet.pth"
    weights.write_bytes(b"weights")
    encoder = {"name": "resnet_fer", "weights": str(weights), "faces": {"name": "yunet", "weights": str(detector)}, "num_frames": 4}
    config = folder / "extract.yaml"
    config.write_text(yaml.safe_dump({"manifest": "m", "store": "s", "encoders": [encoder]}))
    summary = fetch_job(config, [], folder / "to")
    assert sorted(item.path.name for item in summary.fetched) == ["resnet.pth", "yunet.onnx"]
    written = yaml.safe_load((folder / "to" / "extract.yaml").read_text())["encoders"][0]
    assert Path(written["faces"]["weights"]).read_bytes() == b"a detector"
    assert Path(written["weights"]).read_bytes() == b"weights"
    detector.unlink()
    with pytest.raises(ConfigError, match=r"no file .*yunet\.onnx; download a YuNet detector"):
        fetch_job(config, [], folder / "to")


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        (None, ConfigError, "no such config file"),
        ("steps: []", ConfigError, "steps"),
        ("{manifest: m, store: s, encoders: [{name: spectral}]}", ConfigError, "no step of it reads weights"),
        ("{manifest: m, store: s, encoders: [{name: bert, weights: owner/model}]}", EncoderError, "HF_HUB_OFFLINE is set"),
        ("{manifest: m, store: s, encoders: [{name: bert, weights: ./nowhere}]}", EncoderError, "no such folder"),
        ("{manifest: m, store: s, encoders: [{name: manet, weights: no.pth, faces: whole_frame}]}", MerRayError, r"no\.pth"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, text: str | None, error: type[MerRayError], reason: str) -> None:
    job = tmp_path / "job.yaml"
    if text is not None:
        job.write_text(text)
    with pytest.raises(error, match=reason) as caught:
        fetch_job(job, [], tmp_path / "to")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "to" / "job.yaml").exists()


def test_the_copy_does_not_replace_the_job(job: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="would replace"):
        fetch_job(job, [], folder)


def test_adapters_that_the_job_itself_will_write_are_not_fetched(folder: Path) -> None:
    bert = {"name": "bert", "weights": str(folder / "here" / "bert")}
    steps = [
        {"verb": "finetune", "manifest": "m.parquet", "out": "out/tuned", "encoder": bert},
        {"verb": "extract", "manifest": "m.parquet", "store": "s", "encoders": [bert | {"adapter": "out/tuned/adapter"}]},
    ]
    job = folder / "tuning.yaml"
    job.write_text(yaml.safe_dump({"steps": steps}))
    summary = fetch_job(job, [], folder / "to")
    (fetched,) = summary.fetched
    written = yaml.safe_load(summary.job.read_text())["steps"]
    assert written[0]["encoder"]["weights"] == written[1]["encoders"][0]["weights"] == str(fetched.path)
    assert written[0]["out"] == "out/tuned" and written[1]["encoders"][0]["adapter"] == "out/tuned/adapter"
