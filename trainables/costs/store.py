"""Costs by architecture, kept on disk: an architecture that was measured once is admitted at once."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from spaces.errors import StorageError
from spaces.files import make_folder, write_text
from trainables.code_version import foreign_code
from trainables.costs import static as statics
from trainables.costs.latency import Latency
from trainables.costs.static import StaticCosts, measure_static
from trainables.costs.subject import Subject
from trainables.costs.table import LatencyTable
from trainables.costs.target import Target
from trainables.datasets.cache_folder import cache_folder, unusable

VERSION = 2  # raise it whenever a change in this room changes a figure that is counted; `samples.VERSION` is that of times

Say = Callable[[str], None]


class CostStore:
    """Reads costs from a folder and measures what is not there.

    An entry of what is counted is one small JSON file that repeats its whole key, so that a look tells what was measured; times
    lie in one folder for each target, see `table.LatencyTable`. A damaged file is made again, and said; so is that nothing
    can be kept. Several processes and users may share the folder.
    A model and the part of its teacher that it reads are two entries, so that all students of a teacher share the second.
    """

    def __init__(self, folder: Path | None = None, *, say: Say = print) -> None:
        """Use `folder`, by default `costs` of the cache; `say` takes one line about a damaged entry."""
        self.folder = folder or cache_folder("costs")
        self.say = say
        self._told = False  # that nothing can be kept
        self._tables: dict[Target, LatencyTable] = {}

    def static(self, subject: Subject) -> StaticCosts:
        """Return params, flops and size of an architecture, with what it reads of its teacher."""
        return statics.joined({owner: self._static(part) for owner, part in subject.parts.items()})

    def latency(self, subject: Subject, target: Target | None = None) -> Latency:
        """Return the latency of an architecture, with what it reads of its teacher, by the table of a target.

        Raises:
            ResourceError: the target does not exist here.
        """
        return self.table(target or Target()).latency(subject)

    def table(self, target: Target) -> LatencyTable:
        """Return the table of a target, which lies in this folder.

        Raises:
            ResourceError: the target does not exist here.
        """
        if target not in self._tables:
            self._tables[target] = LatencyTable(self.folder, target, self.say)
        return self._tables[target]

    def _static(self, subject: Subject) -> StaticCosts:
        key = self._key("static", subject, tokenizer_bytes=subject.files_bytes, torch=torch.__version__)
        found = self._read(key)
        if found is not None:
            return StaticCosts.from_dict(found)
        costs = measure_static(subject)
        self._write(key, costs.to_dict())
        return costs

    def _key(self, kind: str, subject: Subject, **further: Any) -> dict[str, Any]:
        servings = [asdict(one) for one in subject.servings]
        plan = subject.blueprint
        code = foreign_code(plan.family)
        key = {"kind": kind, "version": VERSION, "model": plan.to_dict(), "servings": servings, **further}
        return {**key, "code": code} if code else key

    def _path(self, key: Mapping[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key['kind']}-{digest[:24]}.json"

    def _read(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the stored figures of `key`, or None where there are none that can be used."""
        path = self._path(key)
        try:
            entry = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self.say(f"costs: {unusable(path, error, 'it is made again')} Measured again.")
            return None
        fields = set(StaticCosts.__dataclass_fields__)
        value = entry.get("value") if isinstance(entry, dict) and entry.get("key") == key else None
        if not isinstance(value, dict) or set(value) != fields:
            self.say(f"costs: {path} is damaged (not the figures of this architecture); measured again.")
            return None
        return value

    def _write(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        text = json.dumps({"key": key, "value": value}, indent=1) + "\n"
        try:
            write_text(make_folder(self.folder) / self._path(key).name, text)
        except StorageError as error:
            if not self._told:
                self.say(f"costs: measured, but not kept for the next time: {error}")
            self._told = True
