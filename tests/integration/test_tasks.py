"""Work of a search as Ray tasks: lines come while it runs, errors as themselves, and Ctrl-C ends it there, too."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from search.candidates import packing
from search.candidates.packing import packed
from search.tune import tasks
from search.tune.capacity import Resources, gpu_kinds, look
from search.tune.tasks import Tasks, run_all, run_there
from spaces.errors import DatasetError, ResourceError, SpaceError
from tests.e2e import runs
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.cache_folder import STORAGE, storage, stored_in
from trainables.training.step_memory import StepMemory

ONE = SimpleNamespace(cpus=1.0, gpus=0.0)


@pytest.fixture(scope="module", autouse=True)
def a_ray() -> Iterator[None]:
    """Start a Ray of two CPUs for the module; its processes find this file."""
    paths = os.pathsep.join([str(runs.ROOT), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=2,  # Ray counts what it is told
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()


def counted(to: int, *, say: Callable[[str], None]) -> tuple[int, str]:
    for number in range(to):
        say(f"{number + 1} of {to}")
    return to, storage()


def refused(kind: str) -> None:
    if kind == "space":
        raise SpaceError(["one", "two"])
    if kind == "data":
        raise DatasetError("data.jsonl:3: no caption.")
    raise ZeroDivisionError("a mistake of ours")


def alone(mark: str) -> int:
    """Hold a mark that only one process can hold at a time, and give it back."""
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    time.sleep(0.2)
    Path(mark).unlink()
    return os.getpid()


def dying(ledger: str, times: int) -> int:
    """Count the attempts in a file; end the process without a word at the first ones."""
    with Path(ledger).open("a") as sink:
        sink.write("x")
    if len(Path(ledger).read_text()) <= times:
        os._exit(7)
    return len(Path(ledger).read_text())


def endless(alive: str) -> None:
    while True:
        Path(alive).write_text(str(time.monotonic()))
        time.sleep(0.02)


def test_lines_and_values_come_back_and_the_storage_goes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STORAGE, raising=False)
    said: list[str] = []
    with stored_in(str(tmp_path)):
        assert run_there(counted, 3, resources=ONE, say=said.append) == (3, str(tmp_path))
    assert said == ["1 of 3", "2 of 3", "3 of 3"]
    assert Tasks(ONE, say=said.append).run(counted, 0) == (0, "")
    found = {
        done.index: done.result() for done in run_all(counted, [(1,), (2,)], resources=ONE, say=said.append)
    }
    assert found == {0: (1, ""), 1: (2, "")}


def test_errors_come_as_themselves_and_cost_nobody_else(tmp_path: Path) -> None:
    outcomes = {
        done.index: done.error
        for done in run_all(refused, [("space",), ("data",), ("bug",)], resources=ONE, say=print)
    }
    assert isinstance(outcomes[0], SpaceError)
    assert outcomes[0].problems == ["one", "two"]
    assert isinstance(outcomes[1], DatasetError)
    assert str(outcomes[1]) == "data.jsonl:3: no caption."
    assert isinstance(outcomes[2], ZeroDivisionError)
    (note,) = outcomes[2].__notes__
    assert "in refused" in note
    assert "ray" not in note


def test_the_node_is_named_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.ray, "nodes", lambda: [{"Alive": True}, {"Alive": True}])
    with pytest.raises(DatasetError, match=r"^data\.jsonl:3: no caption\. \(on the node [\d.]+\)$"):
        run_there(refused, "data", resources=ONE, say=print)


def test_what_loses_its_process_begins_anew_but_not_for_ever(tmp_path: Path) -> None:
    said: list[str] = []
    assert run_there(dying, str(tmp_path / "twice"), 2, resources=ONE, say=said.append) == 3
    assert len(said) == 2
    assert all(line.endswith("it begins anew") for line in said)
    with pytest.raises(ResourceError, match=rf"dying: .*and so it was {tasks.ATTEMPTS} times"):
        run_there(dying, str(tmp_path / "always"), 99, resources=ONE, say=said.append)
    assert len((tmp_path / "always").read_text()) == tasks.ATTEMPTS


def test_an_interruption_ends_it_there_and_gives_its_place_back(tmp_path: Path) -> None:
    alive = tmp_path / "alive"

    def interrupt() -> None:
        while not alive.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=interrupt)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        run_there(endless, str(alive), resources=ONE, say=print)
    presser.join()
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2.0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    last = alive.read_text()
    time.sleep(0.3)
    assert alive.read_text() == last


def test_what_finds_no_place_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WAITING_TOLD_S", 0.2)
    group = ray.util.placement_group([{"CPU": 2}])
    ray.get(group.ready())
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        ray.util.remove_placement_group(group)

    assert run_there(counted, 0, resources=ONE, say=say)[0] == 0
    assert said[0].startswith("counted: waits for a place, ")
    assert "needs 1 CPU, free on the whole cluster: 0 CPU" in said[0]


def gathered(folder: str, number: int, all_of_them: int) -> int:
    """Say that this one has begun, and return once all have."""
    (Path(folder) / str(number)).write_text("")
    deadline = time.monotonic() + 120
    while len(list(Path(folder).iterdir())) < all_of_them and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(list(Path(folder).iterdir()))


def test_as_many_share_a_gpu_as_there_is_said_to_be_room_for(tmp_path: Path) -> None:
    share = packed([_step(gib=19.5)])  # 3 on a device of 80 GiB
    assert share.gpus is not None
    need = Resources(workers=1, cpus=1, gpus=share.gpus, slots=1)
    # CPUs bound the trials here, so that the room for GPUs is asked by a need of none
    assert replace(look(), nodes=[{"GPU": 2.0}], free={"GPU": 2.0}).room(replace(need, cpus=0)) == 6
    takes = SimpleNamespace(cpus=0.1, gpus=share.gpus)
    orders = [(str(tmp_path), number, 6) for number in range(6)]
    assert [one.result() for one in run_all(gathered, orders, resources=takes, say=print)] == [6] * 6


def process(number: int, lost: str = "") -> tuple[int, int]:
    """Return a number and who has it; one that is to be lost always is."""
    if lost:
        time.sleep(
            3.0
        )  # Ray sends what the call before has returned on its own time: lost with the process, it is made again
        dying(lost, 99)
    if number == 3:
        raise DatasetError("data.jsonl:3: no caption.")
    return number, os.getpid()


def test_calls_on_one_gpu_share_a_process_until_one_is_lost_or_fails_and_then_the_others_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray ends a process that had a GPU after each task; to begin it anew takes longer than many a call."""
    monkeypatch.setattr(tasks, "ATTEMPTS", 2)
    takes, said = SimpleNamespace(cpus=0.5, gpus=2.0), list[str]()
    orders = [(0,), (1, str(tmp_path / "lost")), (2,), (3,), (4,), (5,)]
    outcomes = list(run_all(process, orders, resources=takes, say=said.append))
    assert [one.index for one in outcomes] == [0, 1, 2, 3, 4, 5]
    assert [one.value[0] for one in outcomes if one.error is None] == [0, 2, 4, 5]
    with pytest.raises(ResourceError, match="and so it was 2 times"):
        outcomes[1].result()
    with pytest.raises(DatasetError, match="no caption"):
        outcomes[3].result()
    processes = [outcomes[number].value[1] for number in (0, 2, 4, 5)]
    assert len(set(processes[:3])) == 3
    assert processes[2] == processes[3], "what failed may hold on to memory of the GPU"
    assert sum("begins anew" in line for line in said) == 1


def _step(gib: float) -> StepMemory:
    size = int(gib * 2**30)
    return StepMemory(candidate_id="a", device="toy", total=80 * 2**30, outside=2**29, peak=size)


def measured(order: dict[str, Any]) -> StepMemory:
    """Stand in for a step on a GPU: a node of the cluster has been given one, whole."""
    assert order["device"] == "cuda"
    assert len(ray.get_gpu_ids()) == 1
    assert ray.get_runtime_context().get_assigned_resources()["GPU"] == 1
    return _step(gib=float(order["gib"]))


def test_the_largest_students_are_measured_on_a_whole_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    inputs: Any = SimpleNamespace(
        elsewhere=Tasks(SimpleNamespace(cpus=1.0, gpus=1.0), say=said.append),
        space=SimpleNamespace(resources=SimpleNamespace(workers_per_trial=1)),
        say=said.append,
    )
    admissions: Any = SimpleNamespace(
        counted=None, drafted_job=lambda one, costs: SimpleNamespace(to_dict=lambda: {"gib": one})
    )
    monkeypatch.setattr(packing, "largest_candidates", lambda inputs, counted: [1.0, 9.5])
    monkeypatch.setattr(packing, "measure_step", measured)
    found = packing.choose_packing(inputs, admissions, kinds=gpu_kinds())
    assert gpu_kinds() == ["unknown"]
    assert (found.trials, found.gpus) == (6, 0.1666)  # 80 / (1.2 x 10)
    assert "2 of the largest students" in said[0]


def test_data_is_prepared_by_a_cluster_as_by_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, address = public.karpathy(tmp_path / "coco"), ray.get_runtime_context().gcs_address
    (root / "val2014" / "COCO_val2014_000000000004.jpg").write_bytes(b"")
    assert public.prepare("coco", root, tmp_path / "alone", "--shard-pictures", "2") == 0
    assert public.prepare("coco", root, tmp_path / "many", "--shard-pictures", "2", "--address", address) == 0
    assert public.manifest(tmp_path / "many") == public.manifest(tmp_path / "alone")
    assert public.quarantine(tmp_path / "many") == public.quarantine(tmp_path / "alone")


def test_pictures_that_a_node_does_not_see_are_refused_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "search.tune.shared.unseen", lambda paths: ["b"] if paths[0].endswith("pictures") else []
    )
    root, address = public.karpathy(tmp_path / "coco"), ray.get_runtime_context().gcs_address
    (root / "val2014").rename(tmp_path / "pictures")
    flags = ("--image-root", str(tmp_path / "pictures"), "--address", address)
    assert public.prepare("coco", root, tmp_path / "out", *flags) == 2
    assert f"--image-root {tmp_path / 'pictures'}: the nodes b do not see it" in capsys.readouterr().err


def test_a_cluster_that_is_none_is_told_before_anything_is_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = public.karpathy(tmp_path / "coco")
    assert public.prepare("coco", root, tmp_path / "out", "--address", "nowhere") == 2
    assert "--address nowhere: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_more_are_on_their_way_than_was_said(tmp_path: Path) -> None:
    orders = [(str(tmp_path / "mark"),)] * 4
    found = [done.result() for done in run_all(alone, orders, resources=ONE, say=print, most=1)]
    assert len(found) == len(orders)
