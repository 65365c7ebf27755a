"""The doctor finds what bad plug-ins do, each a sample with one line made wrong."""

from pathlib import Path

import pytest
from corpus_cases import make_sounds

from mer_ray.core.errors import ConfigError
from mer_ray.workflow.plugin_doctor import BROKEN, KEPT, NOT_APPLICABLE, examine_plugin

PLUGINS = Path(__file__).parents[2] / "plugins"
MODEL, ENCODER, CORPUS = (PLUGINS / name for name in ("mean_model.py", "loudness_encoder.py", "lab_corpus.py"))


def spoil(sample: Path, right: str, wrong: str, folder: Path) -> Path:
    text = sample.read_text()
    assert text.count(right) == 1
    spoilt = folder / sample.name
    spoilt.write_text(text.replace(right, wrong))
    return spoilt


def broken(file: Path, *overrides: str) -> dict[str, str]:
    """The broken promises with their reasons."""
    tables, is_well = examine_plugin(file, overrides)
    found = {check: reason for table in tables for check, state, reason in table.rows if state == BROKEN}
    assert is_well == (not found)
    return found


@pytest.mark.parametrize("sample", [pytest.param(MODEL, marks=pytest.mark.slow), ENCODER, CORPUS], ids=lambda sample: sample.stem)
def test_a_good_plug_in_keeps_its_contract(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    overrides = [f"path={make_sounds(tmp_path)}"] if sample == CORPUS else []
    tables, is_well = examine_plugin(sample, overrides)
    assert is_well and len(tables) == 1
    assert {state for _, state, _ in tables[0].rows} <= {KEPT, NOT_APPLICABLE}
    assert "keeps its contract. In a config: " in tables[0].notes[0] and "allow_plugins: true" in tables[0].notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "check", "reason"),
    [
        (
            "torch.stack(projected).mean(dim=0))",
            "torch.stack(projected).mean(dim=0) - projected[0].mean(dim=0))",
            "a clip does not depend on its batch",
            "use no statistics of the batch",
        ),
        (".masked_fill(~batch.present[spec.name][:, None], 0.0)", "", "ignores what is absent", "reads a stream that a clip lacks"),
        (
            "self.dropout = ",
            "self.spare = nn.Linear(2, 2)\n        self.dropout = ",
            "every parameter gets a gradient",
            "spare.weight, spare.bias gets no gradient",
        ),
        ("self.dropout = ", "self.noise = torch.randn(config.hidden)\n        self.dropout = ", None, None),
        (
            "z_BH = self",
            "if not all(batch.present['tone']):\n            raise KeyError('no face')\n        z_BH = self",
            "predicts whatever is missing",
            "raised KeyError: 'no face'",
        ),
        (
            "head(z_BH)[:, 0].float()",
            "head(z_BH).float()",
            "predicts whatever is missing",
            "valence with all streams has the shape (8, 1), not (8,)",
        ),
        ("self.emotion_head(z_BH).float()", "self.emotion_head(z_BH).detach()", "over-fits eight clips", "clips by heart"),
        (
            '"MeanFusion":\n        return MeanFusion(self, streams, task)',
            '"MeanFusion":\n        return nn.Linear(2, 2)',
            "survives a save and a load",
            "MeanConfig.build raised TypeError: it gives Linear",
        ),
    ],
    ids=["batch", "absent", "spare", "unused", "missing", "shape", "untrained", "build"],
)
def test_what_a_bad_model_does_is_found(tmp_path: Path, right: str, wrong: str, check: str | None, reason: str | None):
    found = broken(spoil(MODEL, right, wrong, tmp_path))
    if check is None:
        assert found == {}
    else:
        assert reason in found[check]


@pytest.mark.parametrize(
    ("right", "wrong", "check", "reason"),
    [
        ('"change": 2}', '"change": 3}', "layers are as declared", "are declared"),
        ("level_T = 10", "level_T = np.random.rand() + 10", "two builds give the same bits", "two builds differ in mean of level"),
        ("+ self.floor)", ")", "features are finite and fit float16", "not finite"),
        (
            "        super().check(clip_input)\n",
            "",
            "inputs of another kind are refused",
            "encodes an input of another kind (sound at 8000 Hz)",
        ),
        ("len(clip_input.samples) < FRAME_SAMPLES", "len(clip_input.samples) < 0", "odd lengths are encoded or refused", "IndexError"),
        (
            'name: str = "loudness"',
            'name: str = "spectral"',
            "has a name of its own",
            "an encoder of the package is named 'spectral' already",
        ),
        ("return AudioFormat(16_000)", "raise OSError('no format')", "says of itself what is true", "raised OSError: no format"),
        ("frames_TS = samples_S[", "samples_S *= 0.5\n        frames_TS = samples_S[", "inputs are left as they were", "read-only"),
        (
            "self._encode_sound(clip_input.samples) for clip_input in inputs if",
            "self._encode_sound(clip_input.samples) for clip_input in inputs[::-1] if",
            "results come in the order of the inputs",
            "differ in (num_frames, frame_s)",
        ),
        ("0.02, self.sequences", "None, self.sequences", "says of itself what is true", "a frame_s that is no number"),
    ],
    ids=["layers", "random", "infinite", "kinds", "short", "name", "format", "inputs", "order", "spacing"],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_what_a_bad_encoder_does_is_found(tmp_path: Path, right: str, wrong: str, check: str, reason: str):
    found = broken(spoil(ENCODER, right, wrong, tmp_path))
    assert reason in found[check]


@pytest.mark.parametrize(
    ("right", "wrong", "check", "reason"),
    [
        ("rows.append((path.stem, ", "rows.append((speaker, ", "ids are unique", "is also the id of row"),
        ('"calm", "glad", "cross")', '"calm", "glad", "cross", "calm")', "facts describe a corpus", "named twice"),
        ("if emotion not in EMOTIONS", "if False", "labels are known classes", "unknown label 'loud'"),
        ("path.name, speaker", "str(path), speaker", "paths stay below the root", "is an absolute path"),
        ("path.name, speaker", "path.name + 'e', speaker", "files are there", "none of its 4 files is there"),
        ("numbers.append(number)", "numbers.append(1)", "rows are those of a manifest", "stands twice"),
        ("root=str(self.root))", 'root="sounds")', "facts describe a corpus", "depends on the working folder"),
        ("self.language))", "str(id(object()) if faults else id(rows))))", "two scans are the same", "the rows differ"),
        (
            '"emotion", f"{path.name!r} names no emotion"',
            '"feeling", f"{path.name!r} names no emotion"',
            "faults say what is wrong",
            "'feeling', which no manifest has",
        ),
    ],
    ids=["ids", "classes", "labels", "absolute", "files", "numbers", "root", "scans", "faults"],
)
def test_what_a_bad_corpus_does_is_found(tmp_path: Path, right: str, wrong: str, check: str, reason: str):
    sounds = make_sounds(tmp_path / "sounds")
    (sounds / "dora_1_loud.wav").write_bytes((sounds / "anna_1_calm.wav").read_bytes())
    found = broken(spoil(CORPUS, right, wrong, tmp_path), f"path={sounds}")
    assert reason in found[check]


def test_fields_are_given_by_key_and_checked(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"LabConfig: path: required, but missing\n.*lab_corpus\.py: give fields of LabConfig as key=value"
    ):
        examine_plugin(CORPUS, [])
    with pytest.raises(ConfigError, match=r"LoudnessConfig: floor: unknown key; did you mean 'floor_db'"):
        examine_plugin(ENCODER, ["floor=3"])
    assert broken(ENCODER, "floor_db=-60", "dtype=float32") == {}


def test_a_file_without_plug_ins_and_an_unknown_class_are_told(tmp_path: Path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match=r"empty\.py: defines no config class of a plug-in: .*FusionModelConfig \(model\)"):
        examine_plugin(tmp_path / "empty.py", [])
    with pytest.raises(ConfigError, match="defines no config class 'Loudness'; did you mean 'LoudnessConfig'"):
        examine_plugin(ENCODER, [], "Loudness")


def test_all_classes_of_a_file_are_examined_or_one(tmp_path: Path):
    both = tmp_path / "both.py"
    both.write_text(f"{ENCODER.read_text()}\n\nclass QuietConfig(LoudnessConfig):\n    name: str = 'quiet'\n    floor_db: float = -20.0\n")
    tables, is_well = examine_plugin(both, [])
    assert is_well and [table.title.split()[1] for table in tables] == ["LoudnessConfig", "QuietConfig"]
    assert len(examine_plugin(both, [], "QuietConfig")[0]) == 1
