"""What holds in all files of cluster/, whoever adds one: tokens, no open door, one version of Ray, no secrets."""

import re
import tomllib

import pytest
from cluster_lines import CLUSTER, KUBERAY_FILES, RAY_UP_FILES, load, shell_lines
from snippets import REPOSITORY

SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[0-9a-f]{40,}\b|(?:secret_access_key|auth_token|password)\s*[:=]\s*[\"']?[A-Za-z0-9/+]{16,}",
    re.IGNORECASE,
)
ALL_FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def pinned_version_of_ray() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = next(re.fullmatch(r"ray\[.*\]==(.*)", line) for line in project["dependencies"] if line.startswith("ray["))
    assert named is not None
    assert f"\nray=={named[1]}\n" in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    return named[1]


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_no_file_opens_a_port_to_the_world_or_holds_a_secret(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<!\d)0\.0\.0\.0", text)
    assert "::/0" not in text
    assert not SECRETS.search(text)
    # Programs put the host together; their own tests look at where they listen.
    assert path.suffix == ".py" or not re.search(r"--dashboard-host[= ](?!127\.0\.0\.1)", text)
    assert not re.search(r"RAY_AUTH_MODE[= ]+disabled", text)


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_no_file_starts_ray_without_a_token(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md" and re.search(r"\bray (start|symmetric-run)\b", text):
        assert "RAY_AUTH_MODE=token" in text or 'RAY_AUTH_MODE": "token"' in text


def test_a_key_in_a_file_would_be_found():
    assert SECRETS.search("AWS_SECRET_ACCESS_KEY: " + "a1B2" * 10)
    assert SECRETS.search("auth_token=" + "0f" * 32)


@pytest.mark.parametrize("name", RAY_UP_FILES)
def test_machines_of_ray_up_start_ray_with_a_token_and_the_dashboard_on_loopback(name: str):
    config = load(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in line and "> ~/.mer_ray_env" in line for line in config["setup_commands"])
    starts = [line for key in ("head_start_ray_commands", "worker_start_ray_commands") for line in config[key] if "ray start" in line]
    assert len(starts) == 2
    assert all(line.startswith(". ~/.mer_ray_env || exit 1; ") for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


@pytest.mark.parametrize("name", KUBERAY_FILES)
def test_clusters_of_kuberay_have_a_token(name: str):
    resource = load(f"kuberay/{name}")
    cluster = resource["spec"].get("rayClusterSpec", resource["spec"])
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == pinned_version_of_ray()


def test_everything_is_installed_in_the_versions_that_were_tested():
    pinned_version_of_ray()
    installs = [line.text for line in shell_lines() if "pip install" in line.text]
    assert installs
    for line in installs:
        assert "constraints.txt" in line
        for word in line.rpartition("constraints.txt")[2].split():
            package = word.strip("'")
            constrained = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
            assert package == ".[postgres]" or "==" in package or f"\n{package}==" in constrained, line


def test_images_are_named_with_a_version():
    images = re.findall(
        r"image: (?:&\w+ )?([^*\s]+)", "\n".join(path.read_text(encoding="utf-8") for path in ALL_FILES if path.suffix == ".yaml")
    )
    base = re.search(r"^ARG BASE=(\S+)$", (CLUSTER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert base is not None
    assert images
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in [*images, base[1]])


def test_the_image_runs_as_a_numbered_user():
    users = re.findall(r"^USER (.*)$", (CLUSTER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["1000"]


def test_prometheus_reads_the_file_that_ray_writes_and_holds_no_credentials():
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    (job,) = load("prometheus.yaml")["scrape_configs"]
    assert [place for sources in job["file_sd_configs"] for place in sources["files"]] == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    assert not {"authorization", "basic_auth", "bearer_token"} & set(job)
