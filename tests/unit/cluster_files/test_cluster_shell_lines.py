"""Every shell line of cluster/ is run by a test, or listed as untested in its README: a new line cannot go unnoticed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from cluster_lines import (
    CLUSTER,
    KUBERAY_FILES,
    RAY_JOB_FILES,
    RAY_UP_FILES,
    ShellLine,
    is_listed,
    load,
    run_lines,
    shell_lines,
    untested_prefixes,
)
from snippets import REPOSITORY

from mer_ray.cli import main
from mer_ray.core.errors import ConfigError
from mer_ray.submission.places import refuse_unseen
from mer_ray.workflow.job import load_job

# Which test runs which lines, by how they begin.
RUN_BY = {
    "test_the_token_file_is_made_once_and_for_its_owner_alone": ("test -s ~/.ray/auth_token",),
    "test_job_files_load_as_the_entrypoints_name_them": ("mer-ray run",),
    "test_set_up_lines_make_an_environment_in_a_fresh_home": (
        "chmod 600 ~/.ray/auth_token",
        "test -x ~/venv/bin/python",
        "cd ~/mer_ray && ~/venv/bin/python -m pip install",
        "printf '%s\\n' 'export PATH=",
        "echo 'export AWS_DEFAULT_REGION=",
        'echo "export MER_RAY_AUTOSCALES_TO=',
        "grep -q mer_ray_env ~/.bashrc",
    ),
    "test_the_image_lines_install_from_what_is_copied": ("python3.11 -m venv /opt/venv", "python -m pip install --no-cache-dir"),
    # test_ray_start_lines.py
    "test_start_lines_make_a_cluster_that_asks_for_the_token": (". ~/.mer_ray_env || exit 1; unset OMP_NUM_THREADS",),
}


def runner_of(line: ShellLine) -> str | None:
    return next((test for test, starts in RUN_BY.items() if line.text.startswith(starts)), None)


def lines_run_by(test: str, name: str | None = None) -> list[str]:
    """The lines that a test must run, each once, in their order; of one file where a name is given."""
    lines = [line.text for line in shell_lines() if runner_of(line) == test and (name is None or line.where.startswith(name))]
    return list(dict.fromkeys(lines))


def in_a_shell(line: str, home: Path, folder: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line as `ray up` does, by bash, but in a home of its own and without this process's Python environment."""
    own = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}
    done = subprocess.run(["bash", "-c", line], cwd=folder or home, env=own, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done


def test_every_line_is_run_by_a_test_or_listed_as_untested():
    lines = shell_lines()
    assert {line.where.partition(",")[0] for line in lines} >= {*RAY_UP_FILES, "README.md", "Dockerfile", "kuberay/rayjob_extract.yaml"}
    for line in lines:
        runner, listed = runner_of(line), is_listed(line.text)
        assert runner or listed, f"{line.where}: no test runs this line, and cluster/README.md does not list it as untested: {line.text}"
        assert not (runner and listed), f"{line.where}: {runner} runs what cluster/README.md lists as untested: {line.text}"


def test_nothing_is_listed_as_untested_that_is_not_there():
    texts = [line.text for line in shell_lines()]
    unused = [prefix for prefix in untested_prefixes() if not any(is_listed(text) == prefix for text in texts)]
    assert not unused


def test_the_tests_that_run_lines_are_there():
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for test in RUN_BY:
        assert f"def {test}(" in sources
        assert lines_run_by(test)


def test_every_line_is_one_that_a_shell_can_read():
    script = "\n".join(line.text for line in shell_lines())
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_of_ray_exist_with_their_options():
    from ray.scripts.scripts import cli

    commands = [line.text for line in shell_lines() if re.match(r"(~/venv/bin/)?ray (?!start)", line.text)]
    assert commands
    for text in commands:
        _, name, *words = shlex.split(text)
        cli.commands[name].make_context(name, words)


def test_job_files_load_as_the_entrypoints_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    image = tmp_path / "opt" / "mer_ray"
    image.mkdir(parents=True)
    (image / "cluster").symlink_to(CLUSTER)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster").symlink_to(CLUSTER)
    for line in lines_run_by("test_job_files_load_as_the_entrypoints_name_them"):
        words = shlex.split(line.replace("/opt/mer_ray", str(image)))[1:]
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words, f"vars.work={tmp_path}/common", "--dry-run"])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, f"{line}\n{printed.err}"
        assert "step 1: " in printed.out


def test_submitted_jobs_name_no_place_that_the_cluster_does_not_see(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(REPOSITORY)
    submitted = [shlex.split(line.text) for line in shell_lines() if " submit " in line.text]
    assert submitted
    for _, _, _, job, *words in submitted:
        options = words.index("--address")
        assert words[options:] == ["--address", "http://127.0.0.1:8265", "--shared", "/common"]
        refuse_unseen(load_job(Path(job), words[:options]), [Path("/common")])


@pytest.mark.parametrize("name", RAY_JOB_FILES)
def test_jobs_of_kubernetes_write_where_all_pods_see_it(name: str):
    _, _, job, *overrides = shlex.split(load(f"kuberay/{name}")["spec"]["entrypoint"])
    loaded = load_job(REPOSITORY / job.removeprefix("/opt/mer_ray/"), overrides)
    refuse_unseen(loaded, [Path("/common")])
    with pytest.raises(ConfigError, match="/common"):
        refuse_unseen(loaded, [])


def test_the_token_file_is_made_once_and_for_its_owner_alone(tmp_path: Path):
    (line,) = lines_run_by("test_the_token_file_is_made_once_and_for_its_owner_alone")
    in_a_shell(line, tmp_path)
    token = tmp_path / ".ray" / "auth_token"
    written = token.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", written)
    assert token.stat().st_mode & 0o777 == 0o600
    in_a_shell(line, tmp_path)
    assert token.read_text() == written


def test_all_files_that_machines_get_exist():
    for name in RAY_UP_FILES:
        for local in load(name)["file_mounts"].values():
            assert local.startswith("~/") or (REPOSITORY / local).exists(), local


def copied_sources() -> list[tuple[str, str]]:
    """What the Dockerfile copies, and where to below /opt/mer_ray."""
    lines = re.findall(r"^COPY (.*)$", (CLUSTER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    pairs = []
    for line in lines:
        *sources, target = line.split()
        pairs += [(source, f"{target}{source}" if target.endswith("/") else target) for source in sources]
    return pairs


def test_the_image_gets_what_its_ignore_file_lets_through():
    rules = [
        line for line in (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    assert {source for source, _ in copied_sources()} == allowed
    assert all((REPOSITORY / source).exists() for source in allowed)
    assert any(fnmatch("mer_ray/core/__pycache__", rule) for rule in rules if not rule.startswith("!") and rule != "*")


def test_entrypoints_name_job_files_of_the_image():
    targets = {target for _, target in copied_sources()}
    assert "cluster/jobs" in targets
    assert re.search(r"^WORKDIR /opt/mer_ray$", (CLUSTER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in KUBERAY_FILES:
        entrypoint = load(f"kuberay/{name}")["spec"].get("entrypoint")
        if entrypoint is not None:
            job = entrypoint.split()[2]
            assert (REPOSITORY / job.removeprefix("/opt/mer_ray/")).is_file()


# Dependencies are a matter of `make setup`, which takes minutes; the build tools are those of this environment, so no index is asked.
WITHOUT_INDEX = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}


def lend_our_packages(environment: Path) -> None:
    """Let a fresh environment build with the tools of this one, before its own older ones."""
    site = next((environment / "lib").glob("python3*")) / "site-packages"
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "lent.pth").write_text(f"import sys; sys.path.insert(0, {ours!r})\n")


def check_installed(environment: Path) -> None:
    done = subprocess.run([environment / "bin" / "mer-ray", "--help"], capture_output=True, text=True, check=False, cwd=environment)
    assert done.returncode == 0, done.stderr
    site = next((environment / "lib").glob("python3*")) / "site-packages"
    assert (site / "mer_ray" / "py.typed").is_file()
    assert list((site / "mer_ray" / "reporting").glob("*.jinja"))


@pytest.mark.slow
def test_set_up_lines_make_an_environment_in_a_fresh_home(tmp_path: Path):
    """Those of the first cloud, then those that the second one has of its own."""
    checkout = tmp_path / "mer_ray"
    for name in RAY_UP_FILES:
        for remote, local in load(name)["file_mounts"].items():
            target = tmp_path / remote.removeprefix("~/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if local.startswith("~/"):
                target.write_text("of the user's machine")
            elif (REPOSITORY / local).is_dir():
                shutil.copytree(REPOSITORY / local, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy(REPOSITORY / local, target)
    (tmp_path / ".bashrc").write_text("# of the machine\n")
    lines = lines_run_by("test_set_up_lines_make_an_environment_in_a_fresh_home")
    assert len(lines) == 9
    for line in lines:
        in_a_shell(line, tmp_path, **WITHOUT_INDEX)
        if line.startswith("test -x"):
            lend_our_packages(tmp_path / "venv")
    # `ray up` runs them again on machines that it finds.
    for line in lines:
        if "pip install" not in line:
            in_a_shell(line, tmp_path)
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".aws" / "credentials").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".bashrc").read_text().count("mer_ray_env") == 1
    shown = in_a_shell(
        '. ~/.bashrc; echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN_PATH $AWS_DEFAULT_REGION"; command -v mer-ray; echo "$MER_RAY_AUTOSCALES_TO"',
        tmp_path,
    ).stdout.split()
    assert shown[:2] == ["token", str(tmp_path / ".ray" / "auth_token")]
    assert shown[2]
    assert shown[3] == str(tmp_path / "venv" / "bin" / "mer-ray")
    assert json.loads(" ".join(shown[4:]))["CPU"] > 0
    shutil.rmtree(checkout)
    check_installed(tmp_path / "venv")


@pytest.mark.slow
def test_the_image_lines_install_from_what_is_copied(tmp_path: Path):
    """In the order of the Dockerfile, with its folders below an empty one."""
    image = tmp_path / "opt"
    for source, target in copied_sources():
        place = image / "mer_ray" / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / source, place)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").symlink_to(Path(sys.executable).resolve())
    lines = [line for line in run_lines() if line in lines_run_by("test_the_image_lines_install_from_what_is_copied")]
    assert len(lines) == 2
    path = f"{image}/venv/bin:{tmp_path}/bin:{os.environ['PATH']}"
    for line in lines:
        in_a_shell(line.replace("/opt/", f"{image}/"), tmp_path, image / "mer_ray", **{**WITHOUT_INDEX, "PATH": path})
        if "-m venv" in line:
            lend_our_packages(image / "venv")
    check_installed(image / "venv")
    assert yaml.safe_load((image / "mer_ray" / "cluster" / "jobs" / "train.yaml").read_text(encoding="utf-8"))["steps"]
