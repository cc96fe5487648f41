"""Teachers of the Hugging Face hub as folders on this machine."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from spaces.errors import TeacherError
from trainables.teachers.json_file import read_object
from trainables.teachers.weights import INDEX, PLACES, shards_of

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")
SMALL_FILES = ("*.json", "vocab.txt", "merges.txt")
PLACES_OF_CACHE = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
"""Variables that say where the hub's cache lies."""


def hub_folder(name: str) -> Path:
    """Return the local snapshot of a hub id: from the hub's cache, or downloaded once.

    Of the weights one kind is fetched, in the order of `weights.PLACES`, with all its shards.

    Args:
        name: such as `owner/model`.

    Raises:
        TeacherError: neither is possible; says how to bring the files here by hand.
    """
    _settle()
    return _reached(name, lambda: _cached(name) or _downloaded(name))


def _settle() -> None:
    """Let the hub's cache mean the same to processes that start later: trials have other working folders than this one."""
    for variable in PLACES_OF_CACHE:
        place = os.path.expandvars(os.path.expanduser(os.environ.get(variable, "")))
        if place and not os.path.isabs(place):
            os.environ[variable] = os.path.abspath(place)


def small_file(name: str, file: str) -> Path:
    """Return one small file of a hub id, downloaded if it is not in the hub's cache.

    Raises:
        TeacherError: as `hub_folder`.
    """
    from huggingface_hub import hf_hub_download

    return _reached(name, lambda: Path(hf_hub_download(name, file)))


def cached_file(name: str, file: str) -> Path | None:
    """Return one file of a hub id if the hub's cache has it; the network is not asked."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None  # no name of the hub
    return Path(found) if isinstance(found, str) else None


def _reached(name: str, ask: Callable[[], Path]) -> Path:
    """Return what was asked of the hub.

    Raises:
        TeacherError: it cannot be had; says how to bring the files here by hand.
    """
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        return ask()
    except (OSError, HTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TeacherError(
            f"teacher {name}: is no folder, stands not in the hub's cache, and could not be downloaded "
            f"({reason}). Check the name and the network, or download it elsewhere (hf download {name}), "
            "copy the folder here and give its path."
        ) from error


def cached_snapshot(name: str) -> Path | None:
    """Return the snapshot in the cache if config and weights are there in whole; the network is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    with suppress(
        LocalEntryNotFoundError, HFValidationError
    ):  # not cached yet, or no name: the download tells
        folder = Path(snapshot_download(name, allow_patterns=list(SMALL_FILES), local_files_only=True))
        if (folder / CONFIG).is_file() and any(_whole(folder, place) for place in PLACES):
            return folder
    return None


def _cached(name: str) -> Path | None:
    """Return the snapshot in the cache; where somebody has fetched a model without what reads for it, that is fetched now.

    Without a network it stays as it is, and whoever reads it tells what it lacks.
    """
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    found = cached_snapshot(name)
    if found is not None and _reads_nothing(found):
        with suppress(OSError, HTTPError):
            return _downloaded(name)
    return found


def _reads_nothing(folder: Path) -> bool:
    """Return whether the image processor or the tokenizer of a model that has use for one is not there."""
    settings = read_object(folder / CONFIG)
    sees = "vision_config" in settings or ("image_size" in settings and "architecture" not in settings)
    needed = [PROCESSORS] * sees + [TOKENIZERS] * ("text_config" in settings)
    return not all(any((folder / one).is_file() for one in names) for names in needed)


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
