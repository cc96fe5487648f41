"""The token of a Ray cluster. Apart from `cluster.py`, because Ray reads these settings while it is imported."""

import os
from pathlib import Path


def offer_token() -> None:
    """Make Ray show the token of this machine, if there is one and nobody has decided otherwise.

    `ray start --head` asks for a token as soon as the machine has one, but up to 2.60 `ray.init` shows it only to
    a cluster that it starts itself. A cluster that asks for none takes no offence.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    # where there is no HOME, and nobody of this number, `Path.home` raises
    file = Path(named or os.path.expanduser("~/.ray/auth_token"))
    if os.environ.get("RAY_AUTH_TOKEN") or file.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
