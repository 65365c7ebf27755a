"""Every snippet of the page about reading a store runs, and reads what is there."""

import numpy as np
import pyarrow as pa
import pytest
from snippets import blocks_of

from mer_ray.core.config import digest_of
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

BLOCKS = blocks_of("mer_ray/store/READING.md", "python")
PRINTED = [
    "['clips'] ['spectral@",
    "6 fixed_size_list<element: halffloat>[2]",
    "emotion\nhappy    1.5\nsad      4.0",
    "[('happy', 2, 1.5), ('sad', 3, 4.0)]",
    "5 torch.Size([6, 4]) ['happy', 'sad']",
]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """`work/` with a store of six clips, one of them without sound, and their manifest."""
    monkeypatch.chdir(tmp_path)
    identity = digest_of("reading")
    record = EncoderRecord(
        name="spectral",
        key=encoder_key("spectral", identity),
        identity=identity,
        config={},
        modality="audio",
        layers={"energy": 2, "pitch": 3},
    )
    rows = []
    for number in range(6):
        mean = {"energy": np.array([number, 1], np.float32), "pitch": np.zeros(3, np.float32)}
        rows.append(FeatureRow(f"clip{number}", "hash", Features(4, 0.02, mean, mean) if number else Features(0, 0.0)))
    for part in (rows[:4], rows[4:]):
        write_features(open_store("work/store"), "clips", record, part)
    table = pa.Table.from_pylist(
        [
            dict.fromkeys(MANIFEST_SCHEMA.names) | {"clip_id": f"clip{number}", "emotion": ("happy", "sad")[number // 3]}
            for number in range(6)
        ],
        MANIFEST_SCHEMA,
    )
    write_manifest(Manifest(table, ManifestFacts("clips", ("happy", "sad"), "/")), tmp_path / "work" / "manifest.parquet")
    return tmp_path


@pytest.mark.parametrize("number", range(5), ids=["mer_ray", "pyarrow", "pandas", "duckdb", "torch"])
def test_a_snippet_reads_the_store(number, work, capsys):
    assert len(BLOCKS) == 5
    exec(compile(BLOCKS[number], f"READING.md, block {number}", "exec"), {})
    printed = capsys.readouterr().out
    assert PRINTED[number] in printed
