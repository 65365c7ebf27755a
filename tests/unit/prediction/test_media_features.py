"""What goes wrong with a working manifest is said of the file that the user gave."""

import pyarrow as pa
import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.prediction.config import MediaConfig
from mer_ray.prediction.media_features import extract_lacking
from mer_ray.prediction.wanted_clips import clips_of_manifest, cut_windows


@pytest.mark.parametrize("is_cut", [False, True])
def test_media_that_are_gone_are_those_of_the_given_manifest(tmp_path, is_cut):
    row = dict.fromkeys(MANIFEST_SCHEMA.names) | {"clip_id": "a", "path": "a.wav", "duration_s": 2.0}
    given, work = tmp_path / "moved.parquet", tmp_path / ".r.json.work"
    facts = ManifestFacts("small", (), str(tmp_path / "gone"))
    write_manifest(Manifest(pa.Table.from_pylist([row], schema=MANIFEST_SCHEMA), facts), given)
    wanted = clips_of_manifest(given, None, None)
    with pytest.raises(ManifestError) as caught:
        extract_lacking(MediaConfig(bundle=tmp_path), work, cut_windows(wanted, 1.0, 1.0) if is_cut else wanted, [SpectralConfig()])
    assert str(caught.value).startswith(f"{given}: none of its 1 media files is there") and work.name not in str(caught.value)
