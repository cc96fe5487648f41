"""What travels to a cluster: the rooms, whatever else lies in the checkout."""

import shutil
from pathlib import Path

import pytest

from search.tune.code_for_nodes import project_root, runtime_env
from tests.house.tree import ROOMS

MIB = 2**20
TOLD = {
    "RAY_ADDRESS": "10.0.0.1:6379",
    "OMP_PROC_BIND": "false",
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "",
    "RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the checkout with what users keep in theirs: data, secrets, environments, links."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    copy = tmp_path / "checkout"
    for room in ROOMS:
        shutil.copytree(project_root() / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project_root() / "pyproject.toml", copy)
    for place in ("data.bin", "trainables/data.bin", "trainables/teachers/mine/weights.safetensors"):
        (copy / place).parent.mkdir(exist_ok=True)
        with (copy / place).open("wb") as sink:
            sink.truncate(600 * MIB)  # sparse
    for place in (
        ".env",
        "secret.py",
        "trainables/.env",
        "search/id_rsa",
        "spaces/own.yaml",
        "env/lib/other.py",
    ):
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        (copy / place).write_text("password")
    (copy / "search" / "everything").symlink_to("/")
    return copy


def test_only_the_rooms_travel_and_they_are_enough(checkout: Path, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    settings = runtime_env(checkout, staged)
    assert settings == {"env_vars": TOLD, "working_dir": str(staged)}
    files = [path for path in staged.rglob("*") if path.is_file()]
    assert {path.relative_to(staged).parts[0] for path in files} == set(ROOMS)
    assert all(path.suffix == ".py" or path.parent.name.startswith("embedded_") for path in files)
    assert not any("password" in path.read_text() for path in files if path.suffix == ".py")
    assert sum(path.stat().st_size for path in files) < 50 * MIB
    # that they run elsewhere is tested with a cluster
    sent = {str(path.relative_to(staged)) for path in files}
    assert sent > {
        str(path.relative_to(project_root()))
        for room in ROOMS
        for path in (project_root() / room).rglob("*.py")
    }
    assert "trainables/teachers/embedded_weights/model.safetensors" in sent
    weights = {path.relative_to(project_root()) for path in project_root().rglob("teachers/**/*.safetensors")}
    assert {Path(name) for name in sent if name.endswith(".safetensors")} == weights


def test_an_installed_package_and_a_job_bring_nothing(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert runtime_env(checkout, tmp_path) == {"env_vars": TOLD}
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    (checkout / "pyproject.toml").unlink()
    assert runtime_env(checkout, tmp_path) == {"env_vars": TOLD}
