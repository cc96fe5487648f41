"""A folder of pictures, each with a text file of the same name beside it, one caption a line; or without any.

root/dogs/1.jpg  root/dogs/1.txt          or   root/train/...  root/val/...  [root/test/...]
"""

from os.path import isfile
from pathlib import Path

from spaces.errors import DatasetError
from trainables.datasets.formats.imagefolder import SPLIT_FOLDERS
from trainables.datasets.formats.walk import pictures_below, told_others
from trainables.datasets.prepare.items import Item
from trainables.datasets.prepare.listing import Asked, Listed, Lister

TEXT = ".txt"


def folder(asked: Asked) -> Listed:
    """List all pictures below a folder, with their captions.

    Raises:
        DatasetError: it is no folder; links lead in a circle; nothing to train on.
    """
    if not asked.root.is_dir():
        raise DatasetError(f"--root {asked.root}: is a file; allowed: a folder of pictures. Give its folder.")
    root = asked.root
    lister = Lister(asked)
    found = pictures_below(root, "", lister.problems.add)
    texts = found.others.pop(TEXT, 0)
    lister.found.notes += told_others(found.others)
    named = {Path(name).with_suffix(TEXT) for name in found.pictures}
    if lost := texts - sum(isfile(root / one) for one in named) if texts else 0:
        lister.found.notes.append(
            f"{lost:,} text files are not read: no picture has their name, with {TEXT} in small letters behind it"
        )
    for name in found.pictures:
        captions = _captions(lister, root, name) if texts else []
        top = Path(name).parts[0].casefold()
        split = SPLIT_FOLDERS.get(top, "") if len(Path(name).parts) > 1 else ""
        lister.take(
            Item(name=name, split=split, place=name, file=str(root / name), captions=captions),
            needs_text=bool(texts),
        )
    return lister.done()


def _captions(lister: Lister, root: Path, name: str) -> list[str]:
    """Return the captions of a picture; a file that cannot be read is noted."""
    file = (root / name).with_suffix(TEXT)
    place = str(Path(name).with_suffix(TEXT))
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        why = "is no UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        lister.leave_out("caption", name, place, why)
        return []
    lines = text.split("\n")  # `splitlines` would part a caption at marks that are blanks in it
    found = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        lister.leave_out("caption", name, place, "is empty")
    told = [(lister.text("caption", line, name, f"{place}:{number}")) for number, line in found]
    return [one for one in told if one is not None]
