"""What follows a search: its finalists measured, the report drawn. Whatever happens here, the search stays as it ended."""

import traceback
from contextlib import suppress
from pathlib import Path

from analysis.report import draw_pngs, draw_report
from analysis.run_folder import read_run
from search.inputs.inputs import Inputs
from search.inputs.teacher_figures import Say
from search.reporting.conclusion import conclude
from search.run_folder.facts import LOGS, RunFacts
from search.run_folder.recorder import Recorder
from search.stopping.interrupt import Interrupt
from spaces.commands import command_line
from spaces.errors import RunError, StorageError, StudentSearchError
from spaces.files import append, make_folder
from spaces.interruption import shielded

LOG = "conclusion.log"


class Finish:
    """The end of one session.

    Attributes:
        code: of the program where something here was cut off or failed, else 0.
        cut: that in words, with what to do; "" where nothing was.
    """

    def __init__(self, folder: Path, named: Path, interrupt: Interrupt, *, say: Say) -> None:
        """Take where the run lies.

        Args:
            folder: the run folder.
            named: the same as the user names it.
            interrupt: listens to signals.
            say: takes a line for the user.
        """
        self.code, self.cut = 0, ""
        self._folder, self._named, self._interrupt, self._say = folder, named, interrupt, say

    def measure(self, inputs: Inputs, recorder: Recorder, facts: RunFacts) -> None:
        """Measure the finalists, unless a signal comes; what was measured before it, or before an error, is kept."""
        again = f"measure them with: {command_line('search/run.py', '--resume', self._named)}"
        cut = ""
        try:
            with self._interrupt.at_once():
                if self._interrupt.requested:  # it came when the last trial had ended already
                    raise KeyboardInterrupt
                facts.note(**conclude(inputs, recorder, folder=self._folder, say=self._say))
        except KeyboardInterrupt:
            cut = f"{self._interrupt.name} cut off the measuring of the finalists"
            self.code = self._interrupt.exit_code
        except Exception as error:  # none may cost the report of a search that has ended
            cut = f"the finalists could not be measured: {self._told(error)}"
            self.code = 2
        if cut:
            self.cut = f"{cut}; {again}"
            self._say(f"{cut}; the report is drawn from what there is")
            with shielded():
                recorder.write()
                facts.note(conclusion_cut=cut)

    def draw(self) -> Path:
        """Draw the report, and after a search that nobody interrupted the pictures, too; return where the report is.

        Raises:
            RunError: it cannot be drawn; how it is drawn later is told.
        """
        by_hand = command_line("analysis/report.py", self._named)
        try:
            report = draw_report(self._named)  # commands in it name the folder as the user does
        except KeyboardInterrupt:
            self._say(f"the report is not drawn; draw it with: {by_hand}")
            raise
        except Exception as error:
            raise RunError(
                f"the report could not be drawn: {self._told(error)}. All results are kept in {self._named}; draw it with: "
                f"{by_hand}"
            ) from error
        if self._interrupt.requested:
            self._say("no pictures after an interrupted search")
            self.code = self._interrupt.exit_code
            return report
        try:
            with self._interrupt.at_once():
                drawn = draw_pngs(self._folder)
            self._say(
                drawn if isinstance(drawn, str) else f"pictures: {', '.join(one.name for one in drawn)}"
            )
        except KeyboardInterrupt:
            self.cut = f"{self._interrupt.name} cut off the pictures; draw them with: {by_hand} --png"
            self.code = self._interrupt.exit_code
        except Exception as error:  # the report has the same figures
            self._say(f"no pictures: {self._told(error)}")
        return report

    def failed(self, error: BaseException) -> None:
        """After a search that an error ended: draw what there is, if anything is."""
        if isinstance(error, KeyboardInterrupt):  # the second signal: at once
            self._say(
                f"quit at once; results are kept. Go on: {command_line('search/run.py', '--resume', self._named)}; "
                f"report: {command_line('analysis/report.py', self._named)}"
            )
            return
        with suppress(Exception):  # the error itself is what is told
            if read_run(self._folder).finished:
                self._say(f"report of what there is: {draw_report(self._named)}")

    def _told(self, error: Exception) -> str:
        """Return an error on one line; the traceback of one that is not the user's goes into a log."""
        if isinstance(error, StudentSearchError):
            return str(error)
        first = (str(error).strip().splitlines() or [""])[0]
        log = self._folder / LOGS / LOG
        with suppress(StorageError):  # the error itself is what is told
            make_folder(log.parent)
            append(log, "".join(traceback.format_exception(error)) + "\n")
        return f"{type(error).__name__}: {first} (traceback in {self._named / LOGS / LOG})"
