"""What the commands have in common on their command lines: `key=value` beside `--set key=value`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

DEFAULT_SPACE = Path("spaces/dlip.yaml")


def add_settings(parser: argparse.ArgumentParser, *, metavar: str, help: str) -> None:
    """Let a command take settings, with --set before each or without.

    Args:
        parser: of the command.
        metavar: what a setting looks like.
        help: what may be set.
    """
    parser.add_argument("settings", nargs="*", default=[], metavar=metavar, help=help)
    parser.add_argument(
        "--set", action="append", default=[], metavar=metavar, help="the same, with a flag; may be repeated"
    )


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, *, lists: Sequence[str] = ()
) -> argparse.Namespace:
    """Return the parsed command line, all settings in `set`.

    Args:
        parser: see `add_settings`.
        arguments: without the program's name; None for those of this process.
        lists: flags that take several words, and so those behind them, too.
    """
    options = parser.parse_intermixed_args(arguments)
    for word in options.settings:
        if "=" not in word:
            parser.error(f"got {word!r}; allowed: flags, and {parser_metavar(parser)}. See --help.")
    found = list(options.settings)
    for name in lists:
        words = getattr(options, name)
        if words:
            settings = [str(word) for word in words if "=" in str(word)]
            kept = [word for word in words if "=" not in str(word)]
            if not kept:
                action = next(one for one in parser._actions if one.dest == name)
                parser.error(
                    f"{action.option_strings[0]}: got only settings, {' '.join(settings)}; allowed: one "
                    f"{action.metavar} or more before them. Name one, or put the settings before the flag."
                )
            found += settings
            setattr(options, name, kept)
    flagged = {path_of(setting) for setting in options.set}
    # which of the two came later, nobody can tell
    if twice := [word for word in found if path_of(word) in flagged]:
        parser.error(
            f"got {twice[0]!r}, and --set for the same field; allowed: one of them. Leave the other out."
        )
    options.set = [*options.set, *found]
    return options


def path_of(setting: str) -> str:
    """Return the field that a setting sets."""
    return setting.partition("=")[0].strip()


def parser_metavar(parser: argparse.ArgumentParser) -> str:
    """Return what a setting of the command looks like."""
    return next(str(action.metavar) for action in parser._actions if action.dest == "settings")
