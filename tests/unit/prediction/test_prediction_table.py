import numpy as np
import pyarrow as pa
import pytest

from mer_ray.core.batch import TaskSpec
from mer_ray.decoders.limits import MediaLimits
from mer_ray.prediction.bundle import BundlePredictions
from mer_ray.prediction.prediction_table import make_table, write_predictions
from mer_ray.prediction.wanted_clips import clips_of_files


def test_a_reason_that_all_encoders_give_is_said_once():
    wanted = clips_of_files([{"text": "well", "clip_id": "a"}], MediaLimits())
    predictions = BundlePredictions(np.array([[0.25, 0.75]], np.float32), {}, {})
    table = make_table(wanted, predictions, {"a": ["no such file", "too long", "no such file"]}, TaskSpec(("sad", "happy"), ()), 0.0)
    assert table["note"].to_pylist() == ["no such file; too long"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        write_predictions(pa.table({"clip_id": ["a"]}), tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
