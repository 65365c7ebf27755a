"""The verb as a whole: adapters that no clip's own label trained, their features, what is written, what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finetune_corpus import CLASSES, FinetuneCorpus, make_corpus
from pydantic import TypeAdapter
from text_cases import save_small_bert

from mer_ray.core.errors import ConfigError, EncoderError, ManifestError, MerRayError, RunError
from mer_ray.core.manifest import Manifest, read_manifest, write_manifest
from mer_ray.core.media_types import Clip, Features
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import AnyEncoder, EncoderConfig, encoder_identity
from mer_ray.encoders.fetching import fetch_need, list_needs
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.describe import describe_encoder
from mer_ray.extraction.plan import plan_extraction
from mer_ray.extraction.shard_encoder import ShardDecoder, ShardEncoder, begin_report
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.finetuning.finetune import FinetuneSummary, finetune
from mer_ray.finetuning.plan import plan_finetuning

SPLITS = {"name": "splits", "dev": "dev", "test": ["test"], "num_folds": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> FinetuneCorpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), media=False)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"name": "bert", "weights": str(save_small_bert(tmp_path_factory.mktemp("weights") / "bert"))}


@pytest.fixture(scope="module")
def by_folds(corpus: FinetuneCorpus, encoder: dict[str, Any]) -> FinetuneSummary:
    return finetune(corpus.config("by_folds", encoder, values=["valence"]))


def parse(data: dict[str, Any]) -> EncoderConfig:
    config: EncoderConfig = TypeAdapter(AnyEncoder).validate_python(data)
    return config


def encode(config: EncoderConfig, clips: list[Clip], layer: str = "layer_2") -> dict[str, np.ndarray]:
    """A layer's means, as `extract` makes them of a shard."""
    encoder = ShardEncoder([config], "cpu")
    shard = Shard(0, tuple(ShardClip(clip, dict.fromkeys(encoder.configs, "hash")) for clip in clips))
    decoded = ShardDecoder(encoder.configs, MediaLimits(), 64).decode(shard, {}, begin_report(shard))
    found = {}
    for item, outcome in next(iter(encoder.encode(decoded).outcomes.values())):
        assert isinstance(outcome, Features), outcome
        found[item.clip.clip_id] = outcome.mean[layer]
    return found


def clips_of(corpus: FinetuneCorpus) -> list[Clip]:
    return read_manifest(corpus.folder / "manifest.parquet").clips()


@pytest.mark.slow
def test_each_clip_is_encoded_by_the_adapter_of_its_fold(corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary):
    clips, adapter = clips_of(corpus), by_folds.folder / "adapter"
    crossed = encode(parse(encoder | {"adapter": adapter}), clips)
    # A folder of one adapter is peft's own: merged by peft for every clip alike.
    alone = {fold: encode(parse(encoder | {"adapter": adapter / f"fold{fold}"}), clips) for fold in range(3)}
    for row in corpus.rows:
        clip_id, fold = row["clip_id"], row["fold"]
        assert np.array_equal(crossed[clip_id], alone[fold][clip_id])
        assert not np.array_equal(crossed[clip_id], alone[(fold + 1) % 3][clip_id])


@pytest.mark.slow
def test_the_layer_of_the_head_is_what_the_held_out_network_predicted(
    corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary
):
    config = parse(encoder | {"adapter": by_folds.folder / "adapter"})
    heads = encode(config, clips_of(corpus), "head")
    predicted = pq.read_table(by_folds.folder / "predictions" / "test.parquet").to_pylist()
    assert len(predicted) == len(heads) == 24
    for row in predicted:
        *logits, valence = heads[row["clip_id"]].tolist()
        probs = np.exp(logits) / np.exp(logits).sum()
        assert probs == pytest.approx([row[f"prob_{name}"] for name in CLASSES], abs=1e-5)
        assert valence == pytest.approx(row["valence"], abs=1e-5)
    assert list(describe_encoder(config, config.build("cpu")).layers.items()) == [("head", 4), *config.layers().items()]


@pytest.mark.slow
def test_no_adapter_depends_on_labels_of_the_clips_that_it_encodes(encoder: dict[str, Any], by_folds: FinetuneSummary, tmp_path: Path):
    """The whole point: other labels in fold 1 leave the adapter of fold 1 what it is, bit for bit."""
    changes = {number: {"emotion": CLASSES[(number + 1) % 3], "valence": 3.0} for number in range(24) if number // 3 % 3 == 1}
    other = finetune(make_corpus(tmp_path, media=False, change=changes).config("out", encoder, values=["valence"]))
    files = {
        name: [(one.folder / "adapter" / name / "adapter_model.safetensors").read_bytes() for one in (by_folds, other)]
        for name in ("fold0", "fold1", "all")
    }
    assert files["fold1"][0] == files["fold1"][1]
    assert files["fold0"][0] != files["fold0"][1]
    assert files["all"][0] != files["all"][1]


@pytest.mark.slow
def test_clips_that_it_did_not_know_take_the_adapter_of_all(corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary):
    clips = [Clip("new", text="so do that"), clips_of(corpus)[0]]
    adapter = by_folds.folder / "adapter"
    crossed, alone = encode(parse(encoder | {"adapter": adapter}), clips), encode(parse(encoder | {"adapter": adapter / "all"}), clips)
    assert np.array_equal(crossed["new"], alone["new"])
    assert not np.array_equal(crossed["clip00"], alone["clip00"])
    built = parse(encoder | {"adapter": adapter}).build("cpu").encode(["so do that"])[0]
    assert np.array_equal(built.mean["layer_2"], alone["new"])


@pytest.mark.slow
def test_features_change_and_a_reload_or_another_order_gives_identical_ones(
    corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary
):
    clips, config = clips_of(corpus), parse(encoder | {"adapter": by_folds.folder / "adapter"})
    plain, first, again = encode(parse(encoder), clips), encode(config, clips), encode(config, clips[::-1])
    assert min(np.abs(first[name] - plain[name]).max() for name in plain) > 1e-3
    assert all(np.array_equal(first[name], again[name]) for name in plain)


@pytest.mark.slow
@pytest.mark.parametrize("method", [{"name": "last_layers", "count": 1}, {"name": "all"}])
def test_whole_weights_change_places_too(method: dict[str, Any], corpus: FinetuneCorpus, encoder: dict[str, Any]):
    summary = finetune(corpus.config(f"whole-{method['name']}", encoder, method=method, epochs=1, learning_rate=1e-3))
    clips, config = clips_of(corpus), parse(encoder | {"adapter": summary.folder / "adapter"})
    plain, crossed, backwards = encode(parse(encoder), clips), encode(config, clips), encode(config, clips[::-1])
    assert all(np.array_equal(crossed[name], backwards[name]) for name in plain)
    # The same sentence in two folds.
    assert np.array_equal(plain["clip00"], plain["clip03"]) and not np.array_equal(crossed["clip00"], crossed["clip03"])


@pytest.mark.slow
def test_the_identity_follows_the_adapters_not_their_folder(
    corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary, tmp_path: Path
):
    plain, here = parse(encoder), parse(encoder | {"adapter": by_folds.folder / "adapter"})
    (_, need) = list_needs(here)
    moved = parse(encoder | {"adapter": fetch_need(need, tmp_path).path})
    assert encoder_identity(moved) == encoder_identity(here) != encoder_identity(plain)
    assert all(np.array_equal(encode(moved, clips_of(corpus))[name], one) for name, one in encode(here, clips_of(corpus)).items())
    assert moved.num_weight_bytes() > plain.num_weight_bytes()


@pytest.mark.slow
def test_a_manifest_of_other_folds_is_refused(corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary, tmp_path: Path):
    manifest = read_manifest(corpus.folder / "manifest.parquet")
    changed = [1 if row["clip_id"] == "clip00" else row["fold"] for row in corpus.rows]
    number = manifest.table.schema.get_field_index("fold")
    table = manifest.table.set_column(number, "fold", pa.array(changed, pa.int32()))
    write_manifest(Manifest(table, manifest.facts), tmp_path / "other.parquet")
    common = {"store": str(tmp_path / "store"), "encoders": [encoder | {"adapter": str(by_folds.folder / "adapter")}]}
    with pytest.raises(ManifestError, match=r"when clip 'clip00' was in fold 0, now it is in fold 1 \(1 clips moved\); fine-tune again"):
        plan_extraction(ExtractConfig.model_validate(common | {"manifest": tmp_path / "other.parquet"}))
    assert plan_extraction(ExtractConfig.model_validate(common | {"manifest": corpus.folder / "manifest.parquet"})).num_pending == 24


@pytest.mark.slow
def test_a_training_split_is_cross_fitted_by_folds_of_its_own(corpus: FinetuneCorpus, encoder: dict[str, Any]):
    summary = finetune(corpus.config("splits", encoder, protocol=SPLITS, epochs=1))
    facts = json.loads((summary.folder / "adapter" / "finetune.json").read_text())
    of_split = {split: {row["clip_id"] for row in corpus.rows if row["split"] == split} for split in ("train", "dev", "test")}
    assert set(facts["adapter_of"]) == of_split["train"]
    speakers = {
        name: {row["speaker_id"] for row in corpus.rows if facts["adapter_of"].get(row["clip_id"]) == name} for name in ("fold0", "fold1")
    }
    assert not speakers["fold0"] & speakers["fold1"]
    predicted = {path.stem: pq.read_table(path) for path in (summary.folder / "predictions").glob("*.parquet")}
    assert {name: set(table["clip_id"].to_pylist()) for name, table in predicted.items()} == {
        "held_out": of_split["train"],
        "dev": of_split["dev"],
        "test": of_split["test"],
    }
    assert all(table.num_rows == len(set(table["clip_id"].to_pylist())) for table in predicted.values())


@pytest.mark.slow
def test_scores_predictions_and_suspected_labels_are_written(corpus: FinetuneCorpus, by_folds: FinetuneSummary):
    table = pq.read_table(by_folds.folder / "predictions" / "test.parquet")
    assert table["clip_id"].to_pylist() and len(set(table["clip_id"].to_pylist())) == 24
    assert by_folds.scores["test"]["num_clips"] == 24
    assert {"weighted_f1", "valence_mse"} <= set(by_folds.scores["test"]["mean"])
    history = [json.loads(line) for line in (by_folds.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["fit"], row["epoch"]) for row in history] == [
        (fit, epoch) for fit in ("fold0", "fold1", "fold2", "all") for epoch in range(3)
    ]
    with (by_folds.folder / "label_errors.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == by_folds.facts["num_label_errors"]
    assert not (by_folds.folder / "inputs").exists()


@pytest.mark.slow
def test_a_wrong_label_is_suspected(encoder: dict[str, Any], tmp_path: Path):
    # The sentence of a happy clip, the label of an angry one.
    corpus = make_corpus(tmp_path, media=False, change={5: {"emotion": "angry"}})
    summary = finetune(corpus.config("out", encoder, method={"name": "all"}, epochs=4, learning_rate=2e-3))
    with (summary.folder / "label_errors.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["clip_id"], first["label"], first["suspected"]) == ("clip05", "angry", "happy")


@pytest.mark.slow
def test_a_finished_one_says_so_and_trains_nothing(corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary):
    written = (by_folds.folder / "scores.json").stat().st_mtime_ns
    again = finetune(corpus.config("by_folds", encoder, values=["valence"]))
    assert again.was_complete and again.scores == by_folds.scores
    assert (by_folds.folder / "scores.json").stat().st_mtime_ns == written
    with pytest.raises(RunError, match="holds another run: epochs differ"):
        finetune(corpus.config("by_folds", encoder, values=["valence"], epochs=4))


@pytest.mark.slow
def test_a_killed_one_goes_on_with_what_is_left(corpus: FinetuneCorpus, encoder: dict[str, Any], by_folds: FinetuneSummary, tmp_path: Path):
    config = corpus.config("killed", encoder, values=["valence"])
    finetune(config)
    for name in ("scores.json", "adapter/finetune.json", "checkpoints/fold2/finished.json", "checkpoints/all/finished.json"):
        (config.out / name).unlink()
    kept = (config.out / "checkpoints" / "fold0" / "finished.json").stat().st_mtime_ns
    again = finetune(config)
    assert not again.was_complete and again.scores == by_folds.scores
    assert (config.out / "checkpoints" / "fold0" / "finished.json").stat().st_mtime_ns == kept
    ours, whole = ((out / "adapter" / "finetune.json").read_text() for out in (config.out, by_folds.folder))
    assert ours == whole


@pytest.mark.slow
def test_adapters_of_other_weights_or_damaged_ones_are_refused(encoder: dict[str, Any], by_folds: FinetuneSummary, tmp_path: Path):
    adapter = by_folds.folder / "adapter"
    other = encoder | {"weights": str(save_small_bert(tmp_path / "other", seed=1)), "adapter": adapter}
    with pytest.raises(EncoderError, match="was trained on other weights"):
        parse(other).build("cpu")
    config = parse(encoder | {"adapter": adapter})
    (_, need) = list_needs(config)
    copy = fetch_need(need, tmp_path / "copy").path
    (copy / "fold1" / "adapter_model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"fold1/adapter_model.safetensors is missing; copy the folder again"):
        parse(encoder | {"adapter": copy}).build("cpu")
    (copy / "finetune.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"finetune.json cannot be read"):
        encoder_identity(parse(encoder | {"adapter": copy}))


@pytest.mark.parametrize(
    ("changes", "corpus_changes", "error", "message"),
    [
        (
            {"encoder": {"name": "spectral"}},
            {},
            ConfigError,
            "spectral has no network of transformers to fine-tune. Allowed: bert",
        ),
        (
            {"method": {"name": "lora", "targets": ["q_proj"]}},
            {},
            ConfigError,
            r"no linear layer 'q_proj'. Allowed: query, key, value",
        ),
        ({"method": {"name": "last_layers", "count": 3}}, {}, ConfigError, "count: 3, the network has 2 blocks. Allowed: 1 to 2"),
        ({"values": ["arousal"]}, {}, RunError, "no clip of the training part of fold 0 has a known arousal"),
        ({}, {number: {"emotion": None} for number in range(24)}, RunError, "no labelled clip in the training part of fold 0"),
        ({}, {number: {"fold": None} for number in range(24)}, RunError, "has no folds"),
        (
            {},
            {number: {"emotion": "angry"} for number in range(24) if number % 3 == 2 and number // 3 % 3 != 1},
            RunError,
            "the fit without fold 1 would have no clip of happy to train on",
        ),
        ({"protocol": SPLITS | {"num_folds": 4}}, {}, ManifestError, "4 folds, but 3 speakers"),
        ({}, {number: {"text": None} for number in range(24)}, RunError, "none of the 24 clips has what the encoder reads"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    changes: dict[str, Any],
    corpus_changes: dict[int, dict[str, Any]],
    error: type[MerRayError],
    message: str,
    encoder: dict[str, Any],
    tmp_path: Path,
):
    corpus = make_corpus(tmp_path / "corpus", media=False, change=corpus_changes)
    own = dict(changes)
    config = corpus.config("out", own.pop("encoder", encoder), **own)
    with pytest.raises(error, match=message) as raised:
        finetune(config)
    assert "\n" not in str(raised.value)
    assert not (config.out / "checkpoints").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"early_stopping": {"metric": "loss"}}, "early_stopping needs a dev set"),
        ({"augment": {}}, "augment: changes pictures, which bert does not read"),
        ({"values": ["valence", "valence"]}, "names one twice"),
        ({"protocol": {"name": "folds", "test_folds": [0]}}, "each fold needs an adapter that was trained without it"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(
    changes: dict[str, Any], message: str, corpus: FinetuneCorpus, encoder: dict[str, Any]
):
    with pytest.raises(ValueError, match=message):
        corpus.config("out", encoder, **changes)


def test_a_dry_run_says_what_would_be_trained(corpus: FinetuneCorpus, encoder: dict[str, Any], tmp_path: Path):
    config = corpus.config("dry", encoder)
    rows = dict(plan_finetuning(config).rows)
    # Two layers, queries and values, two matrices of 32 x 4.
    assert rows["parameters trained"].startswith("1,024 of ")
    assert rows["networks to train"] == "4 (training clips: fold0 15, fold1 15, fold2 18, all 24)"
    assert not config.out.exists()
    later = config.model_copy(update={"manifest": tmp_path / "not_there.parquet"})
    assert "not there yet" in dict(plan_finetuning(later).rows)["networks to train"]
