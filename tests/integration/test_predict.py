"""`mer-ray predict`: real media through a trained bundle, in process, on Ray, and from a store."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from trained_media import NUM_CLIPS, TrainedMedia, make_trained_media

import mer_ray
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest, write_manifest
from mer_ray.prediction.config import PredictConfig
from mer_ray.prediction.predict import predict
from mer_ray.prediction.prediction_table import TRAINED_ON
from mer_ray.store.layout import open_store
from mer_ray.store.removal import remove_clips

pytestmark = [pytest.mark.ray, pytest.mark.slow]
PROBS = [f"prob_{name}" for name in ("neutral", "angry", "happy", "sad", "worried", "surprise")]


@pytest.fixture(scope="module")
def media(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> TrainedMedia:
    return make_trained_media(tmp_path_factory.mktemp("trained"))


def probabilities(table):
    return np.array([table[name].to_pylist() for name in PROBS]).T


def test_raw_files_and_the_store_predict_the_same(media, tmp_path):
    stored = predict(PredictConfig(bundle=media.bundle, manifest=media.manifest, store=media.store, out=tmp_path / "stored.parquet")).table
    in_process = predict(PredictConfig(bundle=media.bundle, manifest=media.manifest, out=tmp_path / "a.parquet", max_in_process=99)).table
    on_ray = predict(PredictConfig(bundle=media.bundle, manifest=media.manifest, out=tmp_path / "b.parquet", max_in_process=0)).table
    assert stored.num_rows == NUM_CLIPS
    assert stored["clip_id"].to_pylist() == read_manifest(media.manifest).table["clip_id"].to_pylist()
    for other in (in_process, on_ray):
        assert other["clip_id"].equals(stored["clip_id"]) and other["used"].equals(stored["used"])
        assert probabilities(other) == pytest.approx(probabilities(stored), abs=1e-5)
        assert other["valence"].to_pylist() == pytest.approx(stored["valence"].to_pylist(), abs=1e-5)
    assert pq.read_table(tmp_path / "a.parquet").equals(in_process)
    # Nothing but the results is left.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet", "stored.parquet"]


def test_a_clip_that_cannot_be_read_is_predicted_from_what_is_left(media, tmp_path):
    whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
    shutil.copy(media.clips[0], whole)
    broken.write_bytes(media.clips[1].read_bytes()[:2000])
    summary = predict(PredictConfig(bundle=media.bundle, files=(str(tmp_path),), out=tmp_path / "out.csv"))
    rows = {row["clip_id"]: row for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())}
    assert list(rows) == ["broken", "whole"]
    assert rows["broken"]["used"] == "nothing: this is the prior" and "broken.mp4" in rows["broken"]["note"]
    assert rows["whole"]["used"] == "audio+vision" and rows["whole"]["note"] == ""
    assert (summary.num_prior, summary.num_with) == (1, {"audio": 1, "vision": 1, "text": 0})
    notes = [note for table in summary.tables() for note in table.notes]
    assert notes[:2] == [
        "of 2 rows 1 have no audio, 1 have no vision, 2 have no text",
        "1 rows are the prior because nothing could be read",
    ]


def test_a_sentence_counts_and_modalities_can_be_left_out(media):
    recogniser = mer_ray.load_bundle(media.bundle, device="cpu")
    clip = media.clips[0]
    sentence = {"path": clip, "clip_id": "b", "text": "I am so happy about this"}
    silent, spoken = recogniser.predict([{"path": clip, "clip_id": "a"}, sentence])
    assert silent.used == ("audio", "vision") and spoken.used == ("audio", "vision", "text")
    assert silent.probabilities != spoken.probabilities
    (seen,) = recogniser.predict([clip], without=["audio", "text"])
    assert seen.used == ("vision",) and sum(seen.probabilities.values()) == pytest.approx(1, abs=1e-5)
    (doubtful,) = recogniser.predict([clip], abstain_below=1.0)
    assert doubtful.abstained and not silent.abstained
    with pytest.raises(ConfigError, match="hop_s: needs window_s"):
        recogniser.predict([clip], hop_s=1.0)


def test_a_timeline_has_a_row_per_window(media, tmp_path):
    clip = media.clips[0]
    timeline = mer_ray.load_bundle(media.bundle, device="cpu").predict([clip], window_s=0.5, hop_s=0.25)
    assert [one.start_s for one in timeline[:-1]] == [0.25 * number for number in range(len(timeline) - 1)]
    assert all(one.end_s - one.start_s == pytest.approx(0.5) for one in timeline)
    assert {one.clip_id for one in timeline} == {clip.stem} and len(timeline) >= 3
    assert len({tuple(one.probabilities.values()) for one in timeline}) > 1
    (first,) = mer_ray.load_bundle(media.bundle, device="cpu").predict([{"path": clip, "start_s": 0.0, "end_s": 0.5}])
    assert timeline[0].probabilities == pytest.approx(first.probabilities, abs=1e-6)
    config = PredictConfig(bundle=media.bundle, files=(str(clip),), out=tmp_path / "t.csv", window_s=0.5, hop_s=0.25, max_in_process=0)
    on_ray = predict(config).table
    assert probabilities(on_ray) == pytest.approx(np.array([list(one.probabilities.values()) for one in timeline]), abs=1e-5)


def test_what_a_store_lacks_is_added(media, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(media.store, store)
    remove_clips(open_store(store), ["synth_000003", "synth_000004"], None)
    shutil.copytree(media.bundle, tmp_path / "bundle")
    config = PredictConfig(bundle=tmp_path / "bundle", manifest=media.manifest, store=str(store), out=tmp_path / "out.parquet")
    found = predict(config).table
    expected = predict(PredictConfig(bundle=media.bundle, manifest=media.manifest, store=media.store, out=tmp_path / "x.parquet")).table
    assert probabilities(found) == pytest.approx(probabilities(expected), abs=1e-5)
    assert set(found["note"].to_pylist()) == {TRAINED_ON}


def test_a_submission_has_exactly_the_candidates(media, tmp_path):
    names = ["synth_000009", "unheard_of", "synth_000002", "synth_000017"]
    (tmp_path / "names.csv").write_text("name\n" + "\n".join(names) + "\n")
    config = {"bundle": media.bundle, "manifest": media.manifest, "store": media.store, "candidates": tmp_path / "names.csv"}
    summary = predict(PredictConfig.model_validate(config | {"format": "mer2023", "out": tmp_path / "sub.csv"}))
    rows = list(csv.DictReader((tmp_path / "sub.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == names and list(rows[0]) == ["name", "discrete", "valence"]
    assert all(np.isfinite(float(row["valence"])) for row in rows)
    assert summary.num_prior == 1
    everything = predict(PredictConfig(bundle=media.bundle, manifest=media.manifest, store=media.store, out=tmp_path / "all.parquet")).table
    of_name = dict(zip(everything["clip_id"].to_pylist(), everything["emotion"].to_pylist(), strict=True))
    assert [row["discrete"] for row in rows if row["name"] != "unheard_of"] == [of_name[name] for name in names if name != "unheard_of"]


def test_python_predicts_without_ray(media, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, mer_ray\n"
        "found = mer_ray.load_bundle(sys.argv[1]).predict([sys.argv[2]])[0]\n"
        "assert 'ray' not in sys.modules, 'Ray was loaded'\n"
        "print(json.dumps([found.emotion, found.confidence]))\n"
    )
    done = subprocess.run([sys.executable, script, media.bundle, media.clips[0]], capture_output=True, text=True, check=True)
    emotion, confidence = json.loads(done.stdout)
    (here,) = mer_ray.load_bundle(media.bundle).predict([media.clips[0]])
    assert (emotion, confidence) == (here.emotion, pytest.approx(here.confidence, abs=1e-6))


def test_a_killed_prediction_goes_on(media, tmp_path):
    """The features that were made are kept beside the output, and the same command needs only the rest."""
    out = tmp_path / "out.parquet"
    words = [sys.executable, "-m", "mer_ray.cli", "predict", media.bundle, f"manifest={media.manifest}", "-o", out, "max_in_process=0"]
    running = subprocess.Popen([str(word) for word in words], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = tmp_path / ".out.parquet.work"
    deadline_s = time.monotonic() + 120
    while not list(work.glob("store/*/features/*/part-*.parquet")) and running.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    parts = list(work.glob("store/*/features/*/part-*.parquet"))
    assert parts and not out.exists()
    stamps = {path: path.stat().st_mtime_ns for path in parts}
    # The lease of the killed one is void on the same machine.
    predict(PredictConfig(bundle=media.bundle, manifest=media.manifest, out=out, max_in_process=0, num_actors=1))
    assert pq.read_table(out).num_rows == NUM_CLIPS and not work.exists()
    assert stamps


def test_weights_that_are_others_are_refused(media, tmp_path):
    with pytest.raises(ConfigError, match=r"weights\.hubert: the bundle has no such encoder; it has spectral@"):
        predict(PredictConfig(bundle=media.bundle, files=(str(media.clips[0]),), out=tmp_path / "o.csv", weights={"hubert": "x"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": ()}, "either files .* or manifest"),
        ({"splits": ("test",)}, "splits: belong to a manifest"),
        ({"hop_s": 1.0}, "hop_s: needs window_s"),
        ({"format": "mer2024", "window_s": 2.0}, "a mer2024 file has a row per clip"),
        ({"format": "mer2024", "out": "x.parquet"}, "a mer2024 file is a .csv"),
        ({"out": "x.txt"}, "written as .csv or .parquet"),
        ({"candidates": "names.csv"}, "candidates: are names of clips of a manifest"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PredictConfig.model_validate({"bundle": "b", "files": ("a.mp4",), "out": "x.csv"} | change)


def test_clips_of_a_disk_that_is_not_mounted_are_refused(media, tmp_path):
    """In this process as on Ray: a file of priors alone helps nobody."""
    manifest = read_manifest(media.manifest)
    write_manifest(replace(manifest, facts=replace(manifest.facts, root=str(tmp_path / "unmounted"))), tmp_path / "m.parquet")
    for max_in_process in (0, 99):
        with pytest.raises(ManifestError, match=r"none of (its|the) \d+ media files is there, e\.g\. .*mount or mend the root"):
            predict(
                PredictConfig(bundle=media.bundle, manifest=tmp_path / "m.parquet", out=tmp_path / "o.csv", max_in_process=max_in_process)
            )
    stored = PredictConfig(bundle=media.bundle, manifest=tmp_path / "m.parquet", store=media.store, out=tmp_path / "o.csv")
    assert predict(stored).num_prior == 0
