"""What the searcher asks of the experiment: build, admit and record candidates, and order their trials."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from search.candidates.cost_filter import CostFilter
from search.inputs.inputs import Inputs
from search.latency.ahead import likely_subjects
from search.proposal import Admitted, Proposal, Rejected, Waiting
from search.run_folder.facts import CANDIDATE_FILE, CHECKPOINTS, LOGS, space_facts
from search.run_folder.recorder import Recorder
from search.searchers.base import Values
from spaces.candidate import Candidate
from spaces.files import make_folder
from spaces.objectives import COSTS
from trainables.code_version import code_digest
from trainables.datasets.cache_folder import storage
from trainables.teachers.cache.read import TeacherCache
from trainables.training.job import Job
from trainables.trial import Launch, launch_dict


@final
class StudentAdmissions:
    """Builds candidates of one space and writes their jobs into one run folder.

    Attributes:
        caches: teacher -> folder of its cache, {} for live teachers.
        held_out: teacher -> folder of the cache of the validation split, where students read it.
    """

    def __init__(
        self,
        inputs: Inputs,
        recorder: Recorder,
        *,
        folder: Path,
        rungs: tuple[int, ...],
    ) -> None:
        """Take what candidates are built and judged by; `open` brings what trials need.

        Args:
            inputs: space, teachers and data.
            recorder: gets the rejected and the running.
            folder: the run folder, absolute, seen by every node.
            rungs: epochs at which metrics are measured.
        """
        self._inputs, self._recorder, self._folder, self._rungs = inputs, recorder, folder, rungs
        self.caches: Mapping[str, str] = {}
        self.held_out: Mapping[str, str] = {}
        self._launch: Launch | None = None
        self._told = False
        self._space_digest = str(space_facts(inputs.space)["space_digest"])
        self._filter = CostFilter(inputs.students, inputs.limits, inputs.store, inputs.latencies)

    def open(self, *, caches: Mapping[str, str], launch: Launch, told: bool = False) -> None:
        """Take what every trial shares; to be called before the first one is ordered.

        Args:
            caches: see there.
            launch: how it is run; the log file is each trial's own.
            told: whether somebody else looks at the trials' configs, such as a logger that was given as a callback.
        """
        self.caches, self._launch, self._told = caches, launch, told

    def build(self, values: Values, index: int) -> Proposal:
        """Return the candidate at a point of the space, less the losses that its student cannot feed.

        Raises:
            IllegalCandidate: sizes that do not fit together, a student that cannot do the tasks, or no loss left.
        """
        space = self._inputs.space
        candidate = space.build(values, self._inputs.students, space.search.seed)
        return Proposal(candidate=self._inputs.feedable_part(candidate), index=index, values=dict(values))

    def admit(self, candidate: Candidate) -> Admitted | Rejected | Waiting:
        """Return whether the candidate keeps the limits, with its costs, or that its latency is being measured."""
        return self._filter.admit(candidate)

    def on_waiting(self, proposal: Proposal) -> None:
        """Keep a proposal that is no row yet."""
        self._recorder.note_waiting(proposal)

    def await_figure(self, seconds: float) -> bool:
        """Wait for a figure, see `Latencies.wait`."""
        return self._inputs.latencies.wait(seconds)

    def measure_ahead(self) -> None:
        """Have the latency measured of what the space is likely to produce, within the limits that are known by now."""

        def keeps_limits(candidate: Candidate) -> bool:
            return self.counted(candidate) is not None

        self._inputs.latencies.ask(likely_subjects(self._inputs, keeps_limits), likely=True)

    def counted(self, candidate: Candidate) -> Mapping[str, float] | None:
        """Return what of a candidate's costs is known without running it; None where they break a limit."""
        found = self._filter.counted(candidate)
        return None if isinstance(found, Rejected) else found

    def violation(self, costs: Mapping[str, float]) -> float:
        """Return how far costs lie beyond the limits."""
        return self._filter.violation(costs)

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        """Record a candidate that is not trained."""
        self._recorder.add_rejected(proposal, rejected)

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        """Record a candidate as running, write its job beside its checkpoint, and return the trial's config."""
        candidate = proposal.candidate
        assert self._launch is not None, "`open` comes first"
        self._recorder.add_running(proposal, admitted)
        job = self.job(candidate, admitted.costs)
        log = self._folder / LOGS / f"{candidate.candidate_id}.log"
        found = {
            "candidate_id": candidate.candidate_id,
            "role": candidate.role,
            "job": str(Path(job.folder) / CANDIDATE_FILE),  # Tune keeps the config of each trial for good
            "launch": launch_dict(replace(self._launch, log=str(log))),
        }
        return found | (
            {"candidate": candidate.config, "seed": candidate.training_seed} if self._told else {}
        )

    def job(self, candidate: Candidate, costs: Mapping[str, float]) -> Job:
        """Return the order for one training, also written as candidate.json for `python -m trainables.worker`."""
        job = self.drafted_job(candidate, {name: costs[name] for name in COSTS})
        job.write(make_folder(Path(job.folder)) / CANDIDATE_FILE)
        return job

    def drafted_job(self, candidate: Candidate, costs: Mapping[str, float]) -> Job:
        """Return the order for one training; nothing is written."""
        inputs, name = self._inputs, self._inputs.students.teacher_name(candidate.config)
        return Job(
            candidate_id=candidate.candidate_id,
            config=candidate.config,
            seed=candidate.training_seed,
            teacher=inputs.trial_teacher(name),
            teacher_fingerprint=inputs.teachers[name].files.fingerprint,
            dataset=inputs.dataset_settings,
            dataset_fingerprint=inputs.fingerprints["dataset"],
            space_digest=self._space_digest,
            code=code_digest(),
            tasks=inputs.task_settings,
            evaluate_at=self._rungs,
            evaluation=inputs.space.evaluation.model_dump(),
            teacher_metrics=inputs.figures_of_teachers[name].metrics,
            cache=self._cache(candidate, name),
            evaluation_cache=self.held_out.get(name, ""),
            storage=storage(),
            checkpoints=inputs.space.checkpoints.model_dump(exclude={"keep"}),
            costs=costs,
            compiled=inputs.space.resources.compiled,
            folder=str(self._folder / CHECKPOINTS / candidate.candidate_id),
        )

    def _cache(self, candidate: Candidate, name: str) -> str:
        """Return the cache of a candidate's teacher; "", and with it the live teacher, if it lacks what this student needs."""
        folder = self.caches.get(name, "")
        if not folder:
            return ""
        wants = self._inputs.students.taught(candidate.config)
        held = TeacherCache(Path(folder), self._inputs.teachers[name].offers).holds(wants)
        if not held:
            self._inputs.say(
                f"candidate {candidate.candidate_id}: the teacher cache lacks what it needs; runs with a live teacher"
            )
        return folder if held else ""
