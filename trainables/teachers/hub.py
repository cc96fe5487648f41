"""Teachers of the Hugging Face hub as folders on this machine."""

from contextlib import suppress
from pathlib import Path

from spaces.errors import TeacherError
from trainables.teachers.weights import INDEX, PLACES, shards_of

CONFIG = "config.json"
SMALL_FILES = ("*.json", "vocab.txt", "merges.txt")


def hub_folder(name: str) -> Path:
    """Return the local snapshot of a hub id: from the hub's cache, or downloaded once.

    Of the weights one kind is fetched, in the order of `weights.PLACES`, with all its shards.

    Args:
        name: such as `owner/model`.

    Raises:
        TeacherError: neither is possible; says how to bring the files here by hand.
    """
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        return _cached(name) or _downloaded(name)
    except (OSError, HTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TeacherError(
            f"teacher {name}: is no folder, stands not in the hub's cache, and could not be downloaded "
            f"({reason}). Check the name and the network, or download it elsewhere (hf download {name}), "
            "copy the folder here and give its path."
        ) from error


def _cached(name: str) -> Path | None:
    """Return the snapshot in the cache if config and weights are there in whole; the network is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError):  # not cached yet: the download is the answer
        folder = Path(snapshot_download(name, allow_patterns=list(SMALL_FILES), local_files_only=True))
        if (folder / CONFIG).is_file() and any(_whole(folder, place) for place in PLACES):
            return folder
    return None


def _downloaded(name: str) -> Path:
    """Return the snapshot, fetched; one without any weights is for their reader to tell."""
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, allow_patterns=list(SMALL_FILES)))
    for place in PLACES:
        wanted = [place]
        if place.endswith(INDEX):  # is among the small files, and names its shards
            wanted = sorted(set(shards_of(folder / place).values())) if (folder / place).is_file() else []
        if wanted:
            folder = Path(snapshot_download(name, allow_patterns=[*SMALL_FILES, *wanted]))
        if _whole(folder, place):
            break
    return folder


def _whole(folder: Path, place: str) -> bool:
    """Return whether weights stand in a place, with all the shards that it names."""
    if not (folder / place).is_file():
        return False
    return not place.endswith(INDEX) or all(
        (folder / shard).is_file() for shard in shards_of(folder / place).values()
    )
