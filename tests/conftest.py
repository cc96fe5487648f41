"""What every test runs under: caches of its own, one thread, nobody's cluster; and a count of what was skipped."""

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SKIP_MARKERS = ("browser", "gpu", "java", "weights")
ORDER = ("unit", "house", "contracts", "integration", "e2e")  # what answers soonest comes first
RAY = ("integration", "e2e", "campaign")  # start Ray, and mostly wait
WITHOUT_RAY = (  # of those: never come so far, or read what the one search of the session has left
    *("test_bad_data.py", "test_bad_run.py", "test_bad_space.py", "test_export.py"),
    *("test_search.py", "test_simulate.py", "test_toy_plans.py", "test_worker.py"),
    *("test_cache_kills.py", "test_compiled_latency.py", "test_data_memory.py", "test_prepare_kills.py"),
)
LAST = ("e2e", "campaign")  # with Ray, of these: for whichever process has nothing else to do
BESIDE = ("campaign/test_disks.py", "campaign/test_driver_kills.py", "campaign/test_owners.py")
"""But these, which take one process about as long as the other has with properties at 5,000 examples."""
RAY_TIMEOUT_S = 1800  # of one test there with its fixtures, and of 5,000 examples; `timeout` in pyproject.toml is of all others

collect_ignore = [] if os.environ.get("CAMPAIGN") else ["campaign"]

_session = Path(tempfile.mkdtemp(prefix="student-search-tests-"))


def _is_compiled(package: str) -> bool:
    """Return whether Python finds the bytecode of a package; it is not imported."""
    spec = importlib.util.find_spec(package)
    origin = spec and spec.origin
    return origin is not None and Path(importlib.util.cache_from_source(origin)).exists()


def _set_environment() -> None:
    """Set what child processes inherit, too; before torch, ray and hypothesis are imported, which read it then."""
    # published weights stay where the user keeps them: the hub's cache lies in the cache folder by default
    user_cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("HF_HOME", str(Path(user_cache) / "huggingface"))
    os.environ["XDG_CACHE_HOME"] = str(_session / "cache")
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(_session / "hypothesis")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # two busy threads on a shared machine wait for one another most of the time
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and not _is_compiled("torch"):
        # else every process compiles the packages anew: 15 seconds each. Where `make setup` has compiled them, a prefix
        # would hide that, and our own rooms, compiled in each process, cost no more than 0.15 seconds
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        os.environ["PYTHONPYCACHEPREFIX"] = str(_session / "bytecode")
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray's spelling; its own 15 starves trials beside other work)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.pop("RAY_ADDRESS", None)  # a test that wants a cluster starts one


_set_environment()


def pytest_configure() -> None:
    """Hold torch to one thread where a plugin has imported it already, time no example of hypothesis, and listen to Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # so a shell starts what it puts into the background; a test of Ctrl-C would wait for ever
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from hypothesis import HealthCheck, settings  # reads where it may write when it is imported

    unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("any machine", unhurried, max_examples=100)
    settings.register_profile("campaign", unhurried, max_examples=5000)
    settings.load_profile("campaign" if os.environ.get("CAMPAIGN") else "any machine")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _starts_ray(path: str) -> bool:
    """Return whether the tests of a file, told from here, start Ray."""
    return path.partition("/")[0] in RAY and not path.endswith(WITHOUT_RAY)


def _comes_last(path: str) -> bool:
    """Return whether a file whose tests start Ray is for whichever process has nothing else to do."""
    return path.partition("/")[0] in LAST and path not in BESIDE


def _turn(path: str) -> tuple[int, int]:
    """Return when the tests of a file have their turn: what answers soonest comes first.

    Between two processes what takes longest comes first, since one of them has the folders with Ray for the most part of the
    time; and Ray's tests of `LAST` come last.
    """
    folder = path.partition("/")[0]
    order = ORDER.index(folder) if folder in ORDER else len(ORDER)
    ray = "PYTEST_XDIST_WORKER" in os.environ and _starts_ray(path)
    return (0 if not ray else 1 if _comes_last(path) else -1), order


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick folders first; inside a folder the order stays. What starts Ray may take longer."""
    here = Path(__file__).parent

    def path(item: pytest.Item) -> str:
        return item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""

    items.sort(key=lambda item: _turn(path(item)))
    for item in items:
        folder = path(item).partition("/")[0]
        drawn_often = os.environ.get("CAMPAIGN") and item.get_closest_marker("properties")
        if folder in RAY or drawn_often:
            item.add_marker(pytest.mark.timeout(RAY_TIMEOUT_S))
        if folder == "campaign":
            item.add_marker("campaign")


class FewRays(LoadScopeScheduling):  # type: ignore[misc]
    """One process takes the folders that start Ray, from the beginning, since they mostly wait; the others the rest, by files.

    Then whichever is through takes Ray's tests of `LAST`: each file has searches of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.partition("::")[0]
        path = name.removeprefix("tests/")
        return "ray" if _starts_ray(path) and not _comes_last(path) else name


@pytest.hookimpl(optionalhook=True)  # so that `-p no:xdist` works
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FewRays:
    """Give xdist the order above, as it is."""
    config.option.loadscopereorder = False
    return FewRays(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many tests were skipped for want of what."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        keywords = getattr(report, "keywords", {})
        counts[next((name for name in SKIP_MARKERS if name in keywords), "no marker")] += 1
    names = [*SKIP_MARKERS, *(["no marker"] if counts["no marker"] else [])]
    terminalreporter.write_line(f"skipped: {', '.join(f'{counts[name]} {name}' for name in names)}")


def pytest_unconfigure() -> None:
    """Remove the caches of this session."""
    shutil.rmtree(_session, ignore_errors=True)
