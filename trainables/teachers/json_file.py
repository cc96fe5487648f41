"""A config of a published teacher as a mapping."""

import json
from pathlib import Path
from typing import Any

from spaces.errors import TeacherError


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        TeacherError: no such file, a damaged one, or one of something else.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TeacherError(
            f"{path}: cannot be read ({error}). Save or download the teacher again."
        ) from error
    if not isinstance(settings, dict):
        raise TeacherError(f"{path}: got a {type(settings).__name__}, allowed is one JSON object.")
    return settings
