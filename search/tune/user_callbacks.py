"""Callbacks of the user's, passed through to Ray Tune: one that raises is told, and the search goes on."""

from collections.abc import Callable
from typing import Any, final

from ray.tune import Callback

HOOKS = tuple(name for name in vars(Callback) if name == "setup" or name.startswith("on_"))


@final
class Guarded(Callback):
    """Stands before a user's callback; each hook of Ray's goes on to it."""

    def __init__(self, inner: Callback, say: Callable[[str], None]) -> None:
        """Take the callback, and what takes a line for the user."""
        self._inner, self._say = inner, say
        self._told: set[tuple[str, str]] = set()

    def call(self, hook: str, *args: Any, **kwargs: Any) -> None:
        """Call one hook of the user's."""
        try:
            getattr(self._inner, hook)(*args, **kwargs)
        except Exception as error:  # whatever a user's callback raises, it must not cost a search
            told = (hook, f"{type(error).__name__}: {error}")
            if told not in self._told:  # once each, not once an epoch
                self._told.add(told)
                self._say(
                    f"callback {type(self._inner).__name__}.{hook} raised {told[1]}; the search goes on"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its callbacks to a file that is never read."""
        return {}


def _passed(hook: str) -> Callable[..., None]:
    def call(self: Guarded, *args: Any, **kwargs: Any) -> None:
        self.call(hook, *args, **kwargs)

    return call


for _hook in HOOKS:
    setattr(Guarded, _hook, _passed(_hook))
