from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, METADATA_KEY, Manifest, ManifestFacts, read_manifest, resolve_path, write_manifest

FACTS = ManifestFacts(
    corpus="tiny", classes=("sad", "happy"), root="/data", value_ranges={"valence": (-5.0, 5.0)}, folds="leave one speaker out"
)


def tiny_table(**columns: list[object]) -> pa.Table:
    rows = {"clip_id": ["ä b"], "path": ["x/ä b.wav"], "emotion": ["sad"], "valence": [0.5], "emotion_probs": [[0.75, 0.25]], **columns}
    arrays = [pa.array(rows[field.name], field.type) if field.name in rows else pa.nulls(1, field.type) for field in MANIFEST_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA)


def test_a_written_manifest_reads_back_with_its_facts(tmp_path: Path):
    write_manifest(Manifest(tiny_table(), FACTS), tmp_path / "new" / "m.parquet")
    found = read_manifest(tmp_path / "new" / "m.parquet")
    assert found.facts == FACTS
    assert found.table.to_pylist() == tiny_table().to_pylist()
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["m.parquet"]


def test_clips_have_their_paths_below_the_root():
    (clip,) = Manifest(tiny_table(faces_path=["faces/a.npy"]), FACTS).clips()
    assert (clip.clip_id, clip.path, clip.audio_path, clip.faces_path) == ("ä b", "/data/x/ä b.wav", None, "/data/faces/a.npy")


@pytest.mark.parametrize(
    ("root", "path", "resolved"),
    [
        ("/data", "a/b.wav", "/data/a/b.wav"),
        ("/data", "/else/b.wav", "/else/b.wav"),
        ("s3://bucket/x", "a/b.wav", "s3://bucket/x/a/b.wav"),
        ("/data", "s3://bucket/b.wav", "s3://bucket/b.wav"),
        ("/", "a.wav", "/a.wav"),
    ],
)
def test_paths_join_their_root(root: str, path: str, resolved: str):
    assert resolve_path(root, path) == resolved


def test_a_table_without_a_column_is_not_written(tmp_path: Path):
    out = tmp_path / "m.parquet"
    with pytest.raises(ManifestError, match="lacks columns fold, text"):
        write_manifest(Manifest(tiny_table().drop_columns(["fold", "text"]), FACTS), out)
    assert not out.exists()


def test_a_failed_write_keeps_the_old_manifest(tmp_path: Path):
    out = tmp_path / "m.parquet"
    write_manifest(Manifest(tiny_table(), FACTS), out)
    before = out.read_bytes()
    wrong = tiny_table().set_column(MANIFEST_SCHEMA.names.index("valence"), "valence", pa.array(["high"]))
    with pytest.raises(pa.ArrowInvalid):
        write_manifest(Manifest(wrong, FACTS), out)
    assert out.read_bytes() == before


def test_a_missing_manifest_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"no such manifest; make it with `mer-ray manifest"):
        read_manifest(tmp_path / "none.parquet")


def test_text_named_parquet_is_no_manifest(tmp_path: Path):
    (tmp_path / "m.parquet").write_text("clip_id,path\na,a.wav\n")
    with pytest.raises(ManifestError, match="not a Parquet file"):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize("columns", [{"path": ["a.wav"]}, {name: [None] for name in MANIFEST_SCHEMA.names}], ids=["other", "bare"])
def test_another_table_is_no_manifest(tmp_path: Path, columns: dict[str, list[object]]):
    pq.write_table(pa.table(columns), tmp_path / "clips.parquet")
    with pytest.raises(ManifestError, match=r"not a manifest of mer_ray.*\{name: table, path: clips\.parquet\}"):
        read_manifest(tmp_path / "clips.parquet")


@pytest.mark.parametrize("damaged", [b"{}", b"{", b"[1]", b'{"corpus": "a", "classes": 3, "root": "/"}', b"\xff"])
def test_damaged_metadata_is_one_line_of_error(tmp_path: Path, damaged: bytes):
    schema = MANIFEST_SCHEMA.with_metadata({METADATA_KEY: damaged})
    pq.write_table(schema.empty_table(), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=r"m\.parquet: damaged mer_ray metadata: .*make the file anew") as caught:
        read_manifest(tmp_path / "m.parquet")
    assert "\n" not in str(caught.value)
