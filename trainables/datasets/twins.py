"""Pictures that are byte for byte in two splits: their figures say nothing on new ones."""

from collections.abc import Iterable

from trainables.datasets.jsonl_files import shown

Twin = tuple[str, str, str, str]
"""Name and split of a picture, and of another with the same bytes that is in a later split."""


def twins(rows: Iterable[tuple[str, str, str]]) -> list[Twin]:
    """Return the pictures of which an earlier split has the same bytes.

    Args:
        rows: name, split and hash of the bytes of each picture, one split after the other.
    """
    first: dict[str, tuple[str, str]] = {}
    found = []
    for name, split, content in rows:
        other, earlier = first.setdefault(content, (name, split))
        if earlier != split:
            found.append((other, earlier, name, split))
    return found


def told_twins(found: list[Twin]) -> list[str]:
    """Return the warning of such pictures, a line; [] where there are none."""
    if not found:
        return []
    name, split, other, other_split = found[0]
    count = len(found)
    return [
        f"WARNING: {count:,} held-out {'pictures are' if count > 1 else 'picture is'} byte for byte in an "
        f"earlier split, too, such as {shown(name)} ({split}) and {shown(other)} ({other_split}): figures of "
        "such pictures say nothing on new ones. Put all copies of a picture into one split."
    ]
