"""One folder that was prepared: its manifest, and its shards as they were written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.base import Progress
from trainables.datasets.contents import Contents
from trainables.datasets.formats.walk import folder_of, some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.form import AGAIN, MANIFEST, PROGRESS, SHARDS, VERSION, Shard
from trainables.datasets.prepare.reading import Rows, read_rows

COMMAND = "python -m trainables.datasets.prepare --kind KIND --root DATA --out"


class PreparedFolder:
    """A folder of shards.

    Attributes:
        root: of it.
        manifest: what its preparation has noted.
        shards: of all its splits.
    """

    def __init__(self, text: str) -> None:
        """Read the manifest.

        Args:
            text: the folder, as the user names it.

        Raises:
            DatasetError: there is none, it is damaged, or another version wrote it.
        """
        self.root = folder_of("prepared", text)
        self.manifest = _manifest(self.root)
        self.shards = _shards(self.manifest, self.root)
        self._verified = False

    @property
    def fingerprint(self) -> str:
        """Hash of all rows in their order."""
        return str(self.manifest["fingerprint"])

    @property
    def kind(self) -> str:
        """Of what it was prepared."""
        return str(self.manifest["kind"])

    def pictures(self, split: str) -> int:
        """Return how many pictures a split has."""
        return sum(shard.pictures for shard in self.shards if shard.split == split)

    def rows(self, split: str) -> Rows | None:
        """Return the rows of a split, whose shards must be as they were written; None where it has none.

        Raises:
            DatasetError: a damaged shard.
        """
        shards = [shard for shard in self.shards if shard.split == split]
        return read_rows(self.root, shards) if shards else None

    def verify(self, progress: Progress) -> None:
        """Compare all shards with the manifest, once; `contents.py` says what keeps it cheap.

        Raises:
            DatasetError: a shard is gone, or its bytes are others than when it was written.
        """
        if self._verified:
            return
        paths = [self.root / SHARDS / shard.file for shard in self.shards]
        gone = [path.name for path in paths if not path.is_file()]
        if gone:
            raise DatasetError(f"{self.root}: {len(gone):,} shards are gone: {some(gone)}. {AGAIN}")
        found = Contents(f"prepared|{self.root}").hashes(paths, progress)
        wrong = [
            f"{path.name} ({digest})" if isinstance(digest, OSError) else path.name
            for path, shard, digest in zip(paths, self.shards, found, strict=True)
            if digest != shard.digest
        ]
        if wrong:
            raise DatasetError(
                f"{self.root}: {len(wrong):,} shards hold other bytes than were written: {some(wrong)}. {AGAIN}"
            )
        self._verified = True

    def left_out(self) -> list[str]:
        """Return the notes of its preparation, and what was left out then."""
        left: Mapping[str, int] = self.manifest["left_out"]
        gone = ", ".join(f"{count:,} {what}{'s' if count != 1 else ''}" for what, count in left.items())
        told = f"WARNING: left out while it was prepared: {gone}; each stands in {self.root / 'quarantine.jsonl'}"
        return [*map(str, self.manifest["notes"]), *([told] if gone else [])]


def _manifest(root: Path) -> dict[str, Any]:
    """Return what stands in the manifest.

    Raises:
        DatasetError: there is none, it is damaged, or another version wrote it.
    """
    path = root / MANIFEST
    if not path.is_file():
        begun = (root / PROGRESS).is_dir()
        why = (
            "its preparation is not finished"
            if begun
            else f"holds no {MANIFEST}, so that nothing was prepared there"
        )
        advice = (
            "Give the same command again: it goes on"
            if begun
            else f"Prepare the data first: {COMMAND} {root}"
        )
        raise DatasetError(f"dataset.root: {root}: {why}. {advice}.")
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = told["version"]
        for key in ("kind", "fingerprint", "divided", "counts", "left_out", "notes", "shards"):
            told[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: damaged ({type(error).__name__}: {shown(str(error), 80)}). {AGAIN}"
        ) from error
    if version != VERSION:
        raise DatasetError(f"{path}: is of version {version!r}; allowed: {VERSION}. Prepare the data again.")
    return told


def _shards(manifest: dict[str, Any], root: Path) -> list[Shard]:
    try:
        return [Shard(**one) for one in manifest["shards"]]
    except TypeError as error:
        raise DatasetError(f"{root / MANIFEST}: damaged ({shown(str(error), 80)}). {AGAIN}") from error
