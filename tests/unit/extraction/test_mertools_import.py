import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mertools_tree import DIM, NUM_TRAIN, make_tree

from mer_ray.cli import main
from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError, RunError
from mer_ray.core.manifest import read_manifest
from mer_ray.extraction import mertools_folder
from mer_ray.extraction.mertools_import import ImportConfig, ImportSummary, import_mertools
from mer_ray.store.catalog import list_encoders, resolve_encoder
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled, read_sequences
from mer_ray.training.config import TrainConfig
from mer_ray.training.train import train

NUM_CLIPS = NUM_TRAIN + 3 + 4


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "mer2023")


def configure(tree: Path, **changes) -> ImportConfig:
    work = tree.parent / "work"
    given = {
        "source": {"name": "mertools", "path": str(tree)},
        "manifest": str(work / "manifest.parquet"),
        "store": str(work / "store"),
        "folds": {"name": "stratified", "num_folds": 2, "splits": ["train"]},
        "num_threads": 2,
        **changes,
    }
    return parse_config(ImportConfig, given, "test")


def counts(summary: ImportSummary) -> dict[str, tuple[int, int, int, int]]:
    return {each.record.name: (each.done, each.failed, each.absent, each.skipped) for each in summary.folders}


def test_a_first_score_comes_at_once(tree: Path):
    config = configure(tree)
    summary = import_mertools(config)
    assert counts(summary) == dict.fromkeys(("chinese-hubert-large-UTT", "manet_UTT", "wavlm-large-FRA"), (NUM_CLIPS, 0, 0, 0))
    assert summary.unlabelled_splits == ("test3",)
    manifest = read_manifest(config.manifest)
    assert manifest.table.num_rows == NUM_CLIPS and manifest.facts.folds is not None
    assert manifest.table["fold"].null_count == NUM_CLIPS - NUM_TRAIN
    inputs = [{"encoder": "manet_UTT", "statistics": ["mean"]}, {"encoder": "wavlm-large-FRA"}, {"encoder": "chinese-hubert-large-UTT"}]
    run = {"manifest": config.manifest, "store": config.store, "out": tree.parent / "run", "inputs": inputs, "epochs": 8}
    table = train(parse_config(TrainConfig, {**run, "device": "cpu", "batch_size": 8, "learning_rate": 0.01}, "test")).table()
    scores = {row[0]: row[1] for row in table.rows}
    assert scores["weighted_f1"] > 0.6
    assert pq.read_table(tree.parent / "run" / "predictions" / "test.parquet").num_rows == NUM_TRAIN


def test_stored_values_are_those_of_the_files(tree: Path):
    config = configure(tree, dtype="float32")
    import_mertools(config)
    store = open_store(config.store)
    records = {record.name: record for record in list_encoders(store, "mer2023")}
    assert {name: (record.modality, record.layers, record.sequences) for name, record in records.items()} == {
        "chinese-hubert-large-UTT": ("audio", {"utt": DIM}, ()),
        "manet_UTT": ("vision", {"utt": DIM}, ()),
        "wavlm-large-FRA": ("audio", {"fra": DIM}, ("fra",)),
    }
    pooled = read_pooled(store, "mer2023", records["manet_UTT"], clip_ids=["samplenew_2", "sample_00000005"])
    expected = [np.load(tree / "features" / "manet_UTT" / f"{name}.npy") for name in pooled.clip_ids]
    np.testing.assert_array_equal(pooled.columns["mean_utt"], expected)
    assert not pooled.columns["std_utt"].any() and pooled.num_frames.tolist() == [1, 1]
    frames = read_sequences(store, "mer2023", records["wavlm-large-FRA"], clip_ids=["sample_90"])
    expected = np.load(tree / "features" / "wavlm-large-FRA" / "sample_90.npy")
    np.testing.assert_array_equal(frames.values["fra"], expected)
    assert frames.num_frames.tolist() == [len(expected)] and np.isnan(frames.frame_s).all()
    pooled = read_pooled(store, "mer2023", records["wavlm-large-FRA"], clip_ids=["sample_90"])
    np.testing.assert_allclose(pooled.columns["mean_fra"][0], expected.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pooled.columns["std_fra"][0], expected.std(axis=0), rtol=1e-6, atol=1e-6)


def test_the_second_time_only_what_is_new_or_changed_is_read(tree: Path, monkeypatch):
    config = configure(tree)
    missing = tree / "features" / "manet_UTT" / "sample_90.npy"
    content = missing.read_bytes()
    missing.unlink()
    assert counts(import_mertools(config))["manet_UTT"] == (NUM_CLIPS - 1, 0, 1, 0)
    read = []
    real = mertools_folder.read_feature
    monkeypatch.setattr(mertools_folder, "_find_dim", lambda folder: DIM)
    monkeypatch.setattr(mertools_folder, "read_feature", lambda path, kind: (read.append(path), real(path, kind))[1])
    assert set(counts(import_mertools(config)).values()) == {(0, 0, 0, NUM_CLIPS)} and read == []
    missing.write_bytes(content)
    changed = tree / "features" / "wavlm-large-FRA" / "sample_91.npy"
    np.save(changed, np.ones((7, DIM), np.float32))
    summary = import_mertools(config)
    assert sorted(read) == [missing, changed]
    assert counts(summary)["manet_UTT"] == counts(summary)["wavlm-large-FRA"] == (1, 0, 0, NUM_CLIPS - 1)
    store = open_store(config.store)
    record = resolve_encoder(store, "mer2023", "wavlm-large-FRA")
    assert read_pooled(store, "mer2023", record, clip_ids=["sample_91"]).num_frames.tolist() == [7]


def test_broken_and_missing_files_are_failures_with_their_reasons(tree: Path):
    folder = tree / "features" / "manet_UTT"
    np.save(folder / "sample_00000000.npy", np.zeros(DIM + 1, np.float32))
    np.save(folder / "sample_00000001.npy", np.full(DIM, np.nan, np.float32))
    np.save(folder / "sample_00000002.npy", np.full(DIM, 1e6, np.float64))
    np.save(folder / "sample_00000003.npy", np.zeros((4, DIM), np.float32))
    np.save(folder / "sample_00000004.npy", np.zeros(DIM, np.float32))
    (folder / "sample_00000005.npy").write_bytes(b"\x93NUMPY")
    (folder / "sample_00000006.npy").unlink()
    config = configure(tree, features=["manet_UTT"], max_failure_rate=0.2)
    summary = import_mertools(config)
    assert counts(summary) == {"manet_UTT": (NUM_CLIPS - 6, 5, 1, 0)}
    store = open_store(config.store)
    failures = read_failures(store, "mer2023", summary.folders[0].record.key).to_pylist()
    assert [row["clip_id"][-1] for row in failures] == list("012356") and {row["stage"] for row in failures} == {"import"}
    reasons = [row["message"].removeprefix(f"{folder}/").partition(": ")[2] or row["message"] for row in failures]
    assert reasons[0] == f"has {DIM + 1} dimensions, most files of the folder {DIM}"
    assert "not finite" in reasons[1] and "store it as float32" in reasons[2] and "(4, 8)" in reasons[3] and "not a .npy file" in reasons[4]
    assert reasons[5] == "no file manet_UTT/sample_00000006.npy"
    notes = [note for table in summary.tables() for note in table.notes]
    assert "manet_UTT: 1 files hold only zeros, as MERTools writes where it finds nothing" in notes
    again = configure(tree, features=["manet_UTT"], max_failure_rate=0.1)
    with pytest.raises(RunError, match=rf"5 of {NUM_CLIPS} feature files are broken, more than max_failure_rate 10.0%"):
        import_mertools(again)
    np.save(folder / "sample_00000003.npy", np.ones(DIM, np.float32))
    assert counts(import_mertools(config)) == {"manet_UTT": (1, 0, 0, NUM_CLIPS - 1)}


def test_models_that_mertools_does_not_have_need_their_modality(tree: Path):
    (tree / "features" / "manet_UTT").rename(tree / "features" / "my model-UTT")
    with pytest.raises(ConfigError, match=r"no model of the names my model-UTT; say what they read: 'modalities=\{my model-UTT: audio\}'"):
        import_mertools(configure(tree))
    summary = import_mertools(configure(tree, modalities={"my model-UTT": "vision"}, features=["my model-UTT"]))
    assert [(each.record.name, each.record.modality) for each in summary.folders] == [("my-model-UTT", "vision")]


@pytest.mark.parametrize("key", ["features", "modalities"])
def test_a_folder_that_is_not_there_is_named(tree: Path, key: str):
    given = ["manet-UTT"] if key == "features" else {"manet-UTT": "vision"}
    with pytest.raises(ConfigError, match=f"{key}: no folder 'manet-UTT' in .*; did you mean 'manet_UTT'"):
        import_mertools(configure(tree, **{key: given}))


def test_a_folder_without_a_readable_file_is_named(tree: Path):
    for path in (tree / "features" / "manet_UTT").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ManifestError, match=r"manet_UTT: no file of it can be read: sample_00000000.npy is not a .npy file"):
        import_mertools(configure(tree))


def test_parts_end_at_their_budget(tree: Path, monkeypatch):
    monkeypatch.setattr(mertools_folder, "PART_BYTES", 10 * 2 * 4 * DIM)
    config = configure(tree, features=["manet_UTT"])
    summary = import_mertools(config)
    parts = list(Path(config.store, "mer2023", "features", summary.folders[0].record.key).glob("part-*.parquet"))
    assert sorted(pq.read_metadata(part).num_rows for part in parts) == [3, 10, 10, 10, 10]


def test_media_that_are_there_give_durations_and_the_time_between_frames(tree: Path):
    (tree / "audio").mkdir()
    with wave.open(str(tree / "audio" / "sample_90.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(2 * 24_000))
    (tree / "features" / "manet_UTT").rename(tree / "features" / "bert-base-chinese-4-FRA")
    config = configure(tree)
    import_mertools(config)
    rows = {row["clip_id"]: row for row in read_manifest(config.manifest).table.to_pylist()}
    assert rows["sample_90"]["duration_s"] == pytest.approx(1.5) and rows["sample_91"]["duration_s"] is None
    store = open_store(config.store)
    frame_s = {}
    for name in ("wavlm-large-FRA", "bert-base-chinese-4-FRA"):
        found = read_sequences(store, "mer2023", resolve_encoder(store, "mer2023", name), clip_ids=["sample_90", "sample_91"])
        frame_s[name] = (found.frame_s * found.num_frames).tolist()
    assert frame_s["wavlm-large-FRA"] == [pytest.approx(1.5), pytest.approx(float("nan"), nan_ok=True)]
    assert np.isnan(frame_s["bert-base-chinese-4-FRA"]).all()


def test_the_commands_as_a_user_types_them(tree: Path, monkeypatch, capsys):
    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["mer-ray", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out + captured.err

    monkeypatch.chdir(tree.parent)
    folds = "folds={name: stratified, num_folds: 2, splits: [train]}"
    code, text = call("import", "mertools", "mer2023", folds, "source.language=english")
    assert code == 0 and "a first score: mer-ray train manifest=work/manifest.parquet store=work/store out=work/run" in text
    assert "{encoder: manet_UTT, statistics: [mean]}, {encoder: wavlm-large-FRA}]' epochs=10" in text
    assert read_manifest(Path("work/manifest.parquet")).table["text"][1].as_py() == "sentence 1"
    words = ["export", "work/store", "--features", "mertools", "--manifest", "work/manifest.parquet", "--encoder", "manet_UTT"]
    assert call(*words, "--out", "back")[0] == 0
    assert len(list(Path("back/features/manet_UTT").iterdir())) == NUM_CLIPS
    assert call(*words, "--out", "back")[0] == 2
    code, text = call("import", "mertool", "mer2023")
    assert code == 2 and "source.name: 'mertool' is not allowed; did you mean 'mertools'?" in text
    code, text = call("import", "mertools", "mer2023", "--out", "other", "--dry-run")
    assert code == 0 and "manet_UTT (vision)" in text and not Path("other").exists()
    code, text = call("import", "mertools", "nowhere")
    assert code == 1 and "no such folder" in text
