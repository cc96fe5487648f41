"""The first candidates of a run: their order, that a resume hands out the rest once, and that start points always end."""

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.first_candidates import plan_search
from search.candidates.warm_start import read_runs
from search.inputs.inputs import Inputs
from search.inputs.plugins import make_proposer
from search.run_folder.recorder import Recorder
from search.run_folder.warm_start_file import write_earlier
from search.searchers.base import Outcome, Proposer, Values
from spaces.domains import Scalar
from spaces.errors import LimitError, SpaceError
from tests.house.tree import ROOMS, dotted, modules, syntax
from tests.unit.search.earlier_run import (
    DEFAULTS,
    Trained,
    load_recorder,
    open_admissions,
    prepare,
    write_run,
)

DEPTH, WIDTH, LM = "student.image.depth", "student.image.width", "losses.lm.weight"
START = (
    "search.start=[{student: {image: {width: 0.5x}}}, {losses.lm.weight: 0}, {}, {student.image.width: 0.5x}]"
)
POINTS = [{WIDTH: "0.5x"}, {LM: 0}]  # the third is the default, the fourth the first again


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the space file."""
    return tmp_path_factory.mktemp("space")


def begin(
    folder: Path, inputs: Inputs, recorder: Recorder | None = None
) -> tuple[CandidateSearcher, list[Any]]:
    """Begin a session, a first or a resumed one; return its searcher, and the proposals in its queue."""
    recorder = recorder or load_recorder(folder, inputs)
    admissions = open_admissions(inputs, folder, recorder)
    plan = plan_search(inputs, recorder, admissions)
    return CandidateSearcher(make_proposer(inputs.space), admissions, plan=plan), [
        queued.proposal for queued in plan.queue
    ]


def trials(searcher: CandidateSearcher) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield trial after trial until the searcher ends."""
    for number in range(200):
        config = searcher.suggest(f"t{number}")
        if config == Searcher.FINISHED:
            return
        assert isinstance(config, dict)
        yield f"t{number}", config
    raise AssertionError("it does not end")


def finish(searcher: CandidateSearcher, trial: str, config: dict[str, Any]) -> None:
    """Let a trial end with a retention that depends on its candidate."""
    costs = json.loads(Path(config["job"]).read_text())["costs"]
    retention = 40 + int(config["candidate_id"], 16) % 40
    searcher.on_trial_complete(
        trial, {**costs, "epoch": 3, "status": "finished", "retention": float(retention)}
    )


def values_of(proposals: list[Any]) -> list[dict[str, Any]]:
    """Return what each proposal has beside the defaults."""
    return [{path: v for path, v in one.values.items() if v != DEFAULTS[path]} for one in proposals]


@pytest.fixture
def folder(tmp_path: Path, place: Path) -> Path:
    """Return the folder of a run that has just begun."""
    return write_folder(tmp_path / "run")


def write_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_start_points_come_after_the_blind_and_the_default_once_each(folder: Path, place: Path) -> None:
    inputs = prepare(place, START)
    _, queue = begin(folder, inputs)
    assert queue[0].candidate.blind
    assert values_of(queue[1:]) == [{}, *POINTS]
    assert {one.index for one in queue} == {-1}
    assert [one.candidate.seed for one in queue] == [0, 0, 0, 0]
    ids = [one.candidate.candidate_id for one in queue]
    built = [inputs.space.build({**DEFAULTS, **point}, inputs.students, 0).candidate_id for point in POINTS]
    assert ids[2:] == built


def test_start_points_count_as_trials_and_are_never_proposed_again(folder: Path, place: Path) -> None:
    searcher, _ = begin(folder, prepare(place, START, "search.trials=8"))
    searcher.prime()
    found = [config["candidate_id"] for _, config in trials(searcher)]
    assert len(found) == len(set(found)) == 1 + 8  # the blind student is none of the trials
    assert searcher.ended_by == "trials"


def test_more_start_points_than_trials_wait_for_an_extension(folder: Path, place: Path) -> None:
    searcher, queue = begin(folder, prepare(place, START, "search.trials=2"))
    searcher.prime()
    handed = [config["candidate_id"] for _, config in trials(searcher)]
    assert handed == [one.candidate.candidate_id for one in queue[:3]]
    recorder = load_recorder(folder, prepare(place, START))
    for one in handed:
        recorder.finish(one, "finished")
    _, rest = begin(folder, prepare(place, START, "search.trials=5"))
    assert rest == queue[3:]


@pytest.mark.parametrize("handed_out", [0, 1, 2, 3, 4])
def test_after_a_kill_the_remaining_start_points_still_come_first_and_none_twice(
    handed_out: int, folder: Path, place: Path
) -> None:
    inputs = prepare(place, START, "search.trials=7", "search.seed=5")
    whole = [config["candidate_id"] for _, config in trials(begin(write_folder(folder / "whole"), inputs)[0])]
    searcher, queue = begin(folder, inputs)
    searcher.prime()
    session = trials(searcher)
    before = [next(session)[1]["candidate_id"] for _ in range(handed_out)]  # and then it is killed
    again, _ = begin(folder, inputs)
    again.prime()
    after = [config["candidate_id"] for _, config in trials(again)]
    assert after[:handed_out] == before  # they are unfinished: their checkpoints go on
    assert after == whole
    assert after[: len(queue)] == [one.candidate.candidate_id for one in queue]
    assert len(after) == len(set(after)) == 1 + 7


def test_a_start_point_over_a_limit_is_refused_and_recorded(folder: Path, place: Path) -> None:
    costs = {
        w: prepare(place).space.build({**DEFAULTS, WIDTH: w}, prepare(place).students, 0)
        for w in ("0.25x", "0.5x")
    }
    admissions = open_admissions(prepare(place), write_folder(folder / "other"))
    small, large = (int(admissions.admit(one).costs["params"]) for one in costs.values())
    assert small < large
    inputs = prepare(place, START, f"limits.params.max={large - 1}")
    searcher, queue = begin(folder, inputs)
    searcher.prime()
    next(trials(searcher))  # writes the table, which takes in refused ones at most once a second
    rejected = [row for row in load_recorder(folder, inputs).rows if row["status"] == "rejected"]
    assert [row["candidate_id"] for row in rejected] == [queue[2].candidate.candidate_id]
    assert "params" in rejected[0]["reason"]
    _, rest = begin(folder, inputs)
    assert queue[2] not in rest


def test_a_start_point_without_any_loss_is_told_with_its_place(folder: Path, place: Path) -> None:
    # no fusion layer: nothing feeds the caption loss, which was the only one
    only_lm = ["losses.itc.weight=0", "student.fusion.layers={choice: [0, 1], default: 1}"]
    start = "search.start=[{}, {student.fusion.layers: 0}]"
    with pytest.raises(SpaceError) as caught:
        begin(folder, prepare(place, *only_lm, start))
    assert str(caught.value).startswith(
        f"--set {start}, search.start: start point 2 is no candidate: losses: got weight 0"
    )


EARLIER = [
    Trained(values={LM: 0.11}, retention=[10.0, 20.0, 30.0], params=100),
    Trained(values={LM: 0.12}, retention=[20.0, 40.0, 60.0], params=200),
    Trained(values={LM: 0.13}, retention=[15.0], params=250, status="stopped"),
    Trained(values={WIDTH: "0.5x"}, retention=[30.0, 50.0, 70.0], params=400),
    Trained(values={LM: 0.9}, retention=[], params=80, status="oom"),
]
Warm = Callable[..., Path]


class Listener(Proposer):
    """Proposes at random and keeps what it was told last of each candidate."""

    def prepare(self) -> None:
        self.known: dict[tuple[Any, Any], tuple[int, Outcome]] = {}
        self.proposed = 0

    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        self.proposed += 1
        return self.draw(index)

    def observe(self, index: int, values: Values, outcome: Outcome) -> None:
        self.known[values[LM], values[WIDTH]] = (index, outcome)


def listen(
    folder: Path, inputs: Inputs, recorder: Recorder | None = None
) -> tuple[Listener, CandidateSearcher]:
    """Begin a session with a listener as its proposer."""
    recorder = recorder or load_recorder(folder, inputs)
    admissions, space = open_admissions(inputs, folder, recorder), inputs.space
    listener = Listener(None, space.domains(), seed=space.search.seed, objectives=space.objectives)
    return listener, CandidateSearcher(listener, admissions, plan=plan_search(inputs, recorder, admissions))


@pytest.fixture
def warm(tmp_path: Path, place: Path) -> Warm:
    """Return a function that makes the folder of a new run which takes over what an earlier one has measured."""

    def make(inputs: Inputs, seed: int = 0) -> Path:
        earlier = write_run(tmp_path / "earlier", prepare(place, f"search.seed={seed}"), EARLIER)
        folder = write_folder(tmp_path / "warm")
        write_earlier(folder, read_runs([earlier], inputs))
        return folder

    return make


def test_a_warm_start_hands_out_the_front_after_the_start_points(warm: Warm, place: Path) -> None:
    inputs = prepare(place, START, "search.seed=1", "search.trials=20")
    folder = warm(inputs)
    _, queue = begin(folder, inputs)
    assert values_of(queue[1:]) == [{}, *POINTS, {LM: 0.11}, {LM: 0.12}]  # 0.5x is a start point already
    assert not load_recorder(folder, inputs).rows  # nothing of the earlier run is a row of this one


def test_with_the_same_seed_the_front_is_trained_again_under_the_same_ids(warm: Warm, place: Path) -> None:
    inputs = prepare(place, "search.trials=20")
    folder = warm(inputs)
    searcher, _ = begin(folder, inputs)
    searcher.prime()
    found = [config["candidate_id"] for _, config in trials(searcher)]
    ids = {
        inputs.space.build({**DEFAULTS, **one.values}, inputs.students, 0).candidate_id for one in EARLIER[:2]
    }
    assert ids < set(found)
    assert len(set(found)) == len(found) == 1 + 20


def test_the_searcher_knows_everything_before_its_first_proposal(warm: Warm, place: Path) -> None:
    inputs = prepare(place, "search.seed=1", "search.trials=20")
    listener, _ = listen(warm(inputs), inputs)
    assert listener.known.keys() == {
        (one.values.get(LM, 0.3), one.values.get(WIDTH, "0.25x")) for one in EARLIER
    }
    assert {index for index, _ in listener.known.values()} == {-1}
    states = {lm: outcome.state for (lm, _), (_, outcome) in listener.known.items()}
    assert states == {0.11: "measured", 0.12: "measured", 0.13: "measured", 0.3: "measured", 0.9: "failed"}
    stopped = listener.known[0.13, "0.25x"][1]
    assert [(row["epoch"], row["retention"]) for row in stopped.rows] == [(1, 15.0)]
    assert stopped.full_epochs == 3
    assert listener.proposed == 0


def test_what_breaks_a_new_limit_is_refused_to_the_searcher_and_in_the_table(warm: Warm, place: Path) -> None:
    inputs = prepare(place, "search.seed=1", "search.trials=20", "limits.params.max=300")
    folder = warm(inputs)
    recorder = load_recorder(folder, inputs)
    listener, searcher = listen(folder, inputs, recorder)
    assert listener.known[0.3, "0.5x"][1].state == "refused"  # it had 400 params by the earlier table
    assert listener.known[0.12, "0.25x"][1].state == "measured"
    with pytest.raises(LimitError, match="params <= 300"):
        searcher.prime()  # measured now, no student at all is as small as that table says
    recorder.write()  # on its own it writes once a second
    rejected = [row for row in load_recorder(folder, inputs).rows if row["status"] == "rejected"]
    ids = [
        inputs.space.build({**DEFAULTS, **one.values}, inputs.students, 1).candidate_id for one in EARLIER[:2]
    ]
    assert set(ids) <= {row["candidate_id"] for row in rejected}
    assert all("params" in row["reason"] for row in rejected)


@pytest.mark.parametrize("kind", ["random", "hyperopt"])
def test_a_warm_started_run_goes_on_identically_when_the_earlier_one_is_gone(
    kind: str, warm: Warm, place: Path, tmp_path: Path
) -> None:
    inputs = prepare(place, f"search.searcher={{kind: {kind}}}", "search.seed=1", "search.trials=16")
    folder = warm(inputs)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    shutil.rmtree(tmp_path / "earlier")

    def session(run: Path, stop_after: int) -> list[str]:
        recorder = load_recorder(run, inputs)
        searcher, _ = begin(run, inputs, recorder)
        searcher.prime()
        done = []
        for trial, config in trials(searcher):
            one = config["candidate_id"]
            done.append(one)
            retention = float(40 + int(one, 16) % 40)
            row = {"candidate_id": one, "epoch": 3, "status": "finished", "retention": retention}
            recorder.record_epoch(row)
            recorder.finish(one, "finished")
            costs = json.loads(Path(config["job"]).read_text())["costs"]
            searcher.on_trial_complete(trial, {**costs, **row})
            if len(done) == stop_after:
                break
        recorder.close()
        return done

    whole = session(folder, 99)
    assert len(whole) == 1 + 16
    assert session(other, 6) + session(other, 5) + session(other, 99) == whole


@pytest.mark.timeout(120)
def test_nested_start_points_end_under_hyperopt(folder: Path, place: Path) -> None:
    # Ray's HyperOptSearch never returns from such points, at 100 % CPU
    nested = "search.start=[{student: {image: {width: 0.5x, depth: 3}, fusion: {layers: 0}}, losses: {lm: {weight: 0}}}, {}]"
    hyperopt = "search.searcher={kind: hyperopt}"
    searcher, queue = begin(folder, prepare(place, nested, hyperopt, "search.trials=24"))
    searcher.prime()
    found = []
    for trial, config in trials(searcher):
        found.append(config["candidate_id"])
        finish(searcher, trial, config)
    assert found[: len(queue)] == [one.candidate.candidate_id for one in queue]
    assert len(found) == len(set(found)) == 1 + 24


def test_rays_wrapper_of_hyperopt_is_not_reachable() -> None:
    imported = {
        (dotted(path), name)
        for path in modules(*ROOMS)
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    }
    assert ("search.candidates.candidate_searcher", "ray.tune.search") in imported  # the search finds imports
    assert not [
        where
        for where, name in imported
        if "HyperOptSearch" in name or name.startswith("ray.tune.search.hyper")
    ]


STOCK = "baselines={stock: {kind: blip, image: {width: 0.5x, depth: 4}, text: {width: 0.5x, depth: 2}, fusion: {layers: 1}}}"


def test_baselines_are_trained_along_whatever_the_limits_say_and_count_as_no_trial(
    folder: Path, place: Path
) -> None:
    inputs = prepare(place, STOCK, "limits.params.max=400000")
    searcher, queue = begin(folder, inputs)
    stock = queue[1].candidate
    assert (stock.role, stock.config["baseline"], stock.config["student"]["image"]["depth"]) == (
        "baseline",
        "stock",
        4,
    )
    assert stock.config["losses"] == queue[2].candidate.config["losses"]  # the default candidate's
    roles = [config["role"] for _, config in trials(searcher)]
    assert roles.count("baseline") == 1
    assert roles.count("search") == 6
    known = {row["candidate_id"]: row for row in load_recorder(folder, inputs).rows}
    assert known[stock.candidate_id]["role"] == "baseline"
    assert known[stock.candidate_id]["params"] > 400_000


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "{stock: {kind: bilp}}",
            r"baselines.stock: families: no plug-in is called 'bilp'. Did you mean 'blip'",
        ),
        ("{stock: {kind: blip}}", r"baselines.stock.image: is missing"),
        (
            "{stock: {kind: blip, image: {width: 50, depth: 1, heads: 7}, text: {width: 0.5x, depth: 1}, fusion: {layers: 1}}}",
            r"baselines.stock: is no student: student.image.heads: got 7 with width 50",
        ),
        (
            "{'': {kind: blip, image: {width: 0.5x, depth: 1}, text: {width: 0.5x, depth: 1}, fusion: {layers: 1}}}",
            r"got no name",
        ),
    ],
    ids=["kind", "option", "sizes", "name"],
)
def test_a_baseline_that_cannot_be_is_told_with_its_place(
    folder: Path, place: Path, section: str, said: str
) -> None:
    with pytest.raises(SpaceError, match=said):
        prepare(place, f"baselines={section}")  # before there is a run


def test_baselines_without_a_default_candidate_are_refused(place: Path) -> None:
    with pytest.raises(
        SpaceError, match=r"but training\.lr has no default; allowed: .* Add `default: \.\.\.`"
    ):
        prepare(place, STOCK, "training.lr={log: [1e-4, 1e-2]}")
    image = "{width: {choice: [50, 0.5x], default: 50}, depth: 1, heads: {choice: [7, 1], default: 7}}"
    with pytest.raises(
        SpaceError, match=r"but the defaults are no candidate: student\.image\.heads: got 7.* Change"
    ):
        prepare(place, STOCK, f"student.image={image}")
