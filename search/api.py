"""A search from Python, in a script or a notebook.

from search.api import search

run = search("spaces/dlip.yaml", trials=8, overrides={"losses.itc.weight": 0.5})
run.front("params")                     # a pandas table
run.export("knee", out="student/")
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from analysis.pareto import front, pick
from analysis.report import draw_report
from analysis.run_folder import Run as Folder
from analysis.run_folder import Trial, read_run
from analysis.table import TRIALS_FILE, read_history, read_trials
from search.arguments import DEFAULT_SPACE, path_of
from spaces.console import tolerant
from spaces.errors import RunError
from spaces.load import Override
from spaces.paths import user_path

if TYPE_CHECKING:
    import pandas
    from ray.tune import Callback

    from search.start import Request
    from trainables.export import Student

OPTIONS = ("address", "always_train", "node_copies", "out", "resume", "retry_failed", "storage", "warm_start")


@dataclass(frozen=True)
class Run:
    """A finished or interrupted search: its folder, and what stands in it. Tables are read anew at each call.

    Attributes:
        folder: the run folder; `search(resume=...)` and the commands take it.
    """

    folder: Path

    @property
    def trials(self) -> "pandas.DataFrame":
        """One row per candidate, rejected ones too: the columns of `trials.arrow`."""
        return read_trials(self.folder / TRIALS_FILE).to_pandas()

    @property
    def history(self) -> "pandas.DataFrame":
        """One row per candidate and epoch."""
        return read_history(self.folder).table.to_pandas()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `run.json` says: teacher, data, tasks, versions, what ended the search."""
        return self._read().facts

    def front(self, axis: str = "params") -> "pandas.DataFrame":
        """Return the members of the front of quality against `params`, `flops` or `latency_ms`, from small to large."""
        trials = self.trials.set_index("candidate_id", drop=False)
        return trials.loc[[trial.candidate_id for trial in front(self._read(), axis)]].reset_index(drop=True)

    def pick(self, which: str, axis: str = "params") -> Trial:
        """Return a trial: `best` or `knee` of a front, or one by its id.

        Raises:
            RunError: there is no such trial, or it is not trained to the end.
        """
        return pick(self._read(), which, axis)

    def export(self, which: str, *, out: str | Path, axis: str = "params") -> "Student":
        """Write a student into a new folder, and return it loaded.

        Raises:
            StudentSearchError: no such trial, a missing checkpoint, or `out` holds something.
        """
        from search.results.student_export import export
        from trainables.export import load

        export(self.folder, which, axis=axis, out=user_path(out))
        return load(user_path(out))

    def report(self) -> Path:
        """Draw `report.html` anew and return its path."""
        return draw_report(self.folder)

    def _read(self) -> Folder:
        return read_run(self.folder)


def search(
    space: str | Path = DEFAULT_SPACE,
    *,
    trials: int | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    callbacks: "Sequence[Callback]" = (),
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Search, and return the run; as `python search/run.py` does, but for what it prints.

    Ray is joined where it runs already, else started and shut down again; its environment is left as it was found. Ctrl-C ends
    the search in good order and returns what there is, in the main thread; elsewhere it is not listened to.

    Args:
        space: a space file.
        trials: candidates to try.
        overrides: fields of the space by dotted path, as a mapping or as texts `path=value`; a value that is a mapping takes the
            place of all that the field has.
        callbacks: `ray.tune.Callback`s; one that raises is told, and the search goes on.
        quiet: print nothing.
        options: `out`, `resume`, `retry_failed`, `warm_start`, `address`, `always_train`, `storage`, `node_copies`: as the flags
            of the command.

    Raises:
        StudentSearchError: whatever has to be mended.
        TypeError: an unknown option, or an argument of another type.
    """
    from search.start import load, resumed_alone, run_session, stored

    request = _request(space, trials, overrides, options)
    if request.address:
        from search.tune.cluster_token import offer_token

        offer_token()
    _check_callbacks(callbacks)
    stream: TextIO | None = None if quiet else sys.stderr

    def say(text: str) -> None:
        print(text, file=tolerant(stream), flush=True)

    with resumed_alone(request, say=say), stored(request, say=say):
        inputs, earlier = load(request, say=say)
        outcome = run_session(request, inputs, earlier, callbacks=callbacks, stream=stream, say=say)
    return Run(outcome.folder)


def _check_callbacks(callbacks: Any) -> None:
    """Refuse what Ray Tune could not call.

    Raises:
        TypeError: says what was got.
    """
    odd = [] if isinstance(callbacks, list | tuple) else [callbacks]
    if not odd and callbacks:
        from ray.tune import Callback  # slow, and needed only here

        odd = [one for one in callbacks if not isinstance(one, Callback)]
    if odd:
        what = f"the class {odd[0].__name__}" if isinstance(odd[0], type) else repr(odd[0])
        raise TypeError(
            f"search: callbacks: got {what}; allowed: a list of ray.tune.Callback instances. Write callbacks=[MyCallback()]."
        )


def _request(
    space: str | Path,
    trials: int | None,
    overrides: Mapping[str, Any] | Sequence[str],
    options: Mapping[str, Any],
) -> "Request":
    """Return what a call asks for.

    Raises:
        RunError: what a resumed run does not allow.
        TypeError: an unknown option, or an argument of another type.
    """
    from search.start import Request

    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(f"search: got {', '.join(unknown)}; allowed options: {', '.join(OPTIONS)}.")
    overrides = [overrides] if isinstance(overrides, str) else overrides
    _check_types(space, overrides, options)
    changes: list[str | Override] = [] if isinstance(overrides, Mapping) else list(overrides)
    texts = [str(change) for change in changes]
    if isinstance(overrides, Mapping):
        changes += [Override(f"overrides[{path!r}]", path, value) for path, value in overrides.items()]
        texts += [f"{path}={value}" for path, value in overrides.items()]
    if trials is not None:
        if twice := [text for text in texts if path_of(text) == "search.trials"]:
            raise RunError(
                f"search: trials: got {trials}, and {twice[0]}, too; allowed: one of them. Leave the other out."
            )
        changes.append(Override(f"trials={trials}", "search.trials", trials))
    folders = {
        name: user_path(options[name])
        for name in ("out", "resume", "storage", "node_copies")
        if options.get(name) is not None
    }
    named = options.get("warm_start") or ()
    earlier = tuple(user_path(folder) for folder in ([named] if isinstance(named, str | Path) else named))
    if "resume" in folders:
        from search.run_folder.resume import check_changes

        given = [
            name
            for name, asked in (("space", Path(space) != DEFAULT_SPACE), ("out", "out" in folders))
            if asked
        ]
        check_changes(folders["resume"], given=given, settings=texts, warm_start=bool(earlier))
    return Request(
        space=user_path(space),
        changes=tuple(changes),
        resume=folders.get("resume"),
        out=folders.get("out"),
        warm_start=earlier,
        address=options.get("address"),
        always_train=options.get("always_train", False),
        storage=folders.get("storage"),
        node_copies=folders.get("node_copies"),
        retry_failed=options.get("retry_failed", False),
        command=_told(space=str(space), trials=trials, overrides=overrides or None, **options),
    )


def _told(**arguments: Any) -> str:
    """Return the call as text, which the run keeps: the command of a notebook's process would tell nothing."""
    given = [f"{name}={value!r}" for name, value in arguments.items() if value is not None]
    return f"search.api.search({', '.join(given)})"


def _check_types(space: Any, overrides: Any, options: Mapping[str, Any]) -> None:
    """Refuse arguments of other types at once: later on they would fail in a place that does not name them.

    Raises:
        TypeError: names the argument.
    """

    def refuse(name: str, got: Any, allowed: str) -> None:
        raise TypeError(f"search: {name}: got {got!r} ({type(got).__name__}); allowed: {allowed}.")

    def is_path(value: Any) -> bool:  # an empty text would mean the folder one is in
        return isinstance(value, Path) or (isinstance(value, str) and bool(value.strip()))

    if not is_path(space):
        refuse("space", space, "the path of a space file")
    texts = isinstance(overrides, list | tuple) and all(isinstance(one, str | Override) for one in overrides)
    paths = isinstance(overrides, Mapping) and all(isinstance(one, str) for one in overrides)
    if not texts and not paths:
        refuse("overrides", overrides, "a mapping from dotted paths to values, or texts path=value")
    places = {
        "out": "a run folder",
        "resume": "a run folder",
        "storage": "a folder",
        "node_copies": "a folder",
    }
    for name, what in places.items():
        if options.get(name) is not None and not is_path(options[name]):
            refuse(name, options[name], f"the path of {what}, or None")
    earlier = options.get("warm_start")
    several = isinstance(earlier, list | tuple) and all(map(is_path, earlier))
    if earlier is not None and not is_path(earlier) and not several:
        refuse("warm_start", earlier, "the path of a run folder, or a list of them")
    if not isinstance(options.get("address"), str | None):
        refuse("address", options["address"], "the address of a Ray cluster as text, or None")
    for name in ("always_train", "retry_failed"):
        if not isinstance(options.get(name, False), bool):
            refuse(name, options[name], "True or False")
    if options.get("retry_failed") and options.get("resume") is None:
        refuse("retry_failed", True, "together with resume")


def open_run(folder: str | Path) -> Run:
    """Return a run that a folder holds.

    Raises:
        RunError: the folder is no run.
    """
    read_run(user_path(folder))
    return Run(user_path(folder))
