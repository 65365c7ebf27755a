"""The commands of every README below jobs/, typed as a newcomer types them, on a small tree of the corpus as it is released.

Only what costs time is changed: one actor per encoder, trainings of two epochs and one seed, fewer synthetic clips.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from corpus_trees import crema_d, emodb, iemocap, meld, mer, msp_improv, ravdess

from mer_ray.cli import main
from mer_ray.workflow.job import load_job

CHECKOUT = Path(__file__).resolve().parents[2]
JOBS = CHECKOUT / "jobs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\s*(?:\S*/)?mer-ray\s", re.MULTILINE)
# A file or folder that a README says comes out, e.g. `out/meld/runs/{audio,fused}/`.
OUTPUT = re.compile(r"(?<![\w/.])out/[\w./{},-]*[\w}]")
BRACES = re.compile(r"\{([^}]*)\}")
TIMEOUT_S = 900
SHORTER_EXPERIMENT = ("vars.epochs=1", "vars.seeds=[0]", "steps.0.vars={out: out/synthetic, num_clips: 150, num_speakers: 10}")
SHORTER = {"synth": ("num_clips=100", "num_unlabelled=8"), "extract": ("num_actors=1",), "train": ("epochs=2", "seeds=[0]")}


@dataclass(frozen=True)
class Example:
    """How a README names the corpus, and what makes a small one."""

    placeholder: str
    make_tree: Callable[[Path], Path]


# A new folder of jobs gets its line here, None where its commands make their own corpus; a README without one fails.
EXAMPLES: dict[str, Example | None] = {
    "audio_guided": None,
    "crema_d": Example("/data/CREMA-D", crema_d.make_tree),
    "emodb": Example("/data/EmoDB", emodb.make_tree),
    "hierarchical": None,
    "iemocap": Example("/data/IEMOCAP", iemocap.make_tree),
    "meld": Example("/data/MELD", meld.make_tree),
    "mer2023": None,
    "mer2024": Example("/data/MER2024", mer.make_mer2024_tree),
    "mer2025": Example("/data/MER2025", mer.make_mer2025_tree),
    "msp_improv": Example("/data/MSP-IMPROV", msp_improv.make_tree),
    "ravdess": Example("/data/RAVDESS", ravdess.make_tree),
    "vavl": None,
}
# Folders of experiments: one command each is typed, all job files are loaded by the unit tests.
EXPERIMENTS = ("audio_guided", "hierarchical", "vavl")
# Typed in a process of its own, as users do; the others run in this one, where all imports are done.
IN_A_PROCESS = "emodb"


def read_commands(readme: Path) -> list[list[str]]:
    """The words of each line of the ```sh blocks, comments left out, lines that end in a backslash joined."""
    blocks = [block for language, block in FENCE.findall(readme.read_text(encoding="utf-8")) if language == "sh"]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def named_outputs(readme: Path) -> set[str]:
    return {path for name in OUTPUT.findall(readme.read_text(encoding="utf-8")) for path in expand_braces(name)}


def expand_braces(name: str) -> Iterator[str]:
    parts = BRACES.split(name)
    choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
    return ("".join(chosen) for chosen in product(*choices))


def shorten(words: list[str]) -> list[str]:
    """Overrides that save time in a job."""
    if words[0] != "run":
        return []
    if Path(words[1]).parent.name == "synthetic":
        return list(SHORTER_EXPERIMENT)
    steps = load_job(Path(words[1]), words[2:]).steps
    return [f"steps.{number}.{change}" for number, step in enumerate(steps) for change in SHORTER.get(step.verb.name, ())]


def job_outputs(words: list[str]) -> list[str]:
    if words[0] != "run":
        return []
    return [path for step in load_job(Path(words[1]), words[2:]).steps for path in step.verb.writes(step.config)]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder beside the jobs of the checkout."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "jobs").symlink_to(JOBS)
    monkeypatch.chdir(folder)
    return folder


def type_here(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mer-ray", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, f"{shlex.join(words)}\n{capsys.readouterr().err}"


def type_in_a_process(words: list[str]) -> None:
    import ray

    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    command = [str(Path(sys.executable).with_name("mer-ray")), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("names", [*((name,) for name in EXAMPLES if name not in EXPERIMENTS), EXPERIMENTS], ids="+".join)
def test_the_commands_of_a_readme_work_as_printed(
    names: tuple[str, ...],
    desk: Path,
    tmp_path: Path,
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    # Experiments share the synthetic corpus, which the first makes.
    for name in names:
        type_all_commands(name, tmp_path, monkeypatch, capsys)
        readme = JOBS / name / "README.md"
        missing = sorted(path for path in named_outputs(readme) if not (desk / path).exists())
        assert not missing, f"{readme}: no command makes {', '.join(missing)}"


def type_all_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    readme, example = JOBS / name / "README.md", EXAMPLES[name]
    tree = example.make_tree(tmp_path / name) if example is not None else None
    for typed in read_commands(readme):
        words = [word.replace(example.placeholder, str(tree)) if example is not None else word for word in typed[1:]]
        words += shorten(words)
        if name == IN_A_PROCESS:
            type_in_a_process(words)
        else:
            type_here(words, monkeypatch, capsys)
        missing = [path for path in job_outputs(words) if not Path(path).exists()]
        assert not missing, f"{shlex.join(words)} does not make {', '.join(missing)}"


def test_every_readme_below_jobs_is_executed():
    assert {str(readme.parent.relative_to(JOBS)) for readme in JOBS.rglob("README.md")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_readme_prints_a_command_for_each_job_beside_it(name: str):
    folder = JOBS / name
    commands = read_commands(folder / "README.md")
    assert all(words[0] in ("mer-ray", ".venv/bin/mer-ray") for words in commands), "other commands are not tested: no ```sh block"
    typed = {word for words in commands for word in words}
    if name in EXPERIMENTS:
        return
    assert {str(job.relative_to(CHECKOUT)) for job in folder.glob("*.yaml")} <= typed
    example = EXAMPLES[name]
    assert example is None or any(example.placeholder in word for word in typed)


def runs_of(job: Path) -> set[str]:
    return {step.config.out.name for step in load_job(job, []).steps if step.verb.name == "train"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_readme_of_experiments_names_each_and_shows_only_rows_that_a_job_trains(name: str):
    folder = JOBS / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    named = {name.removeprefix("synthetic/") for name in re.findall(r"`([\w/]+\.yaml)`", text)}
    jobs = {str(job.relative_to(folder)) for job in folder.rglob("*.yaml") if job.parent.name != "parts"}
    twins = {job.removeprefix("synthetic/") for job in jobs if job.startswith("synthetic/")}
    assert {job.removeprefix("synthetic/") for job in jobs} <= named
    assert {job for job in jobs if "/" not in job and not job.startswith("prepare")} <= twins, "an experiment lacks its synthetic twin"
    rows = {row.replace("\\", "") for row in re.findall(r"^\| ([\w\\]+) \| \*{0,2}\d", text, re.MULTILINE)}
    assert rows
    assert rows <= set().union(*(runs_of(folder / "synthetic" / twin) for twin in twins))


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_command_stands_where_it_is_not_tested(name: str):
    text = (JOBS / name / "README.md").read_text(encoding="utf-8")
    others = FENCE.sub(lambda match: "" if match[1] == "sh" else match[2], text)
    assert COMMAND.findall(others) == []


def test_words_of_a_readme_are_read_as_a_shell_reads_them(tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "Text\n\n```\nnot a command\n```\n\n```sh\nmer-ray run a.yaml 'vars.x=[1, 2]'   # why\n\nmer-ray predict \\\n  out/b\n```\n"
        "Out come `out/x/runs/{audio,fused}/` and out/x/report.html, not layout/y.\n"
    )
    assert read_commands(readme) == [["mer-ray", "run", "a.yaml", "vars.x=[1, 2]"], ["mer-ray", "predict", "out/b"]]
    assert named_outputs(readme) == {"out/b", "out/x/runs/audio", "out/x/runs/fused", "out/x/report.html"}
