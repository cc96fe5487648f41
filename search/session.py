"""The whole search on one page: line up, run under Ray Tune, conclude, report."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.tune import Callback

from search.candidates.admissions import StudentAdmissions
from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.first_candidates import plan_search
from search.candidates.packing import Packing, choose_packing
from search.inputs.inputs import Inputs
from search.inputs.plugins import make_proposer, make_scheduler, rungs_of
from search.inputs.teacher_cache import fill_evaluation_caches, fill_teacher_caches
from search.inputs.teacher_figures import Say
from search.reporting.conclusion import finished_count
from search.reporting.finish import Finish
from search.reporting.json_lines import JsonLines, progress_fields
from search.reporting.progress import Progress, Tally
from search.run_folder.facts import RunFacts, first_facts, read_facts, write_space
from search.run_folder.kept_weights import Fronts, KeptWeights
from search.run_folder.provenance import code_changes, session_now, stamp
from search.run_folder.recorder import Recorder
from search.run_folder.warm_start_file import EarlierResults, write_earlier
from search.stopping.hypervolume import Growth, growth_of
from search.stopping.interrupt import Interrupt
from search.stopping.stop_rules import INTERRUPTED, Ending, StopRules
from search.stopping.time_used import TimeUsed
from search.tune import cluster
from search.tune.capacity import Capacity, gpu_kinds
from search.tune.groups import Watchdog
from search.tune.shared import check_copies, check_seen
from search.tune.tune_callback import RunCallback, Watched
from search.tune.tuner import Guarded, make_tuner, mend_tune
from spaces.arms import ablation_facts
from spaces.errors import InputsChanged, StorageError
from spaces.interruption import shielded
from trainables.datasets.cache_folder import storage
from trainables.datasets.node_copies import node_copies
from trainables.trial import Launch, driver_share
from trainables.worker_group import release

NOTICE = "stopping: results are kept, the report is drawn; once more to quit at once"
RETRIED = ("crashed", "oom")  # an error of a machine's, often; what diverged or collapsed would do so again
BROKEN_OFF = Ending(ended_by="failed", reason="Ray Tune ended before the search did")


def retried(candidates: Sequence[str]) -> str:
    """Return what is said of --retry-failed."""
    if not candidates:
        return "--retry-failed: no candidate of the run has crashed or run out of memory"
    return f"--retry-failed: {len(candidates)} that had crashed or run out of memory go on: {', '.join(candidates)}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command line decides beside the space.

    Attributes:
        address: of a running cluster; None starts Ray on this machine.
        always_train: run even one worker through Ray Train.
        resume: the folder holds a run to go on with.
        stream: for the progress line.
        notes: sentences about defaults and changes, kept in run.json.
        earlier: what earlier runs have measured; None where none is named, and on a resume.
        callbacks: the user's own; one that raises is told, and the search goes on.
        retry_failed: of a run to go on with, train again what crashed or ran out of memory.
        events: tells a program that has started this one.
        command: see `Request`.
    """

    address: str | None
    always_train: bool
    resume: bool
    stream: TextIO | None
    notes: Mapping[str, Any] = field(default_factory=dict)
    earlier: EarlierResults | None = None
    callbacks: Sequence[Callback] = ()
    retry_failed: bool = False
    events: JsonLines | None = None
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a search ended: exit code, run folder, report, what ended it, and what was left out after that, in words."""

    code: int
    folder: Path
    report: Path
    ending: Ending
    cut: str = ""


class Session:
    """One session of one run."""

    def __init__(self, inputs: Inputs, folder: Path, options: Options, *, say: Say) -> None:
        """Open the files of a run.

        Args:
            inputs: checked space, teacher and data.
            folder: the run folder, new or to be resumed.
            options: what the command line decided.
            say: takes a line for the user.

        Raises:
            StudentSearchError: the teacher can do nothing on this data, or a file of the run is damaged.
        """
        self.inputs, self.space, self.options, self.say = inputs, inputs.space, options, say
        self.folder, self._named = folder.absolute(), folder
        known = read_facts(folder) if options.resume else first_facts(self.space, options.command)
        self.facts = RunFacts(self.folder, known)
        self.time = TimeUsed(known, lambda: self.recorder.trained_s)
        open_tables = Recorder.load if options.resume else Recorder
        losses = sorted(self.space.losses)
        self.recorder = open_tables(self.folder, metric_names=inputs.metrics, loss_names=losses)
        if options.retry_failed:
            self.say(retried(self.recorder.reopen(RETRIED)))
        quality = self.space.quality
        fronts = Fronts(quality, maximise=self.space.objectives[quality] == "max")
        self.weights = KeptWeights(self.folder, fronts, keep=self.space.checkpoints.keep, say=say)
        self.scheduler = make_scheduler(self.space, self.folder)
        rungs = rungs_of(self.space)
        self.admissions = StudentAdmissions(inputs, self.recorder, folder=self.folder, rungs=rungs)
        self._packing: Packing | None = None  # where trials are to share GPUs

    def run(self) -> Outcome:
        """Search until a rule ends it, then draw the report; every result is kept whatever happens.

        Raises:
            StudentSearchError: the cluster cannot take a trial, or no candidate meets the limits.
        """
        interrupt = Interrupt(notice=NOTICE)
        if self.inputs.elsewhere is not None:
            check_seen({"--out": self.folder})
        check_copies()
        # until the first trial there is nothing to end in good order: a signal simply quits, --resume goes on
        self._write_down()
        rules = StopRules(
            self.space.search.stop,
            used=self.time,
            growth=self._growth(),
            interrupted=lambda: interrupt.requested,
        )
        searcher = self._line_up(rules)
        self.admissions.measure_ahead()  # beside what follows
        caches = fill_teacher_caches(self.inputs)
        self.admissions.caches, self.admissions.held_out = caches, fill_evaluation_caches(self.inputs)
        if self.space.resources.packs:
            self._packing = choose_packing(self.inputs, self.admissions, kinds=gpu_kinds())
            self.say(self._packing.describe())
            self.facts.note(gpu_packing=self._packing.to_dict())
        elif self.facts.known.get("gpu_packing"):  # of the session before
            self.facts.note(gpu_packing=None)
        with interrupt:
            end = Finish(self.folder, self._named, interrupt, say=self.say)
            try:
                ending = self._search_and_keep(searcher, rules, caches=caches)
            except BaseException as error:
                end.failed(error)
                raise
            self.inputs.latencies.close()  # finalists are measured while nothing else runs
            if ending is not INTERRUPTED:
                self.say(f"the search ended ({ending.ended_by.replace('_', ' ')}): {ending.reason}")
                end.measure(self.inputs, self.recorder, self.facts)
            with shielded():
                self._note_ending(ending, rules)
            report = end.draw()
        found = finished_count(self.recorder) and ending.ended_by != "failures"
        code = end.code or (0 if found else 1)
        return Outcome(folder=self._named, code=code, report=report, ending=ending, cut=end.cut)

    def _write_down(self) -> None:
        """Write what is known before the first trial, so that an early end can be resumed."""
        facts: dict[str, Any] = {
            "ended": None,
            "ended_by": None,
            "ended_reason": None,
            "conclusion_cut": None,
        }
        if self.options.resume:
            facts["resumed"] = [*self.facts.known.get("resumed", []), stamp()]
        if self.options.earlier:  # before all that makes a resume possible, which must not go without it
            write_earlier(self.folder, self.options.earlier)
            facts["warm_start"] = [dict(source) for source in self.options.earlier.sources]
        if storage():
            facts["storage"] = storage()
        earlier, now = self.facts.known.get("sessions", []), session_now(self.options.command)
        for line in code_changes(self.facts.known, now):
            self.say(line)
        kept = write_space(self.folder, self.space)
        killed = bool(earlier) and (earlier[-1]["ended"] is None or earlier[-1]["ended_by"] == "failed")
        changes = self.weights.take_up(self.recorder.rows, killed=killed)
        for change in changes:
            self.recorder.update(change.candidate_id, change.fields)
        self.recorder.write()
        self.weights.carry_out(changes)
        self.facts.note(
            **facts,
            **kept,
            sessions=[*earlier, now],
            **self.inputs.run_facts(),
            metrics=list(self.recorder.metric_names),
            rungs=[*rungs_of(self.space), self.space.training.epochs],
            defaults={**self.facts.known.get("defaults", {}), **self.options.notes},
            ablation=ablation_facts(self.space, self.inputs.arms),
        )

    def _growth(self) -> Growth:
        """Return the hypervolume of earlier sessions."""
        figures = {**self.facts["teacher"], **self.inputs.figures.metrics}
        ended = [self.recorder.row(past.proposal.candidate.candidate_id) for past in self.recorder.past()]
        return growth_of(self.space.objectives, figures, ended)

    def _line_up(self, rules: StopRules) -> CandidateSearcher:
        """Return the searcher with its first candidate, before anything that takes long: limits may admit none."""
        self.scheduler.refill(self.recorder.result_rows())
        searcher = CandidateSearcher(
            make_proposer(self.space),
            self.admissions,
            plan=plan_search(self.inputs, self.recorder, self.admissions),
            ending=lambda: rules.ending,
            stopped=self.scheduler.has_stopped,
        )
        try:
            searcher.prime()
        finally:
            self.recorder.write()  # what was refused is in the table, even where nothing is admitted
        self.recorder.let_go()  # all have learned from it
        return searcher

    def _search_and_keep(
        self, searcher: CandidateSearcher, rules: StopRules, *, caches: Mapping[str, str]
    ) -> Ending:
        """Run the trials; whatever ends them, the tables are complete. Return why there are no more."""
        how: dict[str, Any] = {}
        try:
            with cluster.joined(self.options.address) as dashboard:
                return self._search(searcher, rules, caches=caches, dashboard=dashboard)
        except BaseException as error:
            own = isinstance(error, StorageError | InputsChanged)  # no signal makes these
            if (
                isinstance(error, Exception) and not own and rules.ending is INTERRUPTED
            ):  # it took Ray with it
                self.say(
                    f"Ray ended before its trials did ({type(error).__name__}); what they reported is kept"
                )
                return INTERRUPTED
            told = str(error).strip().splitlines()
            by = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            by = "inputs" if isinstance(error, InputsChanged) else by
            how = {"ended_by": by, "ended_reason": told[0] if told else type(error).__name__}
            raise
        finally:
            with shielded(), ExitStack() as last:  # each of them, whatever becomes of the others
                last.callback(lambda: self.facts.note(ended=stamp(), **how, **rules.to_dict()))
                last.callback(self.weights.close)
                last.callback(self.scheduler.close)
                last.callback(self.recorder.close)

    def _search(
        self,
        searcher: CandidateSearcher,
        rules: StopRules,
        *,
        caches: Mapping[str, str],
        dashboard: Sequence[str],
    ) -> Ending:
        """Run the trials; return why there are no more."""
        wanted = self.space.resources
        found = cluster.resources(
            workers=wanted.workers_per_trial,
            cpus=wanted.cpus_per_worker,
            gpus=self._packing.gpus if self._packing else wanted.gpus,
            most=wanted.max_concurrent,
        )
        for line in [found.describe(), *filter(None, [found.waits]), *dashboard]:
            self.say(line)
        launch = Launch(
            nested=self.options.always_train or found.workers > 1,
            workers=found.workers,
            cpus=found.cpus,
            gpus=found.gpus,
            storage=str(self.folder / "ray"),
            log="",
            retries=self.space.failures.retries,
            node_copies=node_copies(),
            memory_share=self._packing.memory_share if self._packing else 1.0,
            driver=driver_share([node["Resources"] for node in ray.nodes() if node["Alive"]], found.slots),
        )
        self.admissions.open(caches=caches, launch=launch, told=bool(self.options.callbacks))
        self.time.open(workers=found.workers, cpus=found.cpus, gpus=found.gpus)
        self.say(f"prepared in {self.time.session_s:.0f} s; {searcher.trials} candidates to try")
        ahead = 0 if launch.nested else 1  # what a trial of one worker asks for itself bounds it
        capacity = Capacity(found, ahead=ahead, most=wanted.max_concurrent)
        self._tune(searcher, rules, launch=launch, capacity=capacity)
        return rules.conclusion(searcher.ended, unfinished=bool(self.recorder.unfinished())) or BROKEN_OFF

    def _tune(
        self, searcher: CandidateSearcher, rules: StopRules, *, launch: Launch, capacity: Capacity
    ) -> None:
        """Let Ray Tune run the trials."""

        def on_end(row: Mapping[str, Any]) -> None:
            rules.note_end(row)
            # a session that is killed later has told what it used
            self.facts.note_now_and_then(rules.so_far)

        progress = Progress(self.options.stream, tell=self._tell_progress)
        watchdog = Watchdog(self.say) if launch.nested else None
        watched = Watched(
            scheduler=self.scheduler,
            rules=rules,
            progress=progress,
            quality=self.space.quality,
            trials=lambda: searcher.trials,
            slots=lambda: capacity.slots,
            watchdog=watchdog,
            weights=self.weights,
            on_end=on_end,
            waiting=lambda: capacity.waiting,
            packed=self._packing.trials if self._packing else 1,
            say=self.say,
        )
        callback = RunCallback(self.recorder, watched)
        theirs = [Guarded(one, self.say) for one in self.options.callbacks]
        if odd := mend_tune():
            self.say(odd)
        tuner = make_tuner(
            searcher,
            self.scheduler,
            callbacks=[callback, *theirs],
            launch=launch,
            room=lambda: capacity.room,
            over=rules.over,
        )
        try:
            tuner.fit()
            if rules.fault is not None:
                raise rules.fault
            callback.settle()
            if watchdog is not None:
                watchdog.settle()
        finally:
            progress.close(callback.tally())
            release(Path(launch.storage))

    def _tell_progress(self, tally: Tally, elapsed_s: float, left_s: float | None) -> None:
        if self.options.events is not None:
            self.options.events.tell("progress", progress_fields(tally, elapsed_s=elapsed_s, left_s=left_s))

    def _note_ending(self, ending: Ending, rules: StopRules) -> None:
        """Write down how the search ended."""
        maximise = self.space.objectives[self.space.quality] == "max"
        self.recorder.mark_fronts(self.space.quality, maximise=maximise)
        self.facts.note(
            ended_by=ending.ended_by,
            ended_reason=ending.reason,
            resume_with=ending.more,
            ended=stamp(),
            **rules.to_dict(),
        )
