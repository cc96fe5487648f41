"""What the commands that train an embedded teacher have in common: flags, the folder, and the figures at the end."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from spaces.errors import StudentSearchError
from spaces.owner import owned
from spaces.paths import kept_flag
from trainables.worker import make_out, out_place

LEAST = {"epochs": 1, "steps": 1, "seed": 0, "threads": 1}
"""Least value of each flag that is a number."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(text, file=sys.stderr, flush=True)


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    pretrain: Callable[[argparse.Namespace], dict[str, Any]],
) -> int:
    """Run a command; return its exit code.

    Args:
        parser: with the flags that only this command has.
        arguments: of the command line.
        pretrain: trains a teacher, writes its folder `out`, and returns what it measured.
    """
    parser.add_argument("--out", type=kept_flag, required=True, help="folder of the new teacher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    options = parser.parse_args(arguments)
    for name, least in LEAST.items():
        value = getattr(options, name, None)
        if value is not None and value < least:
            parser.error(f"--{name}: got {value}; allowed: {least} or more")
    torch.set_num_threads(options.threads)
    try:
        make_out(options.out)
        with owned(out_place(options.out), say=say):
            measured = pretrain(options)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(measured["metrics"], indent=2))
    return 0
