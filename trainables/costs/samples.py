"""Measured times by block, kept on disk: small files that are added and never changed, so that several processes may add."""

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from spaces.errors import StorageError
from spaces.files import make_folder, write_text
from trainables.costs.blocks import TimedPass
from trainables.datasets.cache_folder import unusable

VERSION = 1  # raise it whenever a change in this room or in what a block runs changes a time
KEPT = 8  # files of one block: the oldest go

Say = Callable[[str], None]


class SampleStore:
    """Times of the blocks of one target.

    Its folder is named by the target, and says in `target.json` which one that is. A file holds what one process measured of
    one block at one time, and repeats the whole key of the block. A damaged one is taken away, and said.
    """

    def __init__(self, folder: Path, target: Mapping[str, Any], say: Say) -> None:
        """Use a folder of all targets; `target` is everything that times of one hang on, `say` takes one line."""
        self._target = {"version": VERSION, **target}
        digest = hashlib.sha256(json.dumps(self._target, sort_keys=True).encode()).hexdigest()
        self.folder = folder / f"latency-{digest[:16]}"
        self._say = say
        self._told = set[Path]()  # damaged files, or the folder, that a line was said about
        self._own: dict[str, list[float]] = {}  # what this process added

    def read(self, block: TimedPass) -> list[float]:
        """Return the times of a block in ms, the oldest first; those of this process alone where the disk has fewer."""
        kept = [time for path in self._paths(block) for time in self._times(path, block)]
        own = self._own.get(block.digest, [])
        return kept if len(kept) >= len(own) else list(own)

    def add(self, block: TimedPass, times: Sequence[float]) -> None:
        """Keep times of a block; where the disk takes none they are there for this process alone, and that is said."""
        self._own[block.digest] = [*self._own.get(block.digest, []), *times]
        text = json.dumps({"block": block.to_dict(), "ms": [float(f"{time:.4g}") for time in times]}) + "\n"
        try:
            if not (make_folder(self.folder) / "target.json").exists():
                write_text(self.folder / "target.json", json.dumps(self._target, indent=1) + "\n")
            write_text(self.folder / f"{block.digest}-{secrets.token_hex(6)}.json", text)
        except StorageError as error:
            self._tell(self.folder, f"latency: measured, but not kept for the next time: {error}")
        for path in self._paths(block)[:-KEPT]:
            with suppress(OSError):  # another process was first
                path.unlink()

    def _paths(self, block: TimedPass) -> list[Path]:
        """Return the files of a block, the oldest first."""
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.startswith(f"{block.digest}-"):
                        with suppress(FileNotFoundError):
                            found.append((entry.stat().st_mtime_ns, entry.path))
        except FileNotFoundError:  # nothing was measured yet
            return []
        except OSError as error:
            self._tell(self.folder, f"latency: {unusable(self.folder, error, '')} Measured again.")
            return []
        return [Path(path) for _, path in sorted(found)]

    def _times(self, path: Path, block: TimedPass) -> list[float]:
        """Return what is in a file; nothing where it is damaged or gone."""
        try:
            entry = json.loads(path.read_text())
        except FileNotFoundError:  # another process took the oldest away
            return []
        except (OSError, ValueError, RecursionError) as error:
            self._drop(
                path, unusable(path, error, "it is measured again"), damaged=not isinstance(error, OSError)
            )
            return []
        times = entry.get("ms") if isinstance(entry, dict) and entry.get("block") == block.to_dict() else None
        if not isinstance(times, list) or not times or not all(_is_time(one) for one in times):
            self._drop(path, f"{path} is damaged (not the times of this block).", damaged=True)
            return []
        return times

    def _drop(self, path: Path, told: str, *, damaged: bool) -> None:
        self._tell(path, f"latency: {told} Measured again.")
        if damaged:
            with suppress(OSError):  # it was said, and is not read again as long as it is there
                path.unlink()

    def _tell(self, path: Path, line: str) -> None:
        if path not in self._told:
            self._told.add(path)
            self._say(line)


def _is_time(one: object) -> bool:
    return isinstance(one, float) and math.isfinite(one) and one > 0
