"""Options of the rung schedulers. Apart from them, since they import Ray."""

from dataclasses import dataclass, replace

from spaces.errors import PluginError


@dataclass(frozen=True, slots=True, kw_only=True)
class RungConfig:
    """Where candidates are judged and how many go on.

    Attributes:
        rungs: epochs at which metrics are evaluated and candidates judged, rising.
        reduction_factor: the best 1 / reduction_factor of a rung go on; 1 measures there and stops nobody.
        quota: no more than that go on in all, but for those that nobody of the rung dominates.
    """

    rungs: tuple[int, ...] = (1, 3)
    reduction_factor: int = 3
    quota: bool = False

    def __post_init__(self) -> None:
        if any(rung < 1 for rung in self.rungs) or list(self.rungs) != sorted(set(self.rungs)):
            raise PluginError(f"rungs: got {list(self.rungs)}; allowed: rising epochs from 1, e.g. [1, 3].")
        if self.reduction_factor < 1:
            raise PluginError(
                f"reduction_factor: got {self.reduction_factor}; allowed: 1 or more. "
                "1 stops nobody, 2 the worse half."
            )

    def below(self, epochs: int) -> "RungConfig":
        """Return the rungs below full fidelity."""
        return replace(self, rungs=tuple(rung for rung in self.rungs if rung < epochs))
