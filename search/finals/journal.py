"""`finalised.json` of a run: what the finals have measured, written anew with every row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from analysis.seeds.finals_file import FINALS_FILE, read_finals
from spaces.files import write_text

VERSION = 1
MODEL = ("candidate_id", "teacher", "form")
TABLES = {"rows": ("candidate_id", "method", "seed", "stage", "domain"), "models": MODEL, "forms": MODEL}
"""Name of a table -> columns by which its rows are told apart."""


@final
class Journal:
    """The rows of one request; those of other requests in the same run stay.

    Attributes:
        failures: a line for each that gave no row.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any], key: str) -> None:
        """Take up what is there.

        Args:
            folder: of the run.
            request: what is asked for, in plain values.
            key: of all of it that decides the figures.
        """
        self._path = folder / FINALS_FILE
        known = (read_finals(folder) or {}).get("finals", [])
        self._others = [one for one in known if one["key"] != key]
        self._own: dict[str, Any] = {"key": key, **dict(request), **{name: [] for name in TABLES}}
        for mine in (one for one in known if one["key"] == key):
            self._own |= {name: mine[name] for name in TABLES}
            for name in ("candidates", "domains"):  # those of before stay in the tables
                self._own[name] = list(dict.fromkeys([*mine.get(name, []), *self._own[name]]))
            self._own["teachers"] = {**(mine.get("teachers") or {}), **self._own["teachers"]}
        self.failures: list[str] = []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows of the request so far."""
        return list(self._own["rows"])

    def add(self, rows: list[dict[str, Any]], table: str = "rows") -> None:
        """Take rows in the place of those of the same names that were there before, and write all down.

        Args:
            rows: of a line, or of models.
            table: of `TABLES`.
        """
        names = TABLES[table]
        known = {tuple(row[name] for name in names): row for row in [*self._own[table], *rows]}
        self._own[table] = list(known.values())
        self.write()

    def fail(self, line: str) -> None:
        """Note what failed, for the user."""
        self.failures.append(line)

    def write(self) -> None:
        """Write the file; the request that was worked on last stands last.

        Raises:
            StorageError: it cannot be written.
        """
        told = {"version": VERSION, "finals": [*self._others, self._own]}
        write_text(self._path, json.dumps(told, indent=1, default=str) + "\n")
