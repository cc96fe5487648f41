"""What the driver of a search spends on an event, and how much memory it takes, as a run grows.

    python tests/benchmarks/driver_events.py [--trials 100,1000,10000] [--searcher hyperopt] [--set search.scheduler.kind=asha]
        [--seconds 1] [--json FILE] [--profile]

An event is a proposal, an epoch, or the end of a candidate, told as Ray Tune tells it: to the searcher, the scheduler and
the callback that keeps the run folder, all of them those of a search. Neither Ray nor a training takes part: candidates are
points of `spaces/dlip.yaml` with drawn learning curves, admitted unmeasured. The clock tells `--seconds` more at each event:
what is done now and then, by the clock, comes as often as in a search that trains. Each size is a process of its own; the
figures are those of the last fifth of the candidates, at least 100 (milliseconds of CPU time and of wall time per event), and
of memory at the end. The mean holds its part of what is rewritten whole now and then, the median (`_middle_`) does not.
"""

import argparse
import cProfile
import json
import math
import os
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PARTS = 5  # the cost of an event is taken over the last of so many parts of the candidates
LEAST = 100  # of them at least
KINDS = ("proposal", "epoch", "end")


def memory_mib() -> float:
    """Return the memory of this process, shared pages in proportion."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


class Driver:
    """All of a session that hears of events, without what trains."""

    def __init__(self, folder: Path, settings: list[str], seconds: float) -> None:
        self.set_clock(seconds)  # before those are imported whose default clock it is
        from search.candidates.candidate_searcher import CandidateSearcher
        from search.candidates.search_plan import SearchPlan
        from search.inputs.plugins import make_proposer, make_scheduler
        from search.reporting.progress import Progress
        from search.run_folder.facts import RunFacts
        from search.run_folder.kept_weights import Fronts, KeptWeights
        from search.run_folder.recorder import Recorder
        from search.stopping.hypervolume import growth_of
        from search.stopping.stop_rules import StopRules
        from search.stopping.time_used import TimeUsed
        from search.tune import tune_callback
        from spaces.load import load_space
        from trainables.training import checkpoint  # noqa: F401  # torch, which a driver holds from the beginning

        tune_callback.Gauges = lambda quality: SimpleNamespace(  # type: ignore[assignment,misc]  # they need a running Ray
            show_epoch=lambda *_: None, show_end=lambda *_: None, show_run=lambda *_: None
        )
        space = load_space(ROOT / "spaces/dlip.yaml", settings)
        self.epochs, self.trained = 3, 0
        self.metrics = (
            "retention",
            "accuracy",
            "mean_recall",
            *(f"{way}_at_{k}" for way in ("tr", "ir") for k in (1, 5, 10)),
        )
        self.recorder = Recorder(folder, metric_names=self.metrics, loss_names=sorted(space.losses))
        self.scheduler = make_scheduler(space, folder)
        used = TimeUsed({}, lambda: self.recorder.trained_s)
        used.open(workers=1, cpus=1, gpus=0)
        teacher = {"params": 3e6, "flops": 3e8, "latency_ms": 30.0, "retention": 100.0}
        self.rules = StopRules(space.search.stop, used=used, growth=growth_of(space.objectives, teacher, []))
        facts = RunFacts(folder, {"objectives": dict(space.objectives), "sessions": []})
        self.weights = KeptWeights(folder, Fronts("retention", maximise=True), keep="fronts", say=print)
        self.searcher = CandidateSearcher(
            make_proposer(space),
            Admissions(self.recorder, folder),
            plan=SearchPlan(trials=10**9),
            stopped=self.scheduler.has_stopped,
        )

        def on_end(row: Any) -> None:
            self.rules.note_end(row)
            facts.note_now_and_then(self.rules.so_far)

        watched = tune_callback.Watched(
            scheduler=self.scheduler,
            rules=self.rules,
            progress=Progress(None),
            quality="retention",
            trials=lambda: 10_000,
            slots=lambda: 1,
            watchdog=None,
            weights=self.weights,
            on_end=on_end,
        )
        self.callback = tune_callback.RunCallback(self.recorder, watched)
        self.trials: list[Any] = []
        self.spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}

    def set_clock(self, seconds: float) -> None:
        """Let the clock of this process tell what passes between events, too."""
        real, self.passed, self.seconds = time.monotonic, 0.0, seconds
        time.monotonic = lambda: real() + self.passed

    def timed(self, kind: str, call: Any) -> Any:
        """Call, some seconds after the last one, and add what it took."""
        self.passed += self.seconds
        cpu, wall = time.process_time(), time.perf_counter()
        found = call()
        self.spent[kind].append((time.process_time() - cpu, time.perf_counter() - wall))
        return found

    def train(self) -> None:
        """Let one candidate come and go."""
        name = f"t{self.trained}"
        self.trained += 1
        config = self.timed("proposal", lambda: self.searcher.suggest(name))
        trial = SimpleNamespace(config=config, status="RUNNING", trial_id=name, get_error=lambda: None)
        self.trials.append(trial)
        rng = random.Random(f"curve of {config['candidate_id']}")
        best = 60 * config["costs"]["params"] ** 0.02 * rng.uniform(0.8, 1.1)
        for epoch in range(1, self.epochs + 1):
            row = self.row(config, epoch, best * (1 - 0.6**epoch), rng)
            if (
                self.timed("epoch", lambda row=row, trial=trial: self.epoch(name, trial, row)) == "STOP"
                or epoch == self.epochs
            ):
                self.timed("end", lambda row=row, trial=trial: self.end(name, trial, row))
                return

    def row(self, config: Any, epoch: int, quality: float, rng: random.Random) -> dict[str, Any]:
        """Return a row as a worker tells it."""
        return {
            "candidate_id": config["candidate_id"],
            "epoch": epoch,
            "status": "finished" if epoch == self.epochs else "running",
            **config["costs"],
            **{name: quality * rng.uniform(0.9, 1.1) for name in self.metrics},
            "retention": quality,
            **dict.fromkeys(("loss", "loss_itc", "loss_lm", "lr", "epoch_s", "peak_mib", "time"), 1.0),
            "wall_s": float(epoch),
            "cpu_s": float(epoch),
        }

    def epoch(self, name: str, trial: Any, row: dict[str, Any]) -> str:
        """Tell an epoch in Ray Tune's order: scheduler, searcher, callback."""
        verdict = self.scheduler.on_trial_result(None, trial, row)
        self.searcher.on_trial_result(name, row)
        self.callback.on_trial_result(self.trained, self.trials, trial, row)
        self.callback.on_step_end(self.trained, self.trials)
        return str(verdict)

    def end(self, name: str, trial: Any, row: dict[str, Any]) -> None:
        """Tell the end of a trial."""
        self.searcher.on_trial_complete(name, row)
        self.callback.on_trial_complete(self.trained, self.trials, trial)
        self.callback.on_step_end(self.trained, self.trials)


class Admissions:
    """Makes candidates of values, and their costs of chance."""

    def __init__(self, recorder: Any, folder: Path) -> None:
        self.recorder, self.folder = recorder, folder

    def build(self, values: Any, index: int) -> Any:
        from search.proposal import Proposal
        from spaces.candidate import Candidate

        losses = {
            path.split(".")[1]: {"weight": float(one)}
            for path, one in values.items()
            if path.endswith(".weight")
        }
        config = {
            "student": {
                "kind": "blip",
                **{path: one for path, one in values.items() if path.startswith("student")},
            },
            "losses": {"itc": {"weight": 1.0}, **losses},
            "training": {
                "epochs": 3,
                **{path: one for path, one in values.items() if path.startswith("training")},
            },
            "tasks": ["retrieval"],
        }
        return Proposal(candidate=Candidate.of(config, 0), index=index, values=dict(values))

    def admit(self, candidate: Any) -> Any:
        from search.proposal import Admitted

        rng = random.Random(candidate.candidate_id)
        params = int(math.exp(rng.uniform(math.log(5e4), math.log(2e6))))
        costs = {
            "params": params,
            "flops": int(params * rng.uniform(50, 150)),
            "latency_ms": params**0.5 / 100 * rng.uniform(0.8, 1.2),
        }
        return Admitted(costs={**costs, "latency_spread_ms": 0.1, "size_mib": params * 4 / 2**20})

    def violation(self, costs: Any) -> float:
        return 0.0

    def trial_config(self, proposal: Any, admitted: Any) -> dict[str, Any]:
        self.recorder.add_running(proposal, admitted)
        return {
            "candidate_id": proposal.candidate.candidate_id,
            "role": "search",
            "costs": dict(admitted.costs),
        }

    def on_rejected(self, proposal: Any, rejected: Any) -> None:
        self.recorder.add_rejected(proposal, rejected)


def measure(trials: int, settings: list[str], *, seconds: float, profile: bool) -> dict[str, Any]:
    """Return the figures of one size."""
    last = max(trials // PARTS, LEAST)
    with tempfile.TemporaryDirectory() as place:
        driver = Driver(Path(place), settings, seconds)
        before = memory_mib()
        for _ in range(trials - last):
            driver.train()
        driver.spent = {kind: [] for kind in KINDS}
        watch = cProfile.Profile()
        if profile:
            watch.enable()
        for _ in range(last):
            driver.train()
        watch.disable()
        if profile:
            pstats.Stats(watch, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
        figures = {
            "trials": trials,
            "memory_mib": memory_mib(),
            "grown_mib": memory_mib() - before,
            "disk_mib": sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file()) / 2**20,
            **{
                f"{kind}_cpu_ms": 1e3 * statistics.mean(cpu for cpu, _ in driver.spent[kind])
                for kind in KINDS
            },
            **{
                f"{kind}_middle_cpu_ms": 1e3 * statistics.median(cpu for cpu, _ in driver.spent[kind])
                for kind in KINDS
            },
            **{
                f"{kind}_wall_ms": 1e3 * statistics.mean(wall for _, wall in driver.spent[kind])
                for kind in KINDS
            },
        }
        driver.weights.close()
        return figures


def main() -> None:
    """Measure each size in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description="Cost of an event and memory of the driver as a run grows.")
    parser.add_argument("--trials", default="100,1000,10000")
    parser.add_argument("--searcher", default="hyperopt")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--one", type=int)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    settings = [f"search.searcher.kind={options.searcher}", *options.set]
    if options.one:
        print(json.dumps(measure(options.one, settings, seconds=options.seconds, profile=options.profile)))
        return
    rows = []
    for trials in map(int, options.trials.split(",")):
        command = [sys.executable, __file__, "--one", str(trials), "--searcher", options.searcher]
        command += ["--seconds", str(options.seconds), *(f"--set={setting}" for setting in options.set)]
        done = subprocess.run(
            [*command, *["--profile"] * options.profile],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if done.returncode or options.profile:
            print(done.stderr, file=sys.stderr)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print("  ".join(f"{name} {value:.2f}" for name, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
