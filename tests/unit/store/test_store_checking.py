import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_samples import make_failures, make_record, make_rows

from mer_ray.store.checking import check_store
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_leases
from mer_ray.store.writer import write_failures, write_features

RECORD = make_record(sequences=("low",))


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    for clips in (["c1", "c2"], ["c2", "c3"]):
        write_features(store, "emodb", RECORD, make_rows(RECORD, clips))
    write_features(store, "emodb", RECORD, make_rows(RECORD, ["silent"], num_frames=0))
    write_failures(store, "emodb", RECORD.key, make_failures(["bad"]))
    return store


def folder_of(store, kind="features"):
    return Path(store.part_folder("emodb", RECORD.key, kind))


def a_part(store):
    return sorted(folder_of(store).glob("part-*"))[0]


def rewrite(path, change):
    """Write a part anew with other rows, as only a damaged machine would."""
    with pq.ParquetFile(path) as file:
        table = file.read()
    pq.write_table(change(table), path, compression="none", use_dictionary=False)


def test_a_sound_store_has_notes_but_no_faults(store):
    (folder_of(store) / ".part-1.parquet.x.tmp").touch()
    with hold_leases(store, "emodb", [RECORD.key]):
        report = check_store(store, deep=True)
    assert report.faults == []
    assert report.rows == [("emodb", RECORD.key, "features", 3, 5, 4), ("emodb", RECORD.key, "failures", 1, 1, 1)]
    notes = "\n".join(report.notes)
    assert "1 rows of clips that have another row; read once all the same" in notes
    assert "1 temporary files of writers" in notes
    assert f"_lease-1-of-1.json: at work: the extraction of part 1/1 by process {os.getpid()}" in notes
    assert report.table().notes[-1] == "no faults; every value was read and its checksum verified"


def test_every_fault_is_named_and_the_others_are_still_found(store):
    path = a_part(store)
    path.write_bytes(path.read_bytes()[:-20])
    (folder_of(store) / "notes.txt").touch()
    (folder_of(store).parent / "stray").touch()
    Path(store.corpus_folder("emodb"), "models").mkdir()
    (folder_of(store, "failures") / f"part-{'0' * 32}.parquet").write_bytes(sorted(folder_of(store).glob("part-*"))[1].read_bytes())
    faults = "\n".join(check_store(store).faults)
    assert len(faults.splitlines()) == 5
    for text in (
        f"{path}: cannot be read as a part of this store",
        "notes.txt: not a file of a store; move it elsewhere",
        "stray: not a folder of an encoder; move it elsewhere",
        "models: not a part of a store; move it elsewhere",
        f"holds features of {RECORD.key}, not failures of",
    ):
        assert text in faults


def test_a_flipped_byte_among_the_values_needs_a_deep_check(store):
    path = a_part(store)
    with pq.ParquetFile(path) as file:
        names = [file.metadata.row_group(0).column(index).path_in_schema for index in range(file.metadata.num_columns)]
        column = file.metadata.row_group(0).column(names.index("mean_high.list.element"))
        offset = column.data_page_offset + column.total_compressed_size - 3
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    assert check_store(store).faults == []
    (fault,) = check_store(store, deep=True).faults
    assert fault.startswith(f"{path}: cannot be read as a part of this store")
    assert "CRC" in fault


def with_values(table, name, values):
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def test_rows_that_no_writer_makes(store):
    path, size = a_part(store), RECORD.layers["low"]
    with pq.ParquetFile(path) as file:
        table = file.read()
    num_rows = table.num_rows
    inf = np.float16(np.inf)
    cases = {
        "holds 1 clips twice": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        "has other columns than the encoder's record says": lambda table: table.drop_columns(["std_low"]),
        "column mean_low: holds values that are not finite": lambda table: with_values(table, "mean_low", [[inf] * size] * num_rows),
        "column mean_low: has values where there are no frames": lambda table: with_values(table, "mean_low", [None] * num_rows),
        f"clips do not have their frames of {size} values": lambda table: with_values(table, "seq_low", [[np.float16(1)]] * num_rows),
    }
    original = path.read_bytes()
    for message, change in cases.items():
        path.write_bytes(original)
        rewrite(path, change)
        faults = check_store(store, deep=True).faults
        assert any(message in fault and str(path) in fault for fault in faults), (message, faults)


def test_a_record_that_is_missing_or_wrong(store):
    record = folder_of(store) / "_encoder.json"
    text = record.read_text()
    record.unlink()
    (fault,) = check_store(store).faults
    assert "_encoder.json: is missing beside its parts" in fault
    record.write_text(text.replace('"audio"', '"smell"'))
    (fault,) = check_store(store).faults
    assert "_encoder.json: not a record of an encoder" in fault
