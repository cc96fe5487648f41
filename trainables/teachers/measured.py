"""What a folder that `save_pretrained` wrote brings beside its files: figures, and the data that its model was trained on."""

import json
from pathlib import Path
from typing import Any

from spaces.files import write_text
from trainables.teachers.json_file import read_object

MEASURED = "measured.json"


def write_measured(folder: Path, measured: dict[str, Any]) -> None:
    """Write the side file.

    Raises:
        StorageError: it cannot be written.
    """
    write_text(folder / MEASURED, json.dumps(measured, indent=2) + "\n")


def read_measured(folder: Path) -> dict[str, Any]:
    """Return what the side file of a folder says; {} without one.

    Raises:
        TeacherError: it is damaged.
    """
    path = folder / MEASURED
    return read_object(path) if path.is_file() else {}
