from pathlib import Path

import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.submission.places import refuse_unseen, shipped_files
from mer_ray.workflow.job import load_job


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_job(folder: Path, *steps: str) -> Path:
    path = folder / "job.yaml"
    path.write_text("steps:\n" + "".join(f"  - {step}\n" for step in steps))
    return path


def test_each_place_of_this_machine_is_named_once_with_its_step_and_key(here):
    job = load_job(
        write_job(
            here,
            "{verb: manifest, corpus: {name: files, path: clips}, out: m.parquet}",
            "{verb: extract, manifest: m.parquet, store: out/store, encoders: [{name: spectral}]}",
        ),
        [],
    )

    with pytest.raises(ConfigError) as refused:
        refuse_unseen(job, [])

    lines = str(refused.value).splitlines()
    assert [line.partition(": a place of this machine")[0] for line in lines] == [
        "step 1 (manifest): corpus.path: clips",
        "step 1 (manifest): out: m.parquet",
        "step 2 (extract): store: out/store",
    ]
    # What to do is the same for all of them, and said once.
    assert ["--shared FOLDER" in line and "s3://" in line for line in lines] == [False, False, True]


def test_urls_shared_folders_and_names_on_a_hub_are_seen(here):
    job = load_job(
        write_job(
            here,
            f"{{verb: manifest, corpus: {{name: files, path: 's3://bucket/clips'}}, out: {here}/mnt/m.parquet}}",
            "{verb: extract, manifest: mnt/m.parquet, store: 's3://bucket/store', encoders: [{name: hubert, weights: facebook/hubert}]}",
        ),
        [],
    )

    refuse_unseen(job, [here / "mnt"])
    with pytest.raises(ConfigError, match=r"step 1 \(manifest\): out"):
        refuse_unseen(job, [here / "mn"])


def test_a_folder_of_weights_is_a_place_and_not_a_name(here):
    (here / "weights").mkdir()
    job = load_job(
        write_job(here, "{verb: extract, manifest: /mnt/m.parquet, store: 's3://b/s', encoders: [{name: hubert, weights: weights}]}"), []
    )

    with pytest.raises(ConfigError, match=r"step 1 \(extract\): encoders\.0\.weights: .*weights: a place of this machine"):
        refuse_unseen(job, [Path("/mnt")])


SEARCH = """{verb: tune, out: /mnt/search, storage: '%s', train: {manifest: /mnt/m.parquet, store: %s, epochs: 1,
    protocol: {name: folds, test_folds: [0]}, learning_rate: {search: float, low: 0.001, high: 0.01},
    inputs: [{encoder: x}]}, starts: [%s]}"""


def test_the_data_and_the_storage_of_a_search_are_places_too(here):
    job = load_job(write_job(here, SEARCH.replace("\n", " ") % ("journal:/home/me/journal", "features", "{learning_rate: 0.002}")), [])

    with pytest.raises(ConfigError) as refused:
        refuse_unseen(job, [Path("/mnt")])

    assert [line.split(": a place")[0] for line in str(refused.value).splitlines()] == [
        "step 1 (tune): storage: /home/me/journal",
        "step 1 (tune): train.store: features",
    ]


def test_what_a_job_is_written_in_travels_with_it(here):
    (here / "parts").mkdir()
    (here / "parts" / "more.yaml").write_text("vars: {a: 1}\nsteps: [{verb: synth, out: x}]\n")
    (here / "vars.yaml").write_text("a: 2\n")
    (here / "start.yaml").write_text("learning_rate: 0.002\n")
    path = here / "job.yaml"
    step = SEARCH.replace("\n", " ") % ("postgresql://me@host/db", "/mnt/s", "{config: start.yaml}")
    step = step.replace("verb: tune,", "verb: tune, study: one,")
    path.write_text(f"vars_from: [vars.yaml]\nsteps:\n  - {{verb: run, job: parts/more.yaml}}\n  - {step}\n")

    found = shipped_files(load_job(Path("job.yaml"), []))

    assert found == [Path("job.yaml"), Path("vars.yaml"), Path("parts/more.yaml"), Path("start.yaml")]


def test_a_plug_in_travels_with_its_job(here):
    (here / "plugins").mkdir()
    (here / "plugins" / "mine.py").write_text((Path(__file__).resolve().parents[2] / "plugins" / "mean_model.py").read_text())
    model = "{name: plugin, file: plugins/mine.py, class: MeanConfig}"
    data = "manifest: /mnt/m.parquet, store: /mnt/s, out: /mnt/run, inputs: [{encoder: x}]"
    step = f"{{verb: train, {data}, allow_plugins: true, model: {model}}}"
    job = load_job(write_job(here, step), [])

    assert Path("plugins/mine.py") in shipped_files(job)
    refuse_unseen(job, [Path("/mnt")])


def test_a_plug_in_of_a_candidate_or_of_a_later_choice_travels_too(here):
    (here / "mine.py").write_text((Path(__file__).resolve().parents[2] / "plugins" / "mean_model.py").read_text())
    data = "manifest: /mnt/m.parquet, store: /mnt/s, allow_plugins: true"
    model = "{name: plugin, file: mine.py, class: MeanConfig}"
    with_candidates = (
        f"{{verb: train, {data}, out: /mnt/run, inputs: [{{encoder: x}}], protocol: {{name: folds}}, candidates: [{{model: {model}}}]}}"
    )
    search = f"{{search: choice, of: [{{name: attention}}, {model}]}}"
    protocol = "protocol: {name: folds, test_folds: [0]}"
    train = f"{{{data}, {protocol}, inputs: [{{encoder: x}}], model: {search}}}"
    of_a_choice = f"{{verb: tune, out: /mnt/s, train: {train}}}"

    for step in (with_candidates, of_a_choice):
        assert Path("mine.py") in shipped_files(load_job(write_job(here, step), []))


def test_a_plug_in_named_by_an_absolute_path_is_not_there_on_the_cluster(here):
    (here / "mine.py").write_text((Path(__file__).resolve().parents[2] / "plugins" / "mean_model.py").read_text())
    model = f"{{name: plugin, file: {here}/mine.py, class: MeanConfig}}"
    data = "manifest: /mnt/m.parquet, store: /mnt/s, out: /mnt/run, inputs: [{encoder: x}]"
    job = load_job(write_job(here, f"{{verb: train, {data}, allow_plugins: true, model: {model}}}"), [])

    with pytest.raises(ConfigError, match=r"step 1 \(train\): model\.file: .*mine\.py: a place of this machine"):
        refuse_unseen(job, [Path("/mnt")])


def test_a_shared_folder_may_be_a_symbolic_link(here):
    (here / "disk").mkdir()
    (here / "mnt").symlink_to(here / "disk")
    job = load_job(write_job(here, "{verb: synth, out: disk/corpus}", f"{{verb: synth, out: {here}/mnt/other}}"), [])

    refuse_unseen(job, [here / "mnt"])
    with pytest.raises(ConfigError) as refused:
        refuse_unseen(job, [])
    assert len(str(refused.value).splitlines()) == 2


def test_a_sqlite_url_of_three_slashes_is_a_relative_path(here):
    job = load_job(write_job(here, SEARCH.replace("\n", " ") % ("sqlite:///mnt/study.db", "/mnt/s", "{learning_rate: 0.002}")), [])

    with pytest.raises(ConfigError, match=r"storage: mnt/study\.db: a place of this machine"):
        refuse_unseen(job, [Path("/mnt")])
