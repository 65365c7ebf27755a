import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mer_ray.submission.slurm_script import SlurmCommand, slurm_script
from mer_ray.submission.slurm_site import SlurmSite


def script_of(overrides: tuple[str, ...] = (), resume: tuple[str, ...] = (), **site: object) -> str:
    values = {"cpus_per_node": 8, "memory_gb_per_node": 10, "hours": 2, "logs": "/proj/logs", **site}
    command = SlurmCommand(Path("/proj/my job.yaml"), overrides, resume, Path("/proj/a folder"))
    return slurm_script(SlurmSite.model_validate(values), command)


def options_of(script: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_slurm_is_asked_for_what_the_site_says():
    options = options_of(script_of(partition="gpu", nodes=2, gpus_per_node=4, gpu_type="a100", sbatch=["--constraint=big"]))
    assert options == {
        **{"job-name": "my_job", "partition": "gpu", "nodes": "2", "ntasks-per-node": "1", "cpus-per-task": "8", "gpus-per-node": "a100:4"},
        **{"mem": "10G", "time": "120", "signal": "B:USR1@120", "output": '"/proj/logs/my_job-%j.log"', "open-mode": "append"},
        **{"requeue": "", "constraint": "big"},
    }


def test_ray_takes_no_more_of_a_machine_than_the_job_has():
    script = script_of(gpus_per_node=1)
    (line,) = [line for line in script.splitlines() if line.startswith("export ray_options=")]
    options = dict(option.partition("=")[::2] for option in shlex.split(line)[1].removeprefix("ray_options=").split())
    assert options["--num-cpus"] == "8"
    assert options["--num-gpus"] == "1"
    assert int(options["--memory"]) + int(options["--object-store-memory"]) == 10 * 2**30


def test_no_word_of_the_command_is_read_by_the_shell():
    wild = "vars.out=it's $HOME; ls"
    script = script_of((wild,), ("steps.1.resume=true",))
    assert f"cd {shlex.quote('/proj/a folder')} || exit 1" in script
    assert f"job=(mer-ray run '/proj/my job.yaml' {shlex.quote(wild)})" in script
    assert "resume=(steps.1.resume=true)" in script


def test_each_task_of_an_array_takes_its_part():
    script = script_of(array=4)
    assert options_of(script)["array"] == "1-4"
    assert options_of(script)["output"] == '"/proj/logs/my_job-%A_%a.log"'
    assert '"steps.0.part=$SLURM_ARRAY_TASK_ID/4")' in script


def test_the_site_prepares_the_shell_before_any_program_runs():
    script = script_of(setup=["module load python", "source venv/bin/activate"])
    assert script.index("module load python\nsource venv/bin/activate\n") < script.index("python -c")


def test_other_rays_on_the_machines_are_left_alone():
    commands = [line for line in script_of().splitlines() if not line.lstrip().startswith("#")]
    assert not any(word in line for line in commands for word in ("ray stop", "symmetric-run", "pkill", "killall"))


@pytest.mark.parametrize("site", [{}, {"array": 3}, {"setup": ["echo 'hello'"]}])
def test_bash_can_read_it(tmp_path: Path, site: dict[str, object]):
    script = tmp_path / "job.sbatch"
    script.write_text(script_of(("vars.a=(b",), **site))
    read = subprocess.run([shutil.which("bash") or "bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
