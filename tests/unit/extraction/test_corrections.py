import hashlib
import wave
from pathlib import Path
from typing import Any

import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import Manifest, read_manifest
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.manifest_summary import ManifestSummary
from mer_ray.workflow.job import Job, Step
from mer_ray.workflow.runner import fingerprint, is_finished, run_job
from mer_ray.workflow.verbs import VERBS

HEADER = "clip_id,emotion,old_emotion,note"
ROWS = ["a,a.wav,sadness,s1", "b,b.wav,joy,s1", "c,c.wav,calm,s2", "d,d.wav,,s2", "e,broken.wav,joy,s3"]
LABEL_MAP = {"classes": ["happy", "sad"], "map": {"joy": "happy", "sadness": "sad", "calm": None}}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four clips of sound and one broken file."""
    for number, name in enumerate("abcd"):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes([number, 1]) * 4000)
    (tmp_path / "broken.wav").write_bytes(b"not sound")
    (tmp_path / "t.csv").write_text("\n".join(["clip_id,path,emotion,speaker_id", *ROWS, ""]))
    return tmp_path


def config_of(folder: Path, *files: list[str], **options: Any) -> ManifestConfig:
    paths = [folder / f"corrections{number}.csv" for number in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("\n".join([HEADER, *lines, ""]))
    data = {
        "corpus": {"name": "table", "path": str(folder / "t.csv"), **options.pop("corpus", {})},
        "label_map": LABEL_MAP,
        "corrections": [str(path) for path in paths] if len(paths) > 1 else str(paths[0]),
        "out": str(folder / "out" / "m.parquet"),
        **options,
    }
    return parse_config(ManifestConfig, data, "manifest")


def build(config: ManifestConfig) -> tuple[ManifestSummary, Manifest]:
    return build_manifest(config), read_manifest(config.out)


def error_lines(config: ManifestConfig) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        build_manifest(config)
    assert not config.out.exists()
    return str(caught.value).splitlines()


def test_labels_are_corrected_after_the_map_and_before_the_folds(corpus: Path):
    lines = ["a,happy,sad,he laughs", "b,happy,happy,", "c,sad,,", "e,-,happy,broken", "d,,,"]
    _, manifest = build(config_of(corpus, lines, folds={"name": "leave_one_speaker_out"}))
    assert manifest.table["clip_id"].to_pylist() == ["a", "b", "c", "d"]
    assert manifest.table["emotion"].to_pylist() == ["happy", "happy", "sad", None]
    assert manifest.table["fold"].to_pylist() == [0, 0, 1, None]


def test_what_was_done_is_told_and_recorded(corpus: Path):
    lines = ["a,happy,sad,", "b,happy,happy,", "c,sad,,", "e,-,happy,broken"]
    summary, manifest = build(config_of(corpus, lines))
    assert list(summary.notes) == [
        "label_map leaves clips without a label: calm 1",
        "corrections0.csv: 2 corrected, 1 left out, 1 unchanged",
    ]
    assert manifest.facts.corrections == (hashlib.sha256((corpus / "corrections0.csv").read_bytes()).hexdigest(),)
    assert manifest.facts.label_maps == {"t": {"calm": None, "joy": "happy", "sadness": "sad"}}
    assert manifest.facts.classes == ("happy", "sad")


def test_a_label_can_become_unknown(corpus: Path):
    summary, manifest = build(config_of(corpus, ["a,,sad,cannot tell", "e,-,happy,"]))
    assert manifest.table["emotion"].to_pylist() == [None, "happy", None, None]
    assert summary.notes[-1] == "corrections0.csv: 1 left out, 1 made unknown"


def test_later_files_correct_what_earlier_ones_left(corpus: Path):
    files = (["a,happy,sad,", "e,-,happy,"], ["a,sad,happy,", "b,,happy,"])
    summary, manifest = build(config_of(corpus, *files))
    assert manifest.table["emotion"].to_pylist() == ["sad", None, None, None]
    assert len(manifest.facts.corrections or ()) == 2
    assert list(summary.notes)[1:] == ["corrections0.csv: 1 corrected, 1 left out", "corrections1.csv: 1 corrected, 1 made unknown"]


def test_soft_labels_of_corrected_clips_become_one_hot(corpus: Path):
    rows = ["a,a.wav,0.25,0.75", "b,b.wav,0.25,0.75", "c,c.wav,0.5,0.5", "d,d.wav,,"]
    (corpus / "t.csv").write_text("\n".join(["clip_id,path,happy,sad", *rows, ""]))
    lines = ["a,happy,sad,", "b,,sad,", "c,sad,,", "d,sad,,"]
    _, manifest = build(config_of(corpus, lines, label_map=None, corpus={"classes": ["happy", "sad"]}))
    assert manifest.table["emotion"].to_pylist() == ["happy", None, "sad", "sad"]
    assert manifest.table["emotion_probs"].to_pylist() == [[1.0, 0.0], None, [0.0, 1.0], None]


def test_all_faults_of_the_file_are_lines(corpus: Path):
    lines = [
        "a,hapy,sad,",
        "zz,happy,sad,",
        "b,happy,happy,",
        "b,sad,happy,",
        "b,happy,happy,again",
        "c,happy,sad,",
        "a,happy",
        "d,,happy,",
    ]
    found = error_lines(config_of(corpus, lines))
    assert found[0].endswith("corrections0.csv: 6 faults; nothing was written; correct the lines or remove them")
    other = "the file belongs to other labels; allowed: corrections of a run on this corpus, label map and earlier corrections"
    assert found[1:] == [
        "  row 2, clip 'a', emotion: unknown label 'hapy'; did you mean 'happy'?; "
        "allowed: happy, sad, - to leave the clip out, or empty for unknown",
        "  row 3, clip 'zz', clip_id: is no clip of t; allowed: ids of the corpus that the report was made of",
        "  row 5, clip 'b', emotion: 'sad', but row 4 says 'happy' of the same clip; allowed: one label for one clip",
        f"  row 7, clip 'c', old_emotion: 'sad', but the clip's label here is no label: {other}",
        "  row 8: has 2 cells; allowed: 4, as in the header; quote cells that hold ','",
        f"  row 9, clip 'd', old_emotion: 'happy', but the clip's label here is no label: {other}",
    ]


def test_faults_of_corrections_are_not_left_out_by_keep_going(corpus: Path):
    assert "1 fault" in error_lines(config_of(corpus, ["zz,happy,sad,"], keep_going=True))[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "clip_id,emotion\na,sad\n", "has the columns clip_id,emotion; corrections have clip_id,emotion,old_emotion,note"),
        ("c.tsv", HEADER, r"corrections are a .csv with the columns clip_id,emotion,old_emotion,note"),
        ("gone.csv", None, "gone.csv: no such table"),
    ],
)
def test_other_files_are_no_corrections(corpus: Path, name: str, text: str | None, message: str):
    if text is not None:
        (corpus / name).write_text(text)
    config = config_of(corpus, [])
    with pytest.raises(ManifestError, match=message):
        build_manifest(config.model_copy(update={"corrections": (corpus / name,)}))


def test_a_clip_that_is_left_out_takes_its_faults_with_it(corpus: Path):
    assert error_lines(config_of(corpus, []))[1].startswith("  row 6, clip 'e', path: ")
    summary, _ = build(config_of(corpus, ["e,-,happy,does not play"]))
    assert (summary.num_clips, summary.num_faults) == (4, 0)


def test_the_manifest_may_not_replace_its_corrections(corpus: Path):
    with pytest.raises(ConfigError, match="is a file of corrections, which would be lost"):
        config_of(corpus, [], out=str(corpus / "corrections0.csv"))


def test_a_job_makes_the_manifest_again_when_corrections_change(corpus: Path):
    config = config_of(corpus, ["e,-,happy,"])
    verb = VERBS["manifest"]
    job = Job({}, (Step(verb, config),))
    assert fingerprint(verb.reads(config) or []) != fingerprint([str(corpus / "t.csv")])
    assert [step.skipped for step in run_job(job, str, repr)] == [False]
    assert is_finished(verb, config)
    assert [step.skipped for step in run_job(job, str, repr)] == [True]
    (corpus / "corrections0.csv").write_text(f"{HEADER}\ne,-,happy,\na,happy,sad,\n")
    assert not is_finished(verb, config)
    assert [step.skipped for step in run_job(job, str, repr)] == [False]
    assert read_manifest(config.out).table["emotion"].to_pylist() == ["happy", "happy", None, None]
    assert ("corrections", str(corpus / "corrections0.csv")) in verb.plan(config)[0].rows
