from pathlib import Path
from typing import Any, get_args

import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora import Scan
from mer_ray.corpora.label_maps import KNOWN_CLASSES, KnownClasses, LabelMapConfig, change_labels, map_soft_label
from mer_ray.corpora.ravdess import CLASSES as RAVDESS_CLASSES
from mer_ray.corpora.table import TableCorpusConfig


def read_table(folder: Path, text: str, **options: Any) -> tuple[Scan, ManifestFacts]:
    (folder / "t.csv").write_text(text)
    corpus = TableCorpusConfig(path=str(folder / "t.csv"), **options).build()
    return corpus.scan(), corpus.facts()


def label_map(**options: Any) -> LabelMapConfig:
    return parse_config(LabelMapConfig, options, "label_map")


def facts_of(*classes: str) -> ManifestFacts:
    return ManifestFacts("corpus", classes, "/")


def test_the_known_lists_are_those_of_the_corpora():
    assert set(KNOWN_CLASSES) == set(get_args(KnownClasses))
    assert KNOWN_CLASSES["mer2023"] == ("neutral", "angry", "happy", "sad", "worried", "surprise")
    assert KNOWN_CLASSES["ravdess"] == RAVDESS_CLASSES
    assert set(KNOWN_CLASSES["iemocap"]) == {"angry", "happy", "sad", "neutral"}


def test_only_true_synonyms_are_matched():
    assert label_map(to="mer2023").match(facts_of("anger", "boredom", "disgust", "fear", "happiness", "sadness", "neutral")) == {
        "anger": "angry",
        "boredom": None,
        "disgust": None,
        "fear": None,
        "happiness": "happy",
        "sadness": "sad",
        "neutral": "neutral",
    }
    near = label_map(to="mer2023").match(facts_of("Joy", "calm", "excited", "frustrated", "surprised", "worried", "contempt"))
    assert {name for name, target in near.items() if target is None} == {"calm", "excited", "frustrated", "contempt"}
    assert (near["Joy"], near["surprised"], near["worried"]) == ("happy", "surprise", "worried")
    assert label_map(to="ravdess").match(facts_of("worried", "fear", "angry"))["worried"] is None


def test_every_corpus_can_be_mapped_onto_every_other():
    for source, classes in KNOWN_CLASSES.items():
        for target in KNOWN_CLASSES:
            matched = label_map(to=target).match(ManifestFacts(source, classes, "/"))
            found = [name for name in matched.values() if name is not None]
            assert len(found) == len(set(found)) >= 4, f"{source} to {target}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"write `\{to: mer2023\}`, or"),
        ({"to": "mer2023", "map": {}}, "write `"),
        ({"to": "mer2023", "classes": ["a"], "map": {}}, "write `"),
        ({"classes": ["a"]}, "write `"),
        ({"classes": ["a", "a"], "map": {"b": "a"}}, "classes: a class is listed twice"),
        ({"classes": ["happy", "sad"], "map": {"joy": "hapy"}}, "map: 'hapy' is not among classes; did you mean 'happy'"),
        ({"to": "crema"}, r"to: 'crema' is not allowed; did you mean 'crema_d'\?"),
    ],
)
def test_a_map_is_one_of_two_forms(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        label_map(**options)


@pytest.mark.parametrize(
    ("mapped", "message"),
    [
        ({"joy": "happy", "sad": "sad", "fear": None, "angst": None}, "the corpus has no class 'angst'. Allowed: joy, sad, fear"),
        ({"joy": "happy"}, "map: names every class of the corpus, sad, fear missing; write null for unknown"),
        ({"joy": None, "sad": None, "fear": None}, r"none of its classes \(joy, sad, fear\) is mapped onto one of happy, sad"),
    ],
)
def test_an_explicit_map_fits_the_corpus(mapped: dict[str, str | None], message: str):
    with pytest.raises(ConfigError, match=f"label_map of corpus: .*{message}"):
        label_map(classes=["happy", "sad"], map=mapped).match(facts_of("joy", "sad", "fear"))


def test_a_corpus_without_labels_has_none_to_map():
    with pytest.raises(ConfigError, match="label_map of corpus: the corpus has no emotions to map; leave label_map out"):
        label_map(to="mer2023").match(facts_of())


def test_clips_of_unmapped_classes_stay_without_a_label(tmp_path: Path):
    scan, facts = read_table(tmp_path, "path,emotion\na.wav,joy\nb.wav,calm\nc.wav,boredom\nd.wav,boredom\ne.wav,\nf.wav,sadness\n")
    scan, facts = change_labels(scan, facts, label_map(to="mer2023"), {})
    assert scan.table["emotion"].to_pylist() == ["happy", None, None, None, None, "sad"]
    assert facts.classes == KNOWN_CLASSES["mer2023"]
    assert facts.label_maps == {"t": {"boredom": None, "calm": None, "joy": "happy", "sadness": "sad"}}
    assert list(scan.notes) == ["label_map leaves clips without a label: boredom 2, calm 1"]
    assert list(scan.faults) == []


def test_two_classes_can_become_one(tmp_path: Path):
    scan, facts = read_table(tmp_path, "path,emotion\na.wav,excited\nb.wav,happy\nc.wav,sad\n")
    mapped = {"excited": "happy", "happy": "happy", "sad": "sad"}
    scan, _ = change_labels(scan, facts, label_map(classes=["sad", "happy"], map=mapped), {})
    assert scan.table["emotion"].to_pylist() == ["happy", "happy", "sad"]
    assert list(scan.notes) == []


def test_probabilities_of_a_soft_label_add_up_and_are_scaled():
    old, matched = ("happy", "excited", "sad", "bored"), {"happy": "happy", "excited": "happy", "sad": "sad", "bored": None}
    assert map_soft_label([0.2, 0.3, 0.3, 0.2], old, matched, ("sad", "happy", "fear")) == pytest.approx([0.375, 0.625, 0.0])
    assert map_soft_label([0.1, 0.0, 0.4, 0.5], old, matched, ("sad", "happy")) == pytest.approx([0.8, 0.2])
    assert map_soft_label([0.1, 0.0, 0.38, 0.52], old, matched, ("sad", "happy")) is None
    assert map_soft_label([0.0, 0.0, 0.0, 1.0], old, matched, ("sad", "happy")) is None


def test_the_emotion_follows_its_soft_label(tmp_path: Path):
    classes = ["happy", "excited", "sad", "bored"]
    rows = {
        "merged.wav": "0.3,0.3,0.4,0",  # happy and excited outweigh sad
        "tied.wav": "0.1,0.2,0.3,0.4",  # bored falls away, 0.1 + 0.2 ties with 0.3
        "untied.wav": "0.4,0,0.4,0.2",
        "lost.wav": "0.2,0,0.1,0.7",
        "split.wav": "0.25,0,0.25,0.5",
        "none.wav": ",,,",
    }
    text = "\n".join(["path,happy,excited,sad,bored", *(f"{name},{cells}" for name, cells in rows.items()), ""])
    scan, facts = read_table(tmp_path, text, classes=classes)
    assert scan.table["emotion"].to_pylist() == ["sad", "bored", None, "bored", "bored", None]
    mapped = {"happy": "happy", "excited": "happy", "sad": "sad", "bored": None}
    scan, _ = change_labels(scan, facts, label_map(classes=["sad", "happy"], map=mapped), {})
    assert scan.table["emotion"].to_pylist() == ["happy", None, None, None, None, None]
    soft = scan.table["emotion_probs"].to_pylist()
    assert soft[0] == pytest.approx([0.4, 0.6])
    assert soft[1] == soft[2] == soft[4] == pytest.approx([0.5, 0.5])
    assert soft[3] is None and soft[5] is None
    assert list(scan.notes) == ["label_map leaves clips without a label: bored 1"]


def test_an_emotion_beside_a_soft_label_is_mapped_itself(tmp_path: Path):
    text = "path,emotion,joy,sadness\na.wav,sadness,0.9,0.1\n"
    scan, facts = read_table(tmp_path, text, classes=["joy", "sadness"])
    scan, _ = change_labels(scan, facts, label_map(classes=["happy", "sad"], map={"joy": "happy", "sadness": "sad"}), {})
    assert scan.table["emotion"].to_pylist() == ["sad"]
    assert scan.table["emotion_probs"].to_pylist()[0] == pytest.approx([0.9, 0.1])


def test_values_move_to_another_range(tmp_path: Path):
    text = "path,valence,arousal\na.wav,1,5\nb.wav,3,\nc.wav,4.5,2\nd.wav,,1\n"
    scan, facts = read_table(tmp_path, text, value_ranges={"valence": [1, 5], "arousal": [1, 5]})
    scan, facts = change_labels(scan, facts, None, {"valence": (-5.0, 5.0)})
    assert scan.table["valence"].to_pylist() == [-5.0, 0.0, 3.75, None]
    assert scan.table["arousal"].to_pylist() == [5.0, None, 2.0, 1.0]
    assert facts.value_ranges == {"valence": (-5.0, 5.0), "arousal": (1.0, 5.0)}


def test_a_value_of_unknown_range_cannot_move(tmp_path: Path):
    scan, facts = read_table(tmp_path, "path,valence\na.wav,1\n")
    with pytest.raises(ConfigError, match=r"values_to.valence of t: the range that the corpus's valence has is unknown \(known: none\)"):
        change_labels(scan, facts, None, {"valence": (-5.0, 5.0)})
