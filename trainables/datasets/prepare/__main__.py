"""Bring a public data set, or pictures of your own, into the form that every command reads: `--dataset prepared:DIR`.

python -m trainables.datasets.prepare --kind coco --root DIR --out DIR
python -m trainables.datasets.prepare --kind csv --root pairs.csv --out DIR --workers 8
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spaces.console import command, say
from spaces.errors import DatasetError, StudentSearchError
from spaces.files import make_folder
from spaces.owner import OWNER_FILE, Place, owned
from spaces.paths import kept_flag, path_flag, settled
from trainables.datasets.prepare.form import QUARANTINE
from trainables.datasets.prepare.kinds import KINDS, READS
from trainables.datasets.prepare.listing import LONGEST_CAPTION, Asked
from trainables.datasets.prepare.plan import Wanted
from trainables.datasets.prepare.work import Spread, in_processes, prepare
from trainables.share import usable_cores

ON_CLUSTER = "search.results.preparing"  # knows Ray, which this room does not
SHARD_PICTURES = 1000


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m trainables.datasets.prepare",
        description="Bring pictures and texts into one sharded form, which every command reads as --dataset prepared:DIR.",
        epilog="A run that was killed goes on: give the same command again. What cannot be used stands in OUT/quarantine.jsonl.",
    )
    made.add_argument(
        "--kind", required=True, choices=sorted(KINDS), help="see trainables/datasets/prepare/README.md"
    )
    made.add_argument("--root", type=path_flag, required=True, help="folder or file of the data")
    made.add_argument("--out", type=kept_flag, required=True, help="folder that is filled")
    made.add_argument("--workers", type=int, help="processes (default: the cores that are ours)")
    made.add_argument(
        "--address",
        help="of a Ray cluster: host:port or auto; its nodes share the work and see --root and --out",
    )
    made.add_argument(
        "--shard-pictures", type=int, default=SHARD_PICTURES, help=f"of a shard (default {SHARD_PICTURES})"
    )
    made.add_argument(
        "--longest-side",
        type=int,
        default=0,
        help="make larger pictures smaller, as JPEG; by default bytes stay as they are",
    )
    made.add_argument(
        "--longest-caption",
        type=int,
        default=LONGEST_CAPTION,
        help=f"letters at most, else left out (default {LONGEST_CAPTION})",
    )
    made.add_argument("--image-root", type=path_flag, help="folder that paths of pictures start from")
    made.add_argument("--annotations", type=path_flag, help="coco, flickr30k: the file of Karpathy's splits")
    made.add_argument(
        "--split",
        choices=("karpathy", "official"),
        help="coco: whose splits (default: Karpathy's if there)",
    )
    made.add_argument("--year", type=int, help="coco, official splits: 2014 or 2017 (default)")
    made.add_argument(
        "--vg", type=path_flag, help="vqav2: question_answers.json of Visual Genome, to train on too"
    )
    made.add_argument("--image-column", help="tables: of the pictures")
    made.add_argument("--caption-column", help="tables: of the captions")
    made.add_argument("--split-column", help="tables: of the splits")
    made.add_argument(
        "--val-ratio",
        type=float,
        help="share to validate on where the data names no split (default 0.1); 0: all to train on, beside other data",
    )
    made.add_argument(
        "--test-ratio",
        type=float,
        help="share to test on (default 0.1, or 0 where official splits have none)",
    )
    made.add_argument("--seed", type=int, help="of that division (default 0)")
    return made


def wanted_of(options: argparse.Namespace) -> Wanted:
    """Return what the flags ask for.

    Raises:
        DatasetError: a value out of range, a flag that the kind does not read, or a place that does not exist.
    """
    names = [name for name in Asked.__slots__ if name not in ("root", "longest_caption")]
    given = [name for name in names if getattr(options, name) is not None]
    for name in given:
        if name not in READS[options.kind]:
            readers = ", ".join(kind for kind, read in READS.items() if name in read)
            raise DatasetError(
                f"--{name.replace('_', '-')}: is not read by --kind {options.kind}; allowed for: {readers}. Leave it out."
            )
    least = {"workers": 1, "shard_pictures": 1, "longest_caption": 1, "longest_side": 0, "seed": 0}
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise DatasetError(f"--{name.replace('_', '-')}: got {value}; allowed: {low} or more. Change it.")
    if 0 < options.longest_side < 16:
        raise DatasetError(
            f"--longest-side: got {options.longest_side}; allowed: 16 or more, or 0 to keep all. Change it."
        )
    shares = [options.val_ratio or 0.0, options.test_ratio or 0.0]
    if not all(0 <= one < 1 for one in shares) or sum(shares) >= 1:
        raise DatasetError(
            f"--val-ratio, --test-ratio: got {shares[0]:g} and {shares[1]:g}; allowed: 0 or more each, below 1 in all. Lower one."
        )
    for flag in ("root", "image_root", "annotations", "vg"):
        place = getattr(options, flag)
        if place is not None and not place.exists():
            raise DatasetError(
                f"--{flag.replace('_', '-')} {place}: does not exist. Give the place of the data."
            )
    told: dict[str, Any] = {
        name: settled(value) if isinstance(value := getattr(options, name), Path) else value for name in given
    }
    asked = Asked(root=settled(options.root), longest_caption=options.longest_caption, **told)
    return Wanted(
        kind=options.kind,
        asked=asked,
        out=settled(options.out),
        shard_pictures=options.shard_pictures,
        longest_side=options.longest_side,
    )


def _spread(options: argparse.Namespace, asked: Asked) -> Spread:
    """Return what carries the work out: processes here, or tasks on a cluster.

    Raises:
        DatasetError: both are asked for, or there is no Ray to ask.
    """
    if options.address is None:
        return in_processes(options.workers or usable_cores())
    if options.workers is not None:
        raise DatasetError(
            "--workers: is of one machine, and --address takes the cores of a cluster. Leave out one of them."
        )
    if (
        importlib.util.find_spec("ray") is None
        or importlib.util.find_spec(ON_CLUSTER.partition(".")[0]) is None
    ):
        raise DatasetError(
            "--address: needs Ray and the room `search`, which this installation lacks. Leave it out."
        )
    places = {"--root": asked.root, "--image-root": asked.image_root, "--vg": asked.vg}
    read = {flag: place for flag, place in places.items() if place is not None}
    made: Spread = importlib.import_module(ON_CLUSTER).on_cluster(options.address, places=read, say=say)
    return made


def summary(manifest: dict[str, object], out: Path) -> list[str]:
    """Return what is said at the end: counts of each split, what was left out, and how it is read."""
    counts = manifest["counts"]
    left = manifest["left_out"]
    assert isinstance(counts, dict)
    assert isinstance(left, dict)
    said = [
        f"{split}: " + ", ".join(f"{count:,} {noun}" for noun, count in of_split.items() if count)
        for split, of_split in counts.items()
    ]
    gone = ", ".join(f"{count:,} {what}{'s' if count != 1 else ''}" for what, count in left.items())
    return [
        *(f"{one}" for one in manifest["notes"] if isinstance(manifest["notes"], list)),  # type: ignore[attr-defined]
        f"{manifest['kind']} (divided by {manifest['divided']}): {'; '.join(said)}",
        f"left out: {gone} (see {out / QUARANTINE})" if gone else "left out: nothing",
        f"fingerprint {manifest['fingerprint']}; read it as --dataset prepared:{out}",
    ]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        wanted = wanted_of(options)
        spread = _spread(options, wanted.asked)
        make_folder(wanted.out)
        place = Place(
            noun="--out", path=wanted.out, mark=wanted.out / OWNER_FILE, kept=" (what it has is kept)"
        )
        with owned(place, say=say):
            manifest = prepare(wanted, spread, say)
    except StudentSearchError as error:
        say(f"error: {error}")
        return 2
    for line in summary(manifest, wanted.out):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
