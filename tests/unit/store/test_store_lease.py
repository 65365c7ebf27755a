import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from store_samples import make_record, make_rows

from mer_ray.core.errors import StoreError
from mer_ray.store import lease as lease_module
from mer_ray.store.catalog import list_encoders
from mer_ray.store.compaction import compact
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_compaction, hold_leases, hold_removal, list_leases
from mer_ray.store.writer import write_features

KEY, OTHER = "spectral@12345678", "hubert@12345678"
HOLD = """
import sys, time
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_leases
with hold_leases(open_store(sys.argv[1]), "emodb", [sys.argv[2]]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def lease_files(store, key=KEY):
    return sorted(path.name for path in Path(store.part_folder("emodb", key, "features")).glob("*lease*"))


def enter(hold):
    with hold:
        pass


def folder_of(store, key=KEY):
    return store.part_folder("emodb", key, "features")


def test_a_lease_lies_beside_the_parts_as_long_as_the_work_goes_on(store):
    with hold_leases(store, "emodb", [KEY, OTHER], part=(2, 3)) as leases:
        leases.check()
        for key in (KEY, OTHER):
            assert lease_files(store, key) == ["_lease-2-of-3.json"]
        facts = json.loads(Path(folder_of(store), "_lease-2-of-3.json").read_text())
        assert facts["pid"] == os.getpid()
        ((_, text, is_alive),) = list_leases(store, folder_of(store))
        assert is_alive
        assert text.startswith(f"the extraction of part 2/3 by process {os.getpid()} on ")
        assert list_encoders(store, "emodb") == []
    assert lease_files(store) == lease_files(store, OTHER) == []


def test_an_error_inside_releases(store):
    with pytest.raises(ZeroDivisionError), hold_leases(store, "emodb", [KEY]):
        raise ZeroDivisionError
    with hold_leases(store, "emodb", [KEY]):
        pass


@pytest.mark.parametrize("part", [(1, 1), (1, 2), (2, 4)])
def test_the_same_part_and_other_cuts_refuse_each_other(store, part):
    with hold_leases(store, "emodb", [KEY, OTHER], part=(2, 4) if part == (2, 4) else (1, 1)):
        message = (
            rf"_lease-\d-of-\d.json: the extraction of part {part[0]}/{part[1]} cannot start beside the extraction of part .* by process "
        )
        with pytest.raises(
            StoreError, match=message + r"\d+ on .* since 20.*, last sign of life \d+ s ago.*wait until it ends, or stop it"
        ):
            enter(hold_leases(store, "emodb", [KEY], part=part))
        with pytest.raises(StoreError, match="cannot start beside"), hold_leases(store, "emodb", ["a@12345678", OTHER], part=part):
            pass
        assert lease_files(store, "a@12345678") == []
    with hold_leases(store, "emodb", [KEY], part=part):
        pass


def test_parts_of_one_cut_other_encoders_and_compactions_go_together(store):
    with ExitStack() as held:
        for hold in (
            *(hold_leases(store, "emodb", [KEY], part=(part, 2)) for part in (1, 2)),
            *(hold_compaction(store, "emodb", KEY) for _ in range(2)),
            hold_leases(store, "emodb", [OTHER]),
        ):
            held.enter_context(hold)
        assert len(lease_files(store)) == 4
    assert lease_files(store) == []


def test_a_removal_stands_alone(store):
    with hold_removal(store, [folder_of(store)]):
        with pytest.raises(StoreError, match="part 1/1 cannot start beside a removal of clips"), hold_leases(store, "emodb", [KEY]):
            pass
        with pytest.raises(StoreError, match="a compaction cannot start beside a removal"), hold_compaction(store, "emodb", KEY):
            pass
    for hold in (hold_leases(store, "emodb", [KEY], (1, 2)), hold_compaction(store, "emodb", KEY)):
        with hold, pytest.raises(StoreError, match="a removal of clips cannot start beside"), hold_removal(store, [folder_of(store)]):
            pass
    assert lease_files(store) == []


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_at_once(store):
    with subprocess.Popen([sys.executable, "-c", HOLD, store.root, KEY], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"by process {child.pid} on"), hold_leases(store, "emodb", [KEY]):
            pass
        child.kill()
        # Not waited for: a process that nobody has buried is dead all the same.
        while hold_is_refused(store):
            time.sleep(0.01)
        with hold_leases(store, "emodb", [KEY]) as leases:
            leases.check()
    assert lease_files(store) == []


def hold_is_refused(store):
    return any(is_alive for _, _, is_alive in list_leases(store, folder_of(store)))


def of_another_machine(store, age_s):
    path = Path(folder_of(store), "_lease-1-of-1.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "token": "t",
        "host": "far",
        "work": "w",
        "pid": os.getpid(),
        "started": "2026-01-01T00:00:00+00:00",
        "machine": "other",
        "process_start": "1",
    }
    path.write_text(json.dumps(facts))
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def test_a_lease_of_another_machine_is_void_after_a_while_without_a_sign_of_life(store):
    of_another_machine(store, 60)
    with pytest.raises(StoreError, match=r"process \d+ on far since 2026-01-01.*6\d s ago.*start again in (2\d|30) s"):
        enter(hold_leases(store, "emodb", [KEY]))
    of_another_machine(store, 91)
    with hold_leases(store, "emodb", [KEY]):
        assert len(list_leases(store, folder_of(store))) == 1
    # A dead lease of another cut stands in nobody's way either.
    of_another_machine(store, 91)
    with hold_leases(store, "emodb", [KEY], part=(1, 2)):
        pass


def test_one_that_is_just_being_written_is_alive(store):
    path = of_another_machine(store, 0)
    for text in ("", "{", "[]", '{"a": 1}'):
        path.write_text(text)
        with pytest.raises(StoreError, match="by a process that has not said who it is"), hold_leases(store, "emodb", [KEY]):
            pass


def test_of_many_that_take_over_a_dead_lease_one_wins(store):
    for _ in range(10):
        of_another_machine(store, 1000)
        start, held, refused, release = threading.Barrier(6), [], [], threading.Event()

        def run(start=start, held=held, refused=refused, release=release):
            start.wait()
            try:
                with hold_leases(store, "emodb", [KEY]):
                    held.append(1)
                    release.wait()
            except StoreError:
                refused.append(1)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(held) + len(refused) < 6:
            time.sleep(0.001)
        release.set()
        for thread in threads:
            thread.join()
        assert (len(held), len(refused)) == (1, 5)
        assert lease_files(store) == []


def test_a_claim_of_a_killed_taker_does_not_last(store):
    path = of_another_machine(store, 1000)
    claim = path.with_name(f".{path.name}.claim.tmp")
    claim.touch()
    with pytest.raises(StoreError, match="at the same moment"), hold_leases(store, "emodb", [KEY]):
        pass
    os.utime(claim, (0, 0))
    with hold_leases(store, "emodb", [KEY]):
        pass


def test_who_slept_while_another_took_over_is_told(store, monkeypatch):
    monkeypatch.setattr(lease_module, "BEAT_S", 0.01)
    with hold_leases(store, "emodb", [KEY]) as sleeper:
        path = of_another_machine(store, 0)
        path.rename(path.with_suffix(".old"))
        of_another_machine(store, 0)
        with pytest.raises(StoreError, match=r"_lease-1-of-1.json: this run no longer holds its lease: another run has taken it over"):
            while True:
                sleeper.check()
                time.sleep(0.005)
    # What is not its own it leaves alone.
    assert "_lease-1-of-1.json" in lease_files(store)


def test_beats_keep_a_lease_fresh(store, monkeypatch):
    monkeypatch.setattr(lease_module, "BEAT_S", 0.01)
    with hold_leases(store, "emodb", [KEY]) as leases:
        path = Path(folder_of(store), "_lease-1-of-1.json")
        os.utime(path, (1000, 1000))
        deadline_s = time.monotonic() + 30
        while path.stat().st_mtime == 1000 and time.monotonic() < deadline_s:
            time.sleep(0.005)
        assert time.time() - path.stat().st_mtime < 60
        leases.check()
        with pytest.raises(StoreError, match="_lease-1-of-1"), hold_leases(store, "emodb", [KEY]):
            pass


def test_storage_that_no_longer_answers_ends_the_lease(store, monkeypatch):
    with hold_leases(store, "emodb", [KEY]) as leases:
        monkeypatch.setattr(lease_module, "DEAD_AFTER_S", -1.0)
        with pytest.raises(StoreError, match="could not be kept fresh"):
            leases.check()


def test_a_compaction_publishes_nothing_once_it_may_not(store, monkeypatch):
    record = make_record()
    for clip in ("c1", "c2"):
        write_features(store, "emodb", record, make_rows(record, [clip]))
    parts = sorted(Path(folder_of(store, record.key)).glob("*"))
    with monkeypatch.context() as patched, pytest.raises(StoreError, match="no longer holds its lease: it could not be kept fresh"):
        patched.setattr(lease_module, "DEAD_AFTER_S", -1.0)
        compact(store, "emodb", record.key)
    assert sorted(Path(folder_of(store, record.key)).glob("*")) == parts
    with hold_removal(store, [folder_of(store, record.key)]), pytest.raises(StoreError, match="a compaction cannot start beside a removal"):
        compact(store, "emodb", record.key)
    assert compact(store, "emodb", record.key).num_parts_after == 1
