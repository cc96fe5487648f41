"""The whole search on one page: prepare, plan, run under Ray Tune, conclude, report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from analysis.report import draw_pngs, draw_report
from analysis.table import METRICS
from search import cluster
from search.busy import BusyMeter
from search.candidates import plan_search
from search.desk import ExperimentDesk
from search.experience import Experience, write_experience
from search.finalists import conclude, finished_count
from search.hypervolume import Growth, TeacherBox
from search.interrupt import Interrupt, SearchStopper
from search.preparation import Prepared, Say
from search.progress import Progress
from search.recorder import Recorder
from search.run_folder import first_facts, read_facts, stamp, write_facts, write_space
from search.schedulers import SCHEDULERS
from search.schedulers.base import RungConfig, RungScheduler
from search.searchers import SEARCHERS
from search.searchers.candidate_searcher import CandidateSearcher
from search.stop_rules import GROWS, INTERRUPTED, Ending, StopRules
from search.usage import Usage
from spaces.errors import PluginError
from spaces.plugins import resolve
from spaces.schema import Space
from trainables.trial import Launch, run_trial

NOTICE = "stopping: results are kept, the report is drawn; once more to quit at once"
RESTARTS = 1  # of a trial whose process was lost; it continues from its checkpoint
BROKEN_OFF = Ending(ended_by="failed", reason="Ray Tune ended before the search did")


class Output(Protocol):
    """Where progress lines go."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command line decides beside the space.

    Attributes:
        address: of a running cluster; None starts Ray on this machine.
        always_train: run even one worker through Ray Train.
        resume: the folder holds a run to go on with.
        stream: for the progress line.
        notes: sentences about defaults and changes, kept in run.json.
        experience: what earlier runs have measured; None where none is named, and on a resume.
    """

    address: str | None
    always_train: bool
    resume: bool
    stream: Any
    notes: dict[str, Any] = field(default_factory=dict)
    experience: Experience | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a search ended: exit code, report, and what ended it."""

    code: int
    report: Path
    ending: Ending


def rungs_of(space: Space) -> tuple[int, ...]:
    """Return the rungs below full fidelity."""
    return _rung_config(space).rungs


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _rung_config(space: Space) -> RungConfig:
    kind: type[RungScheduler] = resolve(SCHEDULERS, space.search.scheduler.kind, "schedulers")
    return kind.Config(**_tuples(space.search.scheduler.options)).below(space.training.epochs)


def _scheduler(space: Space, folder: Path) -> RungScheduler:
    kind: type[RungScheduler] = resolve(SCHEDULERS, space.search.scheduler.kind, "schedulers")
    return kind(_rung_config(space), space.objectives, folder=folder, seed=space.search.seed)


def _proposer(space: Space) -> Any:
    kind = resolve(SEARCHERS, space.search.searcher.kind, "searchers")
    config = kind.Config(**_tuples(space.search.searcher.options))
    return kind(
        config,
        space.domains(),
        seed=space.search.seed,
        objectives=space.objectives,
        conditions=space.conditions(),
    )


class Experiment:
    """One session of one run."""

    def __init__(self, prepared: Prepared, folder: Path, options: Options, *, say: Say) -> None:
        """Take a prepared space and a run folder.

        Args:
            prepared: checked space, teacher and data.
            folder: the run folder, new or to be resumed.
            options: what the command line decided.
            say: takes a line for the user.
        """
        self.prepared, self.space, self.options, self.say = prepared, prepared.space, options, say
        self.folder, self._named = folder.absolute(), folder
        self.facts = read_facts(folder) if options.resume else first_facts(self.space)
        make = Recorder.load if options.resume else Recorder
        self.recorder = make(self.folder, metric_names=METRICS, loss_names=sorted(self.space.losses))
        self.usage = Usage(self.facts, lambda: self.recorder.rows)
        self.scheduler = _scheduler(self.space, self.folder)
        self.desk = ExperimentDesk(
            self.prepared, self.recorder, folder=self.folder, rungs=rungs_of(self.space)
        )

    def run(self) -> Outcome:
        """Search until a rule ends it, then draw the report; every result is kept whatever happens.

        Raises:
            StudentSearchError: the cluster cannot take a trial, or no candidate meets the limits.
        """
        interrupt = Interrupt(notice=NOTICE)
        with BusyMeter() as meter:
            # until the first trial there is nothing to end in good order: Ctrl-C simply quits, --resume goes on
            self._write_down()
            rules = StopRules(
                self.space.search.stop,
                usage=self.usage,
                growth=self._growth_so_far(),
                interrupted=lambda: interrupt.requested,
            )
            searcher = self._line_up(rules)
            cache = self.prepared.build_teacher_cache()
            with interrupt:
                ending = self._search_and_keep(searcher, rules, cache=cache)
                if not interrupt.requested:
                    self.say(f"the search ended ({ending.ended_by.replace('_', ' ')}): {ending.reason}")
                    conclude(self.prepared, self.recorder, self.facts, folder=self.folder, say=self.say)
                ending = INTERRUPTED if interrupt.requested else ending
                direction = self.space.objectives[self.space.quality]
                self.recorder.mark_fronts(self.space.quality, maximise=direction == "max")
                self.facts |= {"ended_by": ending.ended_by, "ended_reason": ending.reason}
                self.facts["resume_with"] = ending.more
                self._save_facts(ended=stamp(), busy=meter.summary(), **rules.to_dict())
                report = draw_report(self._named)  # commands in it name the folder as the user does
        pictures = (
            draw_pngs(self.folder) if not interrupt.requested else "no pictures after an interrupted search"
        )
        self.say(
            pictures if isinstance(pictures, str) else f"pictures: {', '.join(p.name for p in pictures)}"
        )
        found = finished_count(self.recorder) and ending.ended_by != "failures"
        code = interrupt.exit_code if interrupt.requested else 0 if found else 1
        return Outcome(code=code, report=report, ending=ending)

    def _line_up(self, rules: StopRules) -> CandidateSearcher:
        """Return the searcher with its first candidate, before anything that takes long: limits may admit none."""
        self.scheduler.refill(self.recorder.result_rows())
        searcher = CandidateSearcher(
            _proposer(self.space),
            self.desk,
            plan=plan_search(self.prepared, self.recorder, self.desk),
            ending=lambda: rules.ending,
        )
        try:
            searcher.prime()
        finally:
            self.recorder.write()  # what was refused is in the table, even where nothing is admitted
        return searcher

    def _search_and_keep(self, searcher: CandidateSearcher, rules: StopRules, *, cache: str) -> Ending:
        """Run the trials; whatever ends them, the tables are complete. Return why there are no more."""
        try:
            return self._search(searcher, rules, cache=cache)
        except BaseException as error:
            told = str(error).strip().splitlines()
            by = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.facts |= {"ended_by": by, "ended_reason": told[0] if told else type(error).__name__}
            raise
        finally:
            self.recorder.close()
            self._save_facts(ended=stamp(), **rules.to_dict())

    def _growth_so_far(self) -> Growth:
        """Return the hypervolume of earlier sessions, grown in the order in which their candidates ended."""
        figures = {**self.facts["teacher"], **self.prepared.report.metrics}
        whole = {"retention": 100.0, "retention_above_blind": 100.0}
        growth = Growth(TeacherBox(self.space.objectives, {**whole, **figures}), self.space.objectives)
        ended = [
            self.recorder.row(past.proposal.candidate.candidate_id)
            for past in self.recorder.past()
            if past.status in GROWS
        ]
        for row in ended:
            if row["role"] == "search":
                growth.add(row)
        return growth

    def _write_down(self) -> None:
        """Write what is known before the first trial, so that an early end can be resumed."""
        if self.options.resume:
            self.facts["resumed"] = [*self.facts.get("resumed", []), stamp()]
        if self.options.experience:  # before all that makes a resume possible, which must not go without it
            write_experience(self.folder, self.options.experience)
            self.facts["warm_start"] = [dict(source) for source in self.options.experience.sources]
        write_space(self.folder, self.space)
        self.recorder.write()
        report, files = self.prepared.report, self.prepared.teacher.files
        self.facts["teacher"] = {
            "name": self.space.teacher,
            "fingerprint": files.fingerprint,
            "params": report.static.params,
            "flops": report.static.flops,
            "size_mib": report.static.size_mib,
            "latency_ms": report.latency.latency_ms,
            "latency": report.latency.to_dict(),
            "metrics": report.metrics,
            "test_metrics": report.test_metrics,
        }
        self.facts["dataset"] = {
            "kind": self.space.dataset.kind,
            "fingerprint": self.prepared.dataset.fingerprint,
            "description": self.prepared.dataset.describe(),
        }
        self.facts["rungs"] = [*rungs_of(self.space), self.space.training.epochs]
        self.facts["defaults"] = {**self.facts.get("defaults", {}), **self.options.notes}
        self._save_facts(ended=None, ended_by=None, ended_reason=None)

    def _save_facts(self, **facts: Any) -> None:
        self.facts.update(facts)
        write_facts(self.folder, self.facts)

    def _search(self, searcher: CandidateSearcher, rules: StopRules, *, cache: str) -> Ending:
        """Run the trials; return why there are no more."""
        dashboard = cluster.connect(self.options.address)
        cluster.check_shared_storage(self.folder)
        wanted = self.space.resources
        found = cluster.resources(
            workers=wanted.workers_per_trial, cpus=wanted.cpus_per_worker, gpus=wanted.gpus_per_worker
        )
        nested = self.options.always_train or found.workers > 1
        launch: dict[str, Any] = {
            "nested": nested,
            "workers": found.workers,
            "cpus": found.cpus,
            "gpus": found.gpus,
        }
        for line in [found.describe(), *dashboard]:
            self.say(line)
        self.desk.open(cache=cache, launch=launch)
        self.usage.open(workers=found.workers, cpus=found.cpus, gpus=found.gpus)
        self.say(f"prepared in {self.usage.session_s:.0f} s; {searcher.trials} candidates to try")
        self._tune(searcher, rules, launch=Launch(**launch, storage="", log=""), slots=found.slots)
        return rules.conclusion(searcher.ended, unfinished=bool(self.recorder.unfinished())) or BROKEN_OFF

    def _tune(self, searcher: CandidateSearcher, rules: StopRules, *, launch: Launch, slots: int) -> None:
        from search.tune_callback import RunCallback, Session  # its gauges want a running Ray

        def on_end(row: Mapping[str, Any]) -> None:
            rules.note_end(row)
            self._save_facts(**rules.to_dict())  # a session that is killed later has told what it used

        progress = Progress(self.options.stream)
        session = Session(
            progress=progress,
            objectives=self.space.objectives,
            trials=lambda: searcher.trials,
            slots=slots,
            nested=launch.nested,
            rules=rules,
            on_end=on_end,
        )
        callback = RunCallback(self.recorder, self.scheduler, session=session)
        tuner = tune.Tuner(
            tune.with_resources(run_trial, launch.resources()),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=self.scheduler,
                num_samples=-1,
                reuse_actors=True,  # a nested trial's actor keeps its workers, too
                # a trial of one worker is bounded by its CPU; the driver of a nested one takes next to nothing
                max_concurrent_trials=slots if launch.nested else None,
                trial_name_creator=lambda trial: str(trial.config["candidate_id"]),
                trial_dirname_creator=lambda trial: str(trial.config["candidate_id"]),
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(self.folder),
                callbacks=[callback],
                stop=SearchStopper(rules.over),
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
            callback.settle()
        finally:
            progress.close(callback.tally())


def check_fidelity(space: Space) -> None:
    """Refuse rungs that leave nothing to stop early, where the file asks for early stopping.

    Raises:
        PluginError: all rungs lie at or above the last epoch.
    """
    asked = space.search.scheduler.options.get("rungs", (1, 3))
    if asked and not rungs_of(space) and space.training.epochs > 1:
        raise PluginError(
            f"{space.place('search.scheduler.rungs')}: got {list(asked)} with training.epochs {space.training.epochs}; "
            "allowed: at least one rung below the last epoch, or []. Lower a rung."
        )
