from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import resolve_path
from mer_ray.corpora.faults import Fault, MemberRow, in_source_order
from mer_ray.corpora.joined import JoinedCorpus, JoinedCorpusConfig
from mer_ray.corpora.paths import common_root


def member(folder: Path, name: str, text: str, options: dict[str, Any] | None = None, **corpus: Any) -> dict[str, Any]:
    (folder / name).mkdir()
    (folder / name / f"{name}.csv").write_text(text)
    return {"corpus": {"name": "table", "path": str(folder / name / f"{name}.csv"), **corpus}, **(options or {})}


def join(*members: dict[str, Any]) -> JoinedCorpus:
    return parse_config(JoinedCorpusConfig, {"name": "joined", "corpus_name": "all", "members": list(members)}, "corpus").build()


def test_ids_speakers_and_paths_say_where_a_clip_comes_from(tmp_path: Path):
    one = member(tmp_path, "one", "path,speaker_id,emotion,split\nwav/a.wav,1,sad,train\nb.wav,,happy,dev\n")
    two = member(tmp_path, "two", "path,speaker_id,emotion\na.wav,1,sad\n", {"split": "test"}, classes=["happy", "sad"])
    corpus = join(one, two)
    scan, facts = corpus.scan(), corpus.facts()
    assert list(scan.faults) == [] and list(scan.notes) == []
    columns = ["clip_id", "path", "speaker_id", "corpus", "split", "emotion"]
    assert [tuple(row.values()) for row in scan.table.select(columns).to_pylist()] == [
        ("one/a", "one/wav/a.wav", "one/1", "one", "train", "sad"),
        ("one/b", "one/b.wav", None, "one", "dev", "happy"),
        ("two/a", "two/a.wav", "two/1", "two", "test", "sad"),
    ]
    assert (facts.corpus, facts.root, facts.classes) == ("all", str(tmp_path), ("happy", "sad"))
    assert resolve_path(facts.root, "one/wav/a.wav") == str(tmp_path / "one" / "wav" / "a.wav")
    assert [str(number) for number in scan.row_numbers] == ["2 of one", "3 of one", "2 of two"]
    assert facts.licence is None and facts.label_maps is None


def test_members_come_in_the_same_terms(tmp_path: Path):
    label_map = {"classes": ["sad", "happy"], "map": {"joy": "happy", "sadness": "sad", "boredom": None}}
    text = "path,emotion,valence\na.wav,joy,5\nb.wav,boredom,1\nc.wav,sadness,2\n"
    one = member(tmp_path, "one", text, {"label_map": label_map, "values_to": {"valence": [-1, 1]}}, value_ranges={"valence": [1, 5]})
    two = member(tmp_path, "two", "path,emotion,valence\na.wav,sad,-0.5\n", classes=["sad", "happy"], value_ranges={"valence": [-1, 1]})
    corpus = join(one, two)
    assert corpus.scan().table["emotion"].to_pylist() == ["happy", None, "sad", "sad"]
    assert corpus.scan().table["valence"].to_pylist() == [1.0, -1.0, -0.5, -0.5]
    assert list(corpus.scan().notes) == ["one: label_map leaves clips without a label: boredom 1"]
    assert corpus.facts().classes == ("sad", "happy")
    assert corpus.facts().value_ranges == {"valence": (-1.0, 1.0)}
    assert corpus.facts().label_maps == {"one": {"boredom": None, "joy": "happy", "sadness": "sad"}}


def test_other_classes_are_an_error_that_shows_the_difference(tmp_path: Path):
    one = member(tmp_path, "one", "path,emotion\na.wav,joy\nb.wav,sad\n")
    two = member(tmp_path, "two", "path,emotion\na.wav,calm\nb.wav,sad\n")
    with pytest.raises(ManifestError) as caught:
        join(one, two).facts()
    assert str(caught.value) == (
        "corpus.members: one and two end with different classes: only one has joy; only two has calm; "
        "give members a label map, e.g. `label_map: {classes: [joy, sad], map: {calm: ..., ...}}`"
    )


def test_known_classes_are_proposed_as_a_map(tmp_path: Path):
    known = ["neutral", "angry", "happy", "sad", "worried", "surprise"]
    one = member(tmp_path, "one", "path,emotion\na.wav,sad\n", classes=known)
    two = member(tmp_path, "two", "path,emotion\na.wav,sad\n", classes=known[::-1])
    with pytest.raises(ManifestError, match=r"the order of one is neutral, angry, .*, of two surprise, .* `label_map: \{to: mer2023\}`$"):
        join(one, two).facts()


def test_an_unlabelled_corpus_joins_any(tmp_path: Path):
    one = member(tmp_path, "one", "path,emotion\na.wav,joy\n")
    two = member(tmp_path, "two", "path\na.wav\n")
    assert join(two, one).facts().classes == ("joy",)


@pytest.mark.parametrize("range_of_two", [{"value_ranges": {"valence": [1, 5]}}, {}])
def test_values_of_other_ranges_do_not_mix(tmp_path: Path, range_of_two: dict[str, Any]):
    one = member(tmp_path, "one", "path,valence\na.wav,-2\n", value_ranges={"valence": [-5, 5]})
    two = member(tmp_path, "two", "path,valence\na.wav,2\n", **range_of_two)
    shown = r"\[1.0, 5.0\]" if range_of_two else "unknown"
    with pytest.raises(ManifestError, match=rf"valence has different ranges: one \[-5.0, 5.0\]; two {shown}; .* `values_to: "):
        join(one, two).facts()


def test_a_range_without_values_does_not_matter(tmp_path: Path):
    one = member(tmp_path, "one", "path,valence\na.wav,-2\n", value_ranges={"valence": [-5, 5]})
    two = member(tmp_path, "two", "path\na.wav\n", value_ranges={"valence": [1, 5]})
    assert join(one, two).facts().value_ranges == {"valence": (-5.0, 5.0)}


def test_two_members_of_one_name_are_an_error(tmp_path: Path):
    one = member(tmp_path, "one", "path\na.wav\n")
    with pytest.raises(ManifestError, match="two of them are called 'one'; join each corpus once"):
        join(one, one).scan()
    again = {**one, "corpus": {**one["corpus"], "corpus_name": "again"}}
    assert join(one, again).scan().table["clip_id"].to_pylist() == ["one/a", "again/a"]


def test_faults_name_the_member_and_its_row(tmp_path: Path):
    one = member(tmp_path, "one", "clip_id,path,emotion\na,a.wav,sad\nb,../two/b.wav,sad\n", classes=["sad"])
    two = member(tmp_path, "two", "clip_id,path,emotion\na,a.wav,sad\nb,b.wav,bad\nc,c.wav\n", classes=["sad"])
    three = member(tmp_path, "three", "clip_id,path,zzz\na,a.wav,1\n", classes=["sad"])
    scan = join(one, two, three).scan()
    shown = [str(fault) for fault in in_source_order(scan.faults)]
    assert shown[0].startswith("zzz: three: unknown column 'zzz'; allowed: ")
    assert shown[1] == (
        "row 3 of one, clip 'one/b', path: '../two/b.wav' leaves the root through '..'; "
        f"allowed: paths below {tmp_path}/one; set corpus.root to a folder above all files"
    )
    assert shown[2] == "row 3 of two, clip 'two/b', emotion: unknown label 'bad'; did you mean 'sad'?; allowed: sad"
    assert shown[3].startswith("row 4 of two: has 2 cells; allowed: 3")
    assert len(shown) == 4
    rows = dict(zip(scan.clip_ids, scan.row_numbers, strict=True))
    assert rows["one/b"] == scan.faults[0].row != rows["two/b"]


def test_a_link_out_of_a_member_is_a_fault_though_it_stays_in_the_joined_root(tmp_path: Path):
    one = member(tmp_path, "one", "path\na.wav\n")
    two = member(tmp_path, "two", "path\na.wav\n")
    (tmp_path / "two" / "a.wav").write_bytes(b"1")
    (tmp_path / "one" / "a.wav").symlink_to(tmp_path / "two" / "a.wav")
    (fault,) = join(one, two).scan().faults
    assert str(fault).startswith("row 2 of one, clip 'one/a', path: 'a.wav' is a symbolic link out of the root, to ")


def test_folds_of_some_members_are_said(tmp_path: Path):
    one = member(tmp_path, "one", "path,fold\na.wav,0\nb.wav,1\n")
    two = member(tmp_path, "two", "path\na.wav\n")
    assert join(one, two).scan().table["fold"].to_pylist() == [0, 1, None]
    assert list(join(one, two).scan().notes) == ["only one comes with folds: two has none; keep_folds: false forgets them"]
    without = join({**one, "keep_folds": False}, two).scan()
    assert without.table["fold"].null_count == 3 and list(without.notes) == []


def test_soft_labels_of_some_members_are_kept(tmp_path: Path):
    one = member(tmp_path, "one", "path,sad,happy\na.wav,0.25,0.75\n", classes=["sad", "happy"])
    two = member(tmp_path, "two", "path,emotion\na.wav,sad\n", classes=["sad", "happy"])
    assert join(one, two).scan().table["emotion_probs"].to_pylist() == [[0.25, 0.75], None]


def test_members_on_s3_and_on_disk_do_not_mix(tmp_path: Path):
    assert common_root(["/a/b/c", "/a/b/d/e"]) == "/a/b"
    assert common_root(["/a", "/b"]) == "/"
    assert common_root(["s3://bucket/x/a", "s3://bucket/x/b"]) == "s3://bucket/x"
    assert common_root(["s3://bucket/ab", "s3://bucket/ac"]) == "s3://bucket"
    assert common_root(["s3://one/a", "s3://two/a"]) is None
    one = member(tmp_path, "one", "path\na.wav\n", root="s3://bucket/one")
    two = member(tmp_path, "two", "path\na.wav\n")
    with pytest.raises(ManifestError, match=r"all in one bucket; here one in s3://bucket/one; two in /.*; copy one beside the other"):
        join(one, two).facts()
    three = member(tmp_path, "three", "path\na.wav\n", root="s3://bucket/three")
    assert join(one, three).scan().table["path"].to_pylist() == ["one/a.wav", "three/a.wav"]


def test_faults_of_members_sort_by_member_and_row():
    rows = [MemberRow(1, 2, "two"), MemberRow(0, 10, "one"), None, MemberRow(0, 9, "one")]
    faults = in_source_order([Fault(row, None, None, "x", "y") for row in rows])
    assert [None if fault.row is None else str(fault.row) for fault in faults] == [None, "9 of one", "10 of one", "2 of two"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": [{"corpus": {"name": "emodb", "path": "a"}}]}, "members: tuple should have at least 2 items"),
        ({"members.1.corpus.name": "joined"}, r"members\.1\.corpus\.name: unknown choice 'joined'"),
        ({"members.1.corpus.pth": "a"}, r"members\.1\.corpus\.pth: unknown key; did you mean 'path'\?"),
        ({"members.0.label_map.to": "mer"}, r"members\.0\.label_map\.to: 'mer' is not allowed"),
        ({"members.0.values_to.joy": [0, 1]}, r"members\.0\.values_to\.joy"),
        ({"members.0.splt": "test"}, r"members\.0\.splt: unknown key; did you mean 'split'\?"),
        ({"corpus_name": "a/b"}, "corpus_name: 'a/b' cannot name a folder of the store"),
    ],
)
def test_wrong_configs_are_named_by_their_place(change: dict[str, Any], message: str):
    data: dict[str, Any] = {
        "name": "joined",
        "corpus_name": "all",
        "members": [{"corpus": {"name": "emodb", "path": "a"}, "label_map": {"to": "meld"}, "values_to": {}} for _ in range(2)],
    }
    for dotted, value in change.items():
        target: Any = data
        *parents, last = dotted.split(".")
        for part in parents:
            target = target[int(part) if part.isdigit() else part]
        target[last] = value
    with pytest.raises(ConfigError, match=message):
        parse_config(JoinedCorpusConfig, data, "corpus")


def test_the_table_has_one_chunk_and_the_manifest_schema(tmp_path: Path):
    one, two = (member(tmp_path, name, "path\na.wav\n") for name in ("one", "two"))
    table = join(one, two).scan().table
    assert isinstance(table, pa.Table) and table["path"].num_chunks == 1
