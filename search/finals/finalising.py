"""Train students of a run longer and for each task, on a cluster, and measure them beside teacher and controls."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from analysis.run_folder import read_run
from analysis.seeds.finals_file import FINALS_FILE
from analysis.seeds.finals_text import finals_lines
from search.finals.journal import Journal
from search.finals.lines import PLAIN, RANDOM, STUDENT, Finalist, Line
from search.finals.models import form_rows, model_rows
from search.finals.pace import Pace
from search.finals.plan import Plan, plan_of
from search.finals.request import Request, cache_settings, workers_of
from search.finals.teachers import Taught, filled, random_teacher, write_initial
from search.finals.work import carry_out
from search.inputs.places import stored
from search.inputs.teacher_figures import TeacherFigures
from search.results.control_rows import told
from search.results.trainings import launched, run_trainings
from search.run_folder.facts import control_session, read_space
from search.run_folder.provenance import code_changes, session_now
from search.tune import cluster
from search.tune.shared import check_run
from search.tune.tasks import Tasks
from spaces.errors import RunError, StudentSearchError
from spaces.owner import owned
from spaces.sections import ResourcesSection, TeacherCacheSection
from spaces.target import LatencySection
from trainables.teachers.loading import load_teacher
from trainables.training.measuring import measure_model
from trainables.trial import launch_dict


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where it is done.

    Attributes:
        address: of a running Ray cluster; None starts Ray on this machine.
        storage: folder of all that is derived; None for that of the run.
        command: as the user typed it.
    """

    address: str | None = None
    storage: Path | None = None
    command: str = ""


def finalise(request: Request, where: Surroundings) -> tuple[Path, int]:
    """Do what is asked for, and print what came of it.

    Args:
        request: what is asked for.
        where: where it is done.

    Returns:
        The new report, and how many lines failed: they are told, and the others are kept.

    Raises:
        StudentSearchError: what `plan_of` raises; another process works in the run; no room to train.
    """
    plan = plan_of(request)  # mistakes are told before anybody is waited for
    folder = request.folder
    lies = folder.absolute().parent if where.address is not None else None
    kept = str(plan.run.facts.get("storage") or "")
    with owned(folder, say=_say), stored(where.storage, kept=kept, runs=lies, say=_say):
        plan = plan_of(request)  # again: a process that has just ended may have written to it
        now = session_now()
        for line in [*code_changes(plan.run.facts, now), *plan.notes]:
            _say(line)
        journal = Journal(folder, plan.request_facts(where.command), plan.key)
        with control_session(folder, now), cluster.joined(where.address):
            _Finals(plan, where, journal).run()
        return _tell(folder, journal), len(journal.failures)


def _tell(folder: Path, journal: Journal) -> Path:
    """Print what was measured, and what failed; return the new report."""
    from analysis.report import draw_report

    for line in finals_lines(read_run(folder)):
        print(line)
    print(f"figures: {folder / FINALS_FILE}")
    if journal.failures:
        _say(
            f"{len(journal.failures)} failed, and are not in the figures above; the same command tries them again:"
        )
        for line in journal.failures:
            _say(f"  {line}")
    return draw_report(folder)


@final
class _Finals:
    """One session of it, on a cluster that this process has joined."""

    def __init__(self, plan: Plan, where: Surroundings, journal: Journal) -> None:
        self._plan, self._journal, self._folder = plan, journal, plan.run.folder.absolute()
        asked, self._cached, self._timed = self._of_space(plan.run.folder)
        self._found = cluster.resources(
            workers=workers_of(plan.request),
            cpus=asked.cpus_per_worker,
            gpus=asked.gpus,
            most=asked.max_concurrent,
        )
        self._tasks = Tasks(self._found, say=_say)

    def _of_space(self, folder: Path) -> tuple[ResourcesSection, TeacherCacheSection, int]:
        """Return what a trial of the run took, how its teachers are cached, and how often models are timed as a whole.

        Raises:
            StudentSearchError: what the user set does not fit.
        """
        wished = cache_settings(self._plan.request)
        try:
            space = read_space(folder, wished)
        except StudentSearchError as error:  # of an earlier version, perhaps; nothing else hangs on it
            if wished:
                raise
            _say(f"each training takes one CPU, and a GPU where there are any: {error}")
            return ResourcesSection(), TeacherCacheSection(), LatencySection().samples
        return space.resources, space.teacher_cache, space.latency.samples

    def run(self) -> None:
        """Measure the teachers, train and measure all lines, and measure costs last, while nothing else runs."""
        _say(self._found.describe())
        check_run(self._folder, [one.job for one in self._plan.finalists])
        self._journal.write()
        self._teachers()
        lines = self._plan.lines(self._others())
        pace = Pace(lines, say=_say, slots=self._found.slots)
        pace.tell()
        with launched(self._found, self._folder) as launch:
            orders = [(line, launch_dict(launch)) for line in lines]
            for outcome in run_trainings(carry_out, orders, found=self._found, say=pace.hear):
                self._take(lines[outcome.index], outcome.error, outcome.value)
                pace.line_through()
        models = model_rows(self._plan, self._tasks, samples=self._timed, say=_say)
        self._journal.add(models, "models")
        if self._plan.request.compress:
            self._journal.add(
                form_rows(self._plan, lines, self._journal.rows, self._tasks, say=_say), "forms"
            )

    def _take(self, line: Line, error: Exception | None, rows: list[dict[str, Any]] | None) -> None:
        """Keep what became of a line."""
        if error is not None:
            self._journal.fail(f"{line.name}: {told(error)}")
            _say(f"failed: {self._journal.failures[-1]}")
            return
        mine = {"candidate_id": line.candidate_id, "method": line.method, "seed": line.seed}
        places = [{**row, "folder": _relative(row["folder"], self._folder)} for row in rows or []]
        self._journal.add([{**mine, **row} for row in places])

    def _teachers(self) -> None:
        """Measure each teacher in all tasks, on other data too, and keep that for the next time.

        Raises:
            RunError: a teacher has 0 in a task: nothing of it could be kept.
        """
        for finalist, line in self._plan.teachers():
            (asked,) = line.asked
            order = asked.order
            metrics = TeacherFigures.measured(
                finalist.teacher,
                self._plan.made,
                partial(self._tasks.run, measure_model, order),
                key=(order.dataset_fingerprint, order.split, *map(str, sorted(order.evaluation.items()))),
                say=_say,
            )
            unable = [
                name for name, counts in self._plan.counts.items() if not metrics.get(counts, 0.0) > 0.0
            ]
            if unable and not asked.domain:
                raise RunError(
                    f"--tasks {','.join(unable)}: the teacher {finalist.teacher.files.name} scores 0 there on this data, so that "
                    "nothing of it could be kept. Leave it out."
                )
            row = {"stage": finalist.job.teacher, "domain": asked.domain, "folder": "", "epochs": 0}
            self._take(line, None, [{**row, "metrics": metrics, "wall_s": 0.0}])

    def _others(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return (teacher, method) -> what differs of its jobs; teachers' signals are cached meanwhile."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for place in dict.fromkeys(one.job.teacher for one in self._plan.finalists):
            mine = [one for one in self._plan.finalists if one.job.teacher == place]
            found[place, STUDENT] = {"cache": self._cache(mine, STUDENT, place)}
            found[place, PLAIN] = {"cache": ""}
            if any(RANDOM in one.configs for one in mine):
                other = random_teacher(mine[0].teacher, say=_say)
                found[place, RANDOM] = {
                    "teacher": other,
                    "teacher_fingerprint": load_teacher(other).files.fingerprint,
                    "cache": self._cache(mine, RANDOM, other),
                }
        for finalist in self._plan.finalists:
            for seed in range(self._plan.request.seeds if RANDOM in finalist.configs else 0):
                initial = self._plan.initial(finalist, seed)
                write_initial(finalist.job, finalist.teacher, seed, initial, say=_say)
        return found

    def _cache(self, finalists: list[Finalist], method: str, place: str) -> str:
        """Return the folder of what a teacher says to students of a method, "" where it answers live."""
        if self._cached.kind == "live":
            return ""
        configs: list[Mapping[str, Any]] = [
            config for one in finalists if method in one.configs for config in one.configs[method].values()
        ]
        taught = Taught(
            place=place,
            dataset=finalists[0].job.dataset,
            configs=configs,
            precision=self._cached.precision,
            top_k=self._cached.top_k,
        )
        return filled(taught, self._tasks, say=_say)


def _relative(folder: str, run: Path) -> str:
    """Return a folder from the run folder on, so that a run can be moved."""
    return str(Path(folder).relative_to(run)) if folder else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
