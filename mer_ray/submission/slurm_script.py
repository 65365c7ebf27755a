"""The batch script of a job: one Ray cluster in what Slurm allots, the job as its driver, and the way back into the queue.

`ray symmetric-run` is not used: it ends with `ray stop`, which kills every Ray of the user on a machine, refuses to start beside another
one, and leaves its command alone when a signal ends it. Here each machine's Ray is a task of one job step, and ends with that step.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mer_ray.submission.slurm_site import SlurmSite

GIB = 2**30
# Ray's own default.
OBJECT_STORE_SHARE = 0.3
# Of `stop_s`: the step that holds Ray must end, too.
RESERVE_S = 30


@dataclass(frozen=True)
class SlurmCommand:
    """What runs on the cluster: `mer-ray run` with a job file and overrides, in a folder; `resume_overrides` from the second start on."""

    job: Path
    overrides: Sequence[str]
    resume_overrides: Sequence[str]
    folder: Path


def slurm_script(site: SlurmSite, command: SlurmCommand) -> str:
    """The script for sbatch, complete: it can also be sent by hand."""
    parts = ["#!/bin/bash", *_options(site, command.job.stem), *_settings(site, command), "", *site.setup, BODY]
    return "\n".join(parts)


def log_pattern(site: SlurmSite, job_name: str) -> str:
    """The path of the job's log in sbatch's signs: %j, or %A and %a, stand for numbers."""
    number = "%j" if site.array is None else "%A_%a"
    return str(site.logs.absolute() / f"{_plain(job_name)}-{number}.log")


def _options(site: SlurmSite, job_name: str) -> list[str]:
    gpus = f"{site.gpu_type}:{site.gpus_per_node}" if site.gpu_type else str(site.gpus_per_node)
    options = {
        "job-name": _plain(job_name),
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "nodes": site.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": site.cpus_per_node,
        "gpus-per-node": gpus if site.gpus_per_node else None,
        "mem": f"{site.memory_gb_per_node}G",
        "time": site.time_limit_min,
        "signal": f"B:USR1@{site.stop_s}",
        "array": None if site.array is None else f"1-{site.array}",
        "output": f'"{log_pattern(site, job_name)}"',
        "open-mode": "append",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
    return [*lines, "#SBATCH --requeue", *[f"#SBATCH {option}" for option in site.sbatch]]


def _settings(site: SlurmSite, command: SlurmCommand) -> list[str]:
    part = [] if site.array is None else [f'"steps.0.part=$SLURM_ARRAY_TASK_ID/{site.array}"']
    job = ["mer-ray", "run", str(command.job), *command.overrides]
    return [
        "",
        f"cd {shlex.quote(str(command.folder))} || exit 1",
        f"nodes={site.nodes} max_requeues={site.max_requeues} kill_after_s={site.stop_s - RESERVE_S}",
        f"logs={shlex.quote(str(site.logs.absolute()))}",
        f"export scratch={shlex.quote(str(site.scratch))}",
        f"export ray_options={shlex.quote(' '.join(_ray_options(site)))}",
        f"job=({' '.join([*map(shlex.quote, job), *part])})",
        f"resume=({shlex.join(command.resume_overrides)})",
    ]


def _ray_options(site: SlurmSite) -> list[str]:
    """What each machine's Ray may use: it sees the whole machine, of which the job has a part; free ports where nothing else is said."""
    memory = site.memory_gb_per_node * GIB
    object_store = int(memory * OBJECT_STORE_SHARE)
    return [
        f"--num-cpus={site.cpus_per_node}",
        f"--num-gpus={site.gpus_per_node}",
        f"--memory={memory - object_store}",
        f"--object-store-memory={object_store}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        "--disable-usage-stats",
        "--block",
    ]


def _plain(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name)


BODY = r"""
fail() {
  echo "mer-ray: error: $1" >&2
  exit 1
}

# One machine's part of the cluster. Its shell outlives the signal that ends Ray, to clean up.
start_ray() {
  trap : TERM
  local folder role
  folder=$(mktemp -d "$scratch/ray-$SLURM_JOB_ID-XXXX") || exit 1
  if [ "$SLURM_PROCID" = 0 ]; then
    # The dashboard is there for its State API, which frees what ended trials held.
    role="--head --node-ip-address=$head --port=$port --dashboard-host=127.0.0.1"
    role="$role --dashboard-port=$((port + 1)) --ray-client-server-port=$((port + 2))"
  else
    until (: <"/dev/tcp/$head/$port") 2>/dev/null; do sleep 1; done
    role="--address=$head:$port"
  fi
  # No draining: the job is over. Role and options are words without blanks.
  RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 ray start $role --temp-dir="$folder" $ray_options
  rm -rf "$folder"
}
export -f start_ray

# Of an array, the number of its first task stands for the whole array.
this_job=$SLURM_JOB_ID
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || this_job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

# The address by which other machines of the job reach this one, the first: the one from which it reaches the last.
last=$(scontrol show node "$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n 1)" --oneliner | grep -o 'NodeAddr=[^ ]*')
head=$(python -c 'import socket, sys
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect((sys.argv[1], 9))
print(probe.getsockname()[0])' "${last#NodeAddr=}") || fail "no address of this machine found; is python on the PATH?"
export head
# Jobs that share a machine get ports of their own; Ray gives its workers others.
export port=$((20000 + SLURM_JOB_ID % 2500 * 4))

# Who reaches the ports needs the token, which only this user can read.
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$logs/token-$SLURM_JOB_ID"
rm -f "$RAY_AUTH_TOKEN_PATH"
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH") || fail "no token written to $logs"

# --cpus-per-task: srun does not take it over from sbatch.
srun --export=ALL --ntasks="$nodes" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 --mpi=none \
  --open-mode=append --output="$logs/ray-$SLURM_JOB_ID-%t.log" bash -c start_ray &
cluster=$!

stop_ray() {
  trap - EXIT
  scancel --signal=TERM "$this_job" 2>/dev/null
  for _ in {1..20}; do
    kill -0 "$cluster" 2>/dev/null || break
    sleep 1
  done
  # What is left ends with the batch job.
  rm -f "$RAY_AUTH_TOKEN_PATH"
}
trap stop_ray EXIT

until (: <"/dev/tcp/$head/$port") 2>/dev/null; do
  kill -0 "$cluster" 2>/dev/null || fail "Ray did not start; see $logs/ray-$SLURM_JOB_ID-0.log"
  sleep 1
done
export RAY_ADDRESS=$head:$port
python -P -m mer_ray.submission.ray_nodes "$nodes" || exit 1

# USR1 comes before the time limit, TERM from scancel.
at_limit=
trap 'at_limit=yes; kill -TERM "$driver"' USR1
trap 'kill -TERM "$driver"' TERM
restarts=${SLURM_RESTART_COUNT:-0}
[ "$restarts" = 0 ] && resume=()
"${job[@]}" "${resume[@]}" &
driver=$!
wait "$driver"
status=$?
if [ "$status" -gt 128 ]; then
  # A signal ended the waiting, and the job will end soon.
  for ((left_s = kill_after_s; left_s > 0; left_s--)); do
    kill -0 "$driver" 2>/dev/null || break
    sleep 1
  done
  kill -KILL "$driver" 2>/dev/null
  wait "$driver"
  status=$?
fi
trap '' USR1 TERM
stop_ray

if [ -n "$at_limit" ] && [ "$status" != 0 ]; then
  if [ "$restarts" -lt "$max_requeues" ]; then
    echo "mer-ray: the time limit is near: queued again, start $((restarts + 2)) goes on from here"
    # Slurm then ends this script.
    scontrol requeue "$this_job" && trap - TERM && sleep 60
  fi
  echo "mer-ray: the time limit is near, and the job is not queued again (max_requeues: $max_requeues); submit it again to go on" >&2
fi
exit "$status"
"""
