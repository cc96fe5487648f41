"""All errors that a user can meet, in one tree.

    StudentSearchError      a user's mistake or a broken input: printed as one message, exit code 2
    ├── SpaceError          the space file and what it names: all of their problems at once
    ├── IllegalCandidate    one point of the space cannot be built; the search records it as rejected
    ├── PluginError         unknown plug-in, or an option that it does not take
    ├── TeacherError        teacher folder, checkpoint or fingerprint
    ├── DatasetError        data file, image, caption, question
    ├── CheckpointError     a checkpoint that cannot be written or read
    ├── InputsChanged       teacher, data or code that a candidate was planned with: gone, or others by now
    ├── RunError            a folder that is no run, is damaged, or belongs to another space
    ├── TableError          a table that cannot be simulated, or a column it does not have
    ├── ResourceError       not enough CPUs, GPUs or disk
    │   └── StorageError    a file that the system does not let us write: disk full, no permission, ...
    ├── LimitError          no candidate meets the limits
    ├── ExportError         what to export does not exist or is not finished
    └── ShapeError          sizes that do not fit together

A message says where, what we got, what is allowed and what to do.
"""

from collections.abc import Sequence


class StudentSearchError(Exception):
    """Root of the tree; `str(error)` is the whole message for the user."""


class SpaceError(StudentSearchError):
    """All problems of one space file, one per line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class IllegalCandidate(StudentSearchError):
    """A point of the space whose parts do not fit together.

    Attributes:
        problems: (dotted path inside the student section such as `image.heads`, text) of all that does not fit, so
            that the space can name the lines; () where no single option is to blame.
    """

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return str(self.args[0])


class PluginError(StudentSearchError):
    """An unknown plug-in, or an option it does not take."""


class TeacherError(StudentSearchError):
    """A teacher that cannot be loaded or does not match its data."""


class DatasetError(StudentSearchError):
    """A data file, image, caption or question that cannot be used."""


class CheckpointError(StudentSearchError):
    """A checkpoint that cannot be written or read."""


class InputsChanged(StudentSearchError):
    """Teacher, data or code of a candidate are gone, or not those that it was planned with.

    It is not the candidate's fault, and the next one would meet the same: a search ends, and can be resumed.
    """


class RunError(StudentSearchError):
    """A folder that is no run, is damaged, or belongs to another space."""


class TableError(StudentSearchError):
    """A table that cannot be simulated, or that lacks what was asked of it."""


class ResourceError(StudentSearchError):
    """Not enough CPUs, GPUs or disk."""


class StorageError(ResourceError):
    """A file that cannot be written for want of room, permission or a folder; no fault of what was to be kept in it."""


class LimitError(StudentSearchError):
    """No candidate meets the limits."""


class ExportError(StudentSearchError):
    """A student that cannot be exported or loaded."""


class ShapeError(StudentSearchError):
    """Sizes that do not fit together."""
