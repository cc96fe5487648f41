"""What a literal may be: one rule per kind of field, with the words for its messages."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

from spaces.domains import is_number, relative
from spaces.plugins import meant


class Refused(Exception):
    """A value that a rule does not allow; the text says got, allowed and what to do."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """What a literal may be.

    Attributes:
        null: whether null is allowed.
    """

    null: bool = False

    @abstractmethod
    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""

    @abstractmethod
    def accept(self, value: Any) -> Any:
        """Return the value as it is kept.

        Raises:
            Refused: it is not allowed.
        """

    def read(self, value: Any) -> Any:
        """Return the value as it is kept; null where it is allowed.

        Raises:
            Refused: it is not allowed.
        """
        return None if value is None and self.null else self.accept(value)

    def refuse(self, value: Any, advice: str) -> Refused:
        """Return the error for a value."""
        return Refused(f"got {show(value)}; allowed: {self.allowed()}. {advice}")


def show(value: Any) -> str:
    """Return a value as a message shows it: as YAML writes it, short."""
    words: dict[object, str] = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@final
@dataclass(frozen=True, kw_only=True)
class Number(Rule):
    """A finite number.

    Attributes:
        whole: whole numbers only; kept as int, any other number as float.
        share: of one thing, or several whole ones.
        low: least value, itself allowed unless `open_low`.
        high: greatest value, itself allowed unless `open_high`; None for any.
        relative: whether `0.5x` of the teacher's value is allowed.
        most_times: greatest factor of a relative value; None for any.
        word: a text that is allowed in its place, "" for none.
        why: why nobody means more than `high`, as a clause; for a bound against slips and against what fills a machine.
    """

    low: float
    open_low: bool = False
    high: float | None = None
    open_high: bool = False
    whole: bool = False
    share: bool = False
    relative: bool = False
    most_times: int | None = None
    word: str = ""
    why: str = ""

    def allowed(self) -> str:
        """Return the words for `allowed: ...`, without bounds against slips: these are told to whom they concern."""
        return self._allowed(all_bounds=not self.why)

    def _allowed(self, *, all_bounds: bool) -> str:
        noun = "a whole number" if self.whole else "a number"
        bound = f"above {self.low:.15g}" if self.open_low else f">= {self.low:.15g}"
        if self.high is not None and all_bounds:
            bound += f" and {'below' if self.open_high else '<='} {self.high:.15g}"
        bound += ", above 1 a whole one" if self.share else ""
        bound += f", or {self.word}" if self.word else ""
        most = f", at most {self.most_times}x" if self.most_times and all_bounds else ""
        return f"{noun} {bound}" + (f", or relative to the teacher as 0.5x{most}" if self.relative else "")

    def accept(self, value: Any) -> Any:
        """Return an int, a float, or the relative text or the word."""
        if self.word and value == self.word:
            return value
        factor = relative(value)
        if factor is not None and self.relative:
            if factor == 0:
                raise self.refuse(value, "Write a factor above 0" + (", or 0." if self.low == 0 else "."))
            if self.most_times is not None and factor > self.most_times:
                raise self._too_much(value)
            return value
        if not is_number(value):
            raise self.refuse(
                value, "Write a plain number." if factor is None else "Write it as an absolute number."
            )
        if (self.whole or (self.share and value > 1)) and value != int(value):
            raise self.refuse(value, f"Use {int(value)} or {int(value) + 1}.")
        if value < self.low or (self.open_low and value == self.low):
            raise self.refuse(value, "Raise it.")
        if self.whole and not is_number(int(value)):  # 1e19: no table holds it, nor is it read back
            raise self.refuse(value, "Lower it: whole numbers end below 2^63.")
        if self.high is not None and (value > self.high or (self.open_high and value == self.high)):
            raise self._too_much(value)
        return int(value) if self.whole else float(value)

    def _too_much(self, value: Any) -> Refused:
        advice = f"Lower it: {self.why}." if self.why else "Lower it."
        return Refused(f"got {show(value)}; allowed: {self._allowed(all_bounds=True)}. {advice}")


@final
@dataclass(frozen=True, kw_only=True)
class Word(Rule):
    """A text; one of `options` where there are any.

    Attributes:
        options: all that is allowed; () for any text.
        searched: whether a list is likely meant as a choice.
    """

    options: tuple[str, ...] = ()
    searched: bool = False

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return ", ".join(self.options) if self.options else "a text that is not empty"

    def accept(self, value: Any) -> Any:
        """Return the text."""
        if isinstance(value, list) and self.searched:
            raise self.refuse(value, "Write {choice: [a, b]} to search several.")
        if not isinstance(value, str) or not value.strip():
            plain = "Write it in quotes." if isinstance(value, bool | int | float) else "Write a name."
            raise self.refuse(value, "Write one of them." if self.options else plain)
        if self.options and value not in self.options:
            raise self.refuse(value, meant(value, self.options, "Write one of them.", quoted=False))
        return value


@final
@dataclass(frozen=True, kw_only=True)
class Option(Rule):
    """An option of a plug-in, whose own Config says more: a scalar or a list of scalars; `leaves.option` adds mappings."""

    null: bool = True

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return "a number, text, true, false, null, or a list of these"

    def accept(self, value: Any) -> Any:
        """Return the scalar or list."""
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if part is not None and not isinstance(part, str | bool) and not is_number(part):
                raise self.refuse(value, "Write plain values.")
        return value


@final
@dataclass(frozen=True, kw_only=True)
class Flag(Rule):
    """True or false."""

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return "true or false"

    def accept(self, value: Any) -> Any:
        """Return the flag."""
        if not isinstance(value, bool):
            raise self.refuse(value, "Write one of them.")
        return value


@final
@dataclass(frozen=True, kw_only=True)
class Points(Rule):
    """A list of points of the space; `spaces.start_points` says what may stand in one."""

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return "a list of mappings, searched path: value"

    def accept(self, value: Any) -> Any:
        """Return the points."""
        if not isinstance(value, list | tuple):
            raise self.refuse(value, "Write `- {student.image.width: 0.25x}` for each point.")
        for point in value:
            if not isinstance(point, dict):
                raise self.refuse(point, "Write `{student.image.width: 0.25x}`, or {} for all defaults.")
        return tuple(value)


@final
@dataclass(frozen=True)
class Beside:
    """Says of an option, as `metadata={"beside": ...}`, beside which values of another one it means anything.

    Attributes:
        option: the other one, of the same Config.
        value: that it must have; null for any but 0.
    """

    option: str
    value: Any = None

    def holds(self, other: Any) -> bool:
        """Return whether the option means something beside a value of the other one."""
        return other not in (0, None) if self.value is None else bool(other == self.value)

    def __str__(self) -> str:
        return f"{self.option} {'other than 0' if self.value is None else show(self.value)}"
