"""Pictures that are byte for byte twice where they are held out: figures on them say little, or something wrong."""

from collections.abc import Iterable, Sequence

from trainables.datasets.jsonl_files import shown

Twin = tuple[str, str, str, str]
"""Name and split of a picture, and of another with the same bytes that comes later, in a held-out split."""


def twins(rows: Iterable[tuple[str, str, str]]) -> list[Twin]:
    """Return the held-out pictures of which the same bytes stand before, in an earlier split or in their own.

    Args:
        rows: name, split and hash of the bytes of each picture, one split after the other.
    """
    first: dict[str, tuple[str, str]] = {}
    found = []
    for name, split, content in rows:
        before = (name, split)
        other, earlier = first.setdefault(content, before)
        if (other, earlier) != before and (earlier, split) != ("train", "train"):
            found.append((other, earlier, name, split))
    return found


def told_twins(found: Sequence[Twin], *, captioned: bool) -> list[str]:
    """Return the warnings of such pictures, a line each; [] where there are none.

    Args:
        found: what `twins` gave.
        captioned: whether pictures have captions, by which they are told apart.
    """
    known = [one for one in found if one[1] != one[3]]
    alike = [one for one in found if one[1] == one[3]] if captioned else []
    told = []
    if known:
        name, split, other, other_split = known[0]
        told.append(
            f"WARNING: {_held_out(known)} byte for byte in an earlier split, too, such as {shown(name)} ({split}) and "
            f"{shown(other)} ({other_split}): figures of such pictures say nothing on new ones. Put all copies of a picture into "
            "one split."
        )
    if alike:
        name, _, other, split = alike[0]
        told.append(
            f"WARNING: {_held_out(alike)} byte for byte another one of the same split, such as {shown(name)} and {shown(other)} "
            f"({split}): retrieval counts the captions of one as wrong for the other, and cannot be right. Give each picture one "
            "row with all of its captions."
        )
    return told


def _held_out(found: Sequence[Twin]) -> str:
    return f"{len(found):,} held-out {'pictures are' if len(found) > 1 else 'picture is'}"
