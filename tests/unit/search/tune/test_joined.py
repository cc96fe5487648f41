"""Being part of a cluster for a while: Ray and the environment are left as they were found. Ray itself is a stand-in."""

import logging
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from search.start import check_place
from search.stopping.interrupt import Interrupt
from search.tune import cluster, machine
from spaces.errors import ResourceError

HERE = "10.0.0.1:6379"


class Ray:
    """What `cluster` asks of Ray."""

    def __init__(self, *, running: bool = False, refuses: Exception | None = None) -> None:
        self.running, self.refuses = running, refuses
        self.began: list[dict[str, Any]] = []
        self.util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **options: Any) -> Any:
        if self.refuses:
            raise self.refuses
        assert not self.running
        self.running = True
        self.began.append(options)
        return SimpleNamespace(dashboard_url="", address_info={})

    def shutdown(self) -> None:
        self.running = False

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address=HERE)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """Put a Ray that does not run in the place of the real one, in an environment that says nothing of Ray."""
    for name in [name for name in os.environ if name.startswith(("RAY_", "TUNE_"))]:
        monkeypatch.delenv(name)
    made = Ray()
    monkeypatch.setattr(cluster, "ray", made)
    monkeypatch.setattr(cluster, "find_cluster", lambda address: HERE)
    return made


def test_a_ray_that_was_started_is_shut_down_and_the_environment_is_as_before(ray: Ray) -> None:
    before = dict(os.environ)
    with cluster.joined(None):
        assert ray.running
        assert os.environ["RAY_ADDRESS"].startswith("10.0.0.1:")
        assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "1"
    assert not ray.running
    assert dict(os.environ) == before


def test_what_the_user_has_set_holds_and_comes_back(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "their-own")
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "9")
    monkeypatch.setenv("RAY_GCS_SERVER_PORT", "1234")
    before = dict(os.environ)
    with cluster.joined(None):
        assert os.environ["RAY_ADDRESS"] == "10.0.0.1:1234"
        assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == "9"
        os.environ["TUNE_MADE_WHILE_SEARCHING"] = "1"
        del os.environ["RAY_GCS_SERVER_PORT"]
    assert dict(os.environ) == before


def test_an_error_changes_none_of_that(ray: Ray) -> None:
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), cluster.joined(None):
        raise ZeroDivisionError
    assert not ray.running
    assert dict(os.environ) == before


def test_ray_is_quiet_meanwhile_and_as_talkative_as_before_afterwards(ray: Ray) -> None:
    logger = logging.getLogger("ray")
    before = logger.level
    try:
        logger.setLevel(logging.INFO)
        ray.running = True
        with cluster.joined(None):
            assert not logging.getLogger("ray.tune").isEnabledFor(logging.WARNING)
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize("address", [None, "auto", HERE])
def test_a_ray_that_runs_already_is_used_and_left_running(ray: Ray, address: str | None) -> None:
    ray.running, before = True, dict(os.environ)
    with cluster.joined(address) as lines:
        assert lines == [f"Ray runs in this process already ({HERE}): it is used, and left running"]
        assert os.environ["RAY_ADDRESS"] == HERE
    assert ray.running
    assert ray.began == []
    assert dict(os.environ) == before


def test_another_cluster_than_the_one_that_was_joined_is_refused(ray: Ray) -> None:
    ray.running, before = True, dict(os.environ)
    with (
        pytest.raises(ResourceError, match=f"has joined the cluster at {HERE} already"),
        cluster.joined("10.0.0.2:1"),
    ):
        raise AssertionError("unreachable")
    assert ray.running
    assert dict(os.environ) == before


def test_a_cluster_that_is_joined_is_found_first_and_entered_by_its_address(ray: Ray) -> None:
    with cluster.joined("auto"):
        (options,) = ray.began
        assert options["address"] == HERE
        assert options["runtime_env"]["env_vars"]["RAY_ADDRESS"] == HERE
        assert "num_cpus" not in options  # that is for the cluster to say
    assert not ray.running


def test_a_ray_of_our_own_gets_our_share_of_the_cores(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "usable_cores", lambda: 3)
    with cluster.joined(None):
        assert ray.began[0]["num_cpus"] == 3


@pytest.mark.parametrize("works", [True, False])
def test_a_ray_of_our_own_counts_the_gpus_that_torch_can_use(
    works: bool, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # of NVML: an old driver counts, too
    monkeypatch.setattr(torch.cuda, "is_available", lambda: works)
    with cluster.joined(None):
        assert ray.began[0]["num_gpus"] == (2 if works else 0)


@pytest.mark.parametrize("address", [None, "auto"])
def test_each_trial_sees_its_own_gpus_whatever_the_shell_says(
    address: str | None, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
    monkeypatch.setenv(name, "1")
    with cluster.joined(address):
        assert name not in os.environ
    assert os.environ[name] == "1"


def test_processes_of_a_ray_of_our_own_are_bound_to_no_core(
    ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    found = []
    monkeypatch.setattr(
        ray,
        "init",
        lambda **options: (found.append(os.environ["OMP_PROC_BIND"]), Ray.init(ray, **options))[1],
    )
    with cluster.joined(None):
        assert os.environ["OMP_PROC_BIND"] == "true"
    assert found == ["false"]


def test_a_ray_that_does_not_start_is_told_on_one_line(ray: Ray) -> None:
    before = dict(os.environ)
    ray.refuses = RuntimeError("Failed to start GCS.\n  Last 9 lines of error files: ...")
    with pytest.raises(ResourceError) as caught, cluster.joined(None):
        raise AssertionError("unreachable")
    told = str(caught.value)
    assert told.startswith(
        "Ray could not be started on this machine (RuntimeError: Failed to start GCS.). Its logs lie in "
    )
    assert "\n" not in told
    assert "None" not in told
    assert dict(os.environ) == before


def test_the_signals_stay_ours_while_ray_comes_and_goes(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    def grab(**options: Any) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return Ray.init(ray, **options)

    def let_go() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ray.running = False

    monkeypatch.setattr(ray, "init", grab)
    monkeypatch.setattr(ray, "shutdown", let_go)
    with Interrupt() as interrupt:
        with cluster.joined(None):
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.exit_code == 143
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_cluster_that_does_not_answer_is_told_and_leaves_nothing(ray: Ray) -> None:
    before = dict(os.environ)
    ray.refuses = ConnectionError("nobody there")
    with (
        pytest.raises(ResourceError, match=r"^--address 10.0.0.2:1: no Ray cluster answers"),
        cluster.joined("10.0.0.2:1"),
    ):
        raise AssertionError("unreachable")
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "error", [RuntimeError("InvalidAuthToken: no"), type("AuthenticationError", (Exception,), {})()]
)
def test_a_cluster_that_refuses_the_token_is_told_and_leaves_nothing(ray: Ray, error: Exception) -> None:
    before = dict(os.environ)
    ray.refuses = error
    with (
        pytest.raises(ResourceError, match=r"^--address 10.0.0.2:1: the cluster refused the token"),
        cluster.joined("10.0.0.2:1"),
    ):
        raise AssertionError("unreachable")
    assert dict(os.environ) == before


def test_a_ray_that_runs_already_is_judged_in_the_place_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space: Any = SimpleNamespace(
        resources=SimpleNamespace(workers_per_trial=10_000, cpus_per_worker=1, gpus=0)
    )
    with pytest.raises(ResourceError, match="one trial needs 10000 CPUs"):
        check_place(None, space, say=print)
    monkeypatch.setitem(sys.modules, "ray", Ray(running=True))
    assert machine.ray_runs_here()
    check_place(None, space, say=print)
