"""What a new run takes over from earlier ones, what it refuses, and that it then needs them no more."""

import json
import shutil
from pathlib import Path

import pytest

from search.candidates.warm_start import read_runs, retargeted
from search.inputs.inputs import Inputs
from search.proposal import Past
from search.run_folder.facts import SPACE_FILE, read_facts, write_facts
from search.run_folder.warm_start_file import (
    WARM_START_FILE,
    EarlierResults,
    check_kept,
    read_earlier,
    write_earlier,
)
from spaces.errors import RunError
from spaces.load import dump_space, load_space
from tests.unit.search.earlier_run import (
    DEFAULTS,
    Trained,
    load_recorder,
    open_admissions,
    prepare,
    write_run,
)
from tests.unit.search.latency.figures import of_size
from trainables.costs.target import Target

DEPTH, WIDTH, LM = "student.image.depth", "student.image.width", "losses.lm.weight"
# Retention against cost, by hand: a, b and d are on the front; c is dominated by b. e was stopped, f failed.
TRAINED = {
    "a": Trained(values={LM: 0.11}, retention=[10.0, 20.0, 30.0], params=100),
    "b": Trained(values={LM: 0.12}, retention=[20.0, 40.0, 60.0], params=200),
    "c": Trained(values={LM: 0.13}, retention=[15.0, 30.0, 50.0], params=250),
    "d": Trained(values={LM: 0.14}, retention=[30.0, 50.0, 70.0], params=400),
    "e": Trained(values={LM: 0.15}, retention=[5.0], params=90, status="stopped"),
    "f": Trained(values={LM: 0.16}, retention=[], params=80, status="diverged"),
    "g": Trained(values={LM: 0.17}, retention=[99.0], params=10, status="running"),
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the space file."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def inputs(space: Path) -> Inputs:
    """Return the run to be started: another seed than the earlier one, whose trials, searcher and rungs differ, too."""
    return prepare(space, "search.seed=1", "search.trials=8", "search.searcher={kind: hyperopt}")


@pytest.fixture(scope="module")
def folder(space: Path) -> Path:
    """Return the folder of the earlier run; not to be changed."""
    return write_run(space / "runs" / "earlier", prepare(space), list(TRAINED.values()), started="then")


def told(past: Past) -> tuple[object, str, list[float]]:
    return past.proposal.values[LM], past.status, [row["retention"] for row in past.rows]


def test_what_was_trained_is_taken_over_with_its_fidelity_and_its_failures(
    folder: Path, inputs: Inputs
) -> None:
    past = read_runs([folder], inputs).past
    assert sorted(map(told, past)) == [
        (0.11, "finished", [10.0, 20.0, 30.0]),
        (0.12, "finished", [20.0, 40.0, 60.0]),
        (0.13, "finished", [15.0, 30.0, 50.0]),
        (0.14, "finished", [30.0, 50.0, 70.0]),
        (0.15, "stopped", [5.0]),
        (0.16, "diverged", []),
    ]
    assert {one.proposal.index for one in past} == {-1}
    assert all(row["epoch"] == n for one in past for n, row in enumerate(one.rows, start=1))
    assert {one.proposal.candidate.seed for one in past} == {0}
    assert {one.proposal.values[LM]: one.costs["params"] for one in past}[0.15] == 90


def test_the_front_is_trained_first_balanced_one_before_the_ends(folder: Path, inputs: Inputs) -> None:
    # scaled to [0, 1] the sums are a 1 + 0, b .25 + 3 / 3, d 0 + 3: a begins, d is the farthest, b is left
    first = read_runs([folder], inputs).first
    assert [values[LM] for values in first] == [0.11, 0.14, 0.12]


def test_at_most_half_of_the_trials_repeat_what_was_trained(folder: Path, space: Path) -> None:
    assert len(read_runs([folder], prepare(space, "search.trials=4")).first) == 2
    assert len(read_runs([folder], prepare(space, "search.trials=1")).first) == 1


def test_the_run_tells_what_it_took_over(folder: Path, inputs: Inputs) -> None:
    assert read_runs([folder], inputs).sources == [
        {"run": "earlier", "started": "then", "imported": 6, "finished": 4, "first": 3, "target": {}}
    ]


def test_several_runs_have_one_front_and_no_training_twice(folder: Path, space: Path, inputs: Inputs) -> None:
    # the placement of no fusion layers changes nothing: `first` and `last` are one training
    off = {"student.fusion.layers": 0, "student.fusion.placement": "first"}
    better = [
        Trained(values={LM: 0.14}, retention=[90.0], params=400),  # the same training as d, with another seed
        Trained(values={LM: 0.19}, retention=[80.0], params=150),  # dominates b
        Trained(values=off, retention=[1.0], params=9),
    ]
    same = [Trained(values={"student.fusion.layers": 0}, retention=[1.0], params=9)]
    second = write_run(space / "runs" / "second", prepare(space, "search.seed=7"), better)
    third = write_run(space / "runs" / "third", prepare(space, "search.seed=8"), same)
    found = read_runs([folder, second, folder / ".." / "earlier", third], inputs)
    assert [source["run"] for source in found.sources] == ["earlier", "second", "third"]
    assert [source["imported"] for source in found.sources] == [6, 3, 1]
    assert sorted((v["student.fusion.layers"], v[LM]) for v in found.first) == [
        (0, 0.3),
        (1, 0.11),
        (1, 0.14),
        (1, 0.19),
    ]
    assert [source["first"] for source in found.sources] == [1, 3, 0]


def test_an_earlier_run_is_only_read(folder: Path, inputs: Inputs) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
        return found | {
            str(path): (path.stat().st_mtime_ns, b"") for path in folder.rglob("*") if path.is_dir()
        }

    before = state()
    assert read_runs([folder], inputs).past
    assert state() == before


def test_a_run_that_is_being_written_is_readable(folder: Path, inputs: Inputs, tmp_path: Path) -> None:
    live = Path(shutil.copytree(folder, tmp_path / "live"))
    recorder = load_recorder(
        live, inputs
    )  # another process would hold it so: history open, table a moment old
    running = next(row["candidate_id"] for row in recorder.rows if row["status"] == "running")
    recorder.record_epoch({"candidate_id": running, "epoch": 2, "status": "running", "retention": 99.5})
    (part,) = [path for path in (live / "history").iterdir() if path.name == "part-0002.arrow"]
    with part.open("ab") as stream:
        stream.write(b"\xff\xff\xff\xff\x10")  # a batch that is half written
    with (live / "proposals.jsonl").open("ab") as stream:
        stream.write(b'{"candidate_id": "0123')
    assert sorted(map(told, read_runs([live], inputs).past)) == sorted(
        map(told, read_runs([folder], inputs).past)
    )


def test_a_run_without_results_gives_nothing(space: Path, inputs: Inputs) -> None:
    empty = write_run(space / "runs" / "empty", prepare(space), [])
    found = read_runs([empty], inputs)
    assert (list(found.past), list(found.first)) == ([], [])
    assert found.sources[0]["imported"] == 0


def test_a_torn_proposal_is_left_out(folder: Path, inputs: Inputs, tmp_path: Path) -> None:
    torn = Path(shutil.copytree(folder, tmp_path / "torn"))
    lines = (torn / "proposals.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"losses.lm.weight": 0.12' not in line]
    assert len(kept) == len(lines) - 1
    (torn / "proposals.jsonl").write_text("\n".join(kept) + "\n")
    assert sorted(told(one)[0] for one in read_runs([torn], inputs).past) == [0.11, 0.13, 0.14, 0.15, 0.16]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["training.epochs=9"], "  training.epochs: 9 in this run, 3 in that one"),
        (
            ["training.lr={log: [1e-4, 1e-2]}"],
            "  training.lr: {log: [0.0001, 0.01]} in this run, 0.001 in that one",
        ),
        (
            ["losses.lm.weight=0"],
            "  losses.lm.weight: 0.0 in this run, {log: [0.1, 1.0], zero: 0.3} in that one",
        ),
        (["losses.vqa.weight=1"], "  losses.vqa.weight: 1.0 in this run, absent in that one"),
        (
            [f"{WIDTH}={{choice: [0.25x, 0.75x]}}"],
            f"  {WIDTH}: {{choice: [0.25x, 0.75x]}} in this run, {{choice: [0.25x, 0.5x]}} in that one",
        ),
        (["student.text.depth=2"], "  student.text.depth: 2 in this run, 1 in that one"),
        (["evaluation.images=16"], "  evaluation.images: 16 in this run, 32 in that one"),
        (["teacher_cache.top_k=1"], "  teacher_cache.top_k: 1 in this run, 0 in that one"),
    ],
)
def test_a_run_of_another_space_is_refused(changes: list[str], line: str, folder: Path, space: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_runs([folder], prepare(space, *changes))
    assert str(caught.value).splitlines() == [
        f"--warm-start {folder}: measured something else:",
        line,
        "Name runs of the same space, teacher and data, or search without --warm-start.",
    ]


@pytest.mark.parametrize("name", ["teacher", "dataset"])
def test_a_run_of_another_teacher_or_other_data_is_refused(
    name: str, folder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    facts = read_facts(other)
    now = facts[name]["fingerprint"]
    write_facts(other, {**facts, name: {"fingerprint": "0123"}})
    with pytest.raises(RunError) as caught:
        read_runs([other], inputs)
    assert f"\n  {name} fingerprint: '{now}' in this run, '0123' in that one\n" in str(caught.value)


def test_a_teacher_that_has_moved_is_the_same_one(folder: Path, inputs: Inputs, tmp_path: Path) -> None:
    """Its fingerprint says so; without one, its place has to."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    space = (other / SPACE_FILE).read_text()
    (other / SPACE_FILE).write_text(space.replace("teacher: embedded", "teacher: /old/place/of/it"))
    assert len(read_runs([other], inputs).past) == 6
    write_facts(other, {**read_facts(other), "teacher": {}})
    with pytest.raises(RunError, match="teacher: 'embedded' in this run, '/old/place/of/it' in that one"):
        read_runs([other], inputs)


def test_every_difference_of_every_run_is_named(folder: Path, space: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    now = prepare(space, "training.epochs=9", "student.text.depth=2", "dataset.train_images=40")
    with pytest.raises(RunError) as caught:
        read_runs([folder, copy], now)
    text = str(caught.value)
    for run in (folder, copy):
        assert f"--warm-start {run}: " in text
    for path in ("training.epochs", "student.text.depth", "dataset fingerprint"):
        assert text.count(f"  {path}: ") == 2


@pytest.mark.parametrize(
    "change",
    [
        "search.seed=9",
        "search.trials=3",
        "search.scheduler={kind: asha, rungs: [2]}",
        "search.start=[{}]",
        "limits.params.max=0.5x",
        "resources.workers_per_trial=2",
        "name=other",
        f"{DEPTH}={{choice: [1, 2, 3], default: 3}}",
        f"{LM}={{log: [0.1, 1], zero: 0.3}}",
    ],
)
def test_what_changes_no_result_may_differ(change: str, folder: Path, space: Path) -> None:
    assert len(read_runs([folder], prepare(space, change)).past) == 6


def test_an_objective_that_was_not_measured_teaches_nothing(folder: Path, space: Path) -> None:
    now = prepare(space, "objectives={mean_recall: max, params: min}")
    assert [one.status for one in read_runs([folder], now).past] == ["diverged"]
    assert not read_runs([folder], now).first


def test_no_run_is_told(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        read_runs([tmp_path / "nowhere"], inputs)
    with pytest.raises(RunError, match="is no run"):
        read_runs([tmp_path], inputs)


def test_what_was_taken_over_is_kept_to_the_last_digit(folder: Path, inputs: Inputs, tmp_path: Path) -> None:
    found = read_runs([folder], inputs)
    write_earlier(tmp_path, found)
    again = read_earlier(tmp_path)
    assert again == EarlierResults(past=list(found.past), first=list(found.first))
    assert [path.name for path in tmp_path.iterdir()] == [WARM_START_FILE]
    assert len((tmp_path / WARM_START_FILE).read_text().splitlines()) == 6 + 3


def test_a_cold_start_takes_over_nothing(tmp_path: Path) -> None:
    assert read_earlier(tmp_path) == EarlierResults()
    check_kept(tmp_path, {"warm_start": []})


@pytest.mark.parametrize("text", ["{", '{"first": {}}\n{"candidate_id": "x"}\n', "3\n"])
def test_a_damaged_file_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / WARM_START_FILE).write_text(text)
    with pytest.raises(RunError, match=f"{WARM_START_FILE}: damaged"):
        read_earlier(tmp_path)


def test_a_run_that_has_lost_what_it_learned_does_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=f"{WARM_START_FILE}: missing, although the run was started from the results of a, b"
    ):
        check_kept(tmp_path, {"warm_start": [{"run": "a"}, {"run": "b"}]})


def test_the_new_run_gives_the_candidates_its_own_ids(folder: Path, inputs: Inputs, tmp_path: Path) -> None:
    found = read_runs([folder], inputs)
    admissions = open_admissions(inputs, tmp_path)
    old = {json.dumps(dict(one.proposal.values)): one.proposal.candidate for one in found.past}
    for values in found.first:
        new, before = admissions.build(values, -1).candidate, old[json.dumps(dict(values))]
        assert new.candidate_id != before.candidate_id
        assert new.config == before.config
    assert {**DEFAULTS}.keys() == found.first[0].keys()


def test_a_run_of_before_whose_space_is_silent_on_defaults_can_be_learnt_from(
    folder: Path, space: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    silent = dump_space(load_space(space / "tiny.yaml"))
    kept = (old / "space.yaml").read_text()
    assert "mismatched" in kept
    assert "mismatched" not in silent
    (old / "space.yaml").write_text(silent)
    assert read_runs([old], prepare(space)).sources[0]["imported"] > 0


def measured_on(folder: Path, target: dict[str, object], name: str) -> Path:
    """Return a copy of a run whose latencies are those of a target and a device."""
    other = folder.parent / name
    shutil.copytree(folder, other)
    facts = read_facts(other)
    teacher = {**facts["teacher"], "latency": {"device": "a CPU", "latency_ms": 1.0, "spread_ms": 0.1}}
    write_facts(other, {**facts, "target": target, "teacher": teacher})
    return other


def test_latencies_of_the_same_target_are_taken_over(folder: Path, inputs: Inputs) -> None:
    same = measured_on(folder, Target().to_dict(), "same")
    earlier = read_runs([same], inputs)
    assert retargeted(earlier, inputs) == earlier


def test_latencies_of_another_target_are_not_taken_over(folder: Path, space: Path) -> None:
    inputs = prepare(space, "search.seed=1", "objectives={retention: max, latency_ms: min}")
    other = measured_on(folder, Target(threads=4).to_dict(), "other")
    for run in (other, folder):  # the second knew no target
        earlier = read_runs([run], inputs)
        anew = retargeted(earlier, inputs).past
        assert len(anew) == len(earlier.past)
        for before, after in zip(earlier.past, anew, strict=True):
            expected = of_size(inputs.students.subject(after.proposal.candidate.config)).latency_ms
            assert after.costs == {**before.costs, "latency_ms": expected}
            assert [row["latency_ms"] for row in after.rows] == [expected] * len(before.rows)
            assert before.costs["latency_ms"] != expected


def test_latencies_that_do_not_count_are_left_out(folder: Path, space: Path) -> None:
    inputs = prepare(space, "search.seed=1", "objectives={retention: max, params: min}")
    anew = retargeted(read_runs([folder], inputs), inputs).past
    assert not any("latency_ms" in cells for one in anew for cells in (one.costs, *one.rows))
