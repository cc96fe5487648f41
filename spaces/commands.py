"""Commands to copy into a shell, as messages and reports show them. Pure Python."""

import os
import shlex
from pathlib import Path


def command_line(script: str, *words: str | Path) -> str:
    """Return `python SCRIPT WORDS`, each word quoted where a shell would read it otherwise.

    Outside of the checkout, where there is no such script: `student-search COMMAND WORDS`.

    Args:
        script: such as `search/run.py`; one of the commands of `student-search`.
        words: flags, values, and paths; a path that begins with `-` gets `./` before it, so that it is no flag.
    """
    head = ["python", script] if os.path.isfile(script) else ["student-search", Path(script).stem]
    return shlex.join([*head, *map(_word, words)])


def _word(word: str | Path) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text
