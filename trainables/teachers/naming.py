"""How a teacher is named: one model, or a part from each of several checkpoints; and what goes with it.

`NAME`, `NAME,temperature=0.05`, `NAME,prompt=a picture of`, `NAME,image_size=224`, or `retrieval=NAME,captioning=NAME,vqa=NAME`
with one or more of the three and these behind them. NAME is a name of the table, a folder, a file of weights, or a hub id.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from spaces.errors import TeacherError
from spaces.paths import settled, user_path
from spaces.plugins import meant
from trainables.teachers import TEACHERS

TASKS_OF_PARTS = ("retrieval", "captioning", "vqa")
TEMPERATURE, PROMPT, IMAGE_SIZE = "temperature", "prompt", "image_size"
KEYS = (*TASKS_OF_PARTS, TEMPERATURE, PROMPT, IMAGE_SIZE)
_KEY = rf"(?:{'|'.join(KEYS)})="
_WORD = r"\s*([A-Za-z_]+)\s*="  # of something that looks like a key
LONGEST = 255  # bytes of the name of a file
WIDEST = 4096  # pixels of a side: more tokens than that makes no machine holds
LARGEST = 1.0  # of a temperature; training keeps it at 0.5 at most (Li et al. 2022, as coded)
ADVICE = (
    "NAME, or one or more of retrieval=NAME,captioning=NAME,vqa=NAME, and at the end "
    ",temperature=NUMBER ,prompt=WORDS ,image_size=PIXELS"
)


@dataclass(frozen=True, kw_only=True)
class TeacherName:
    """A teacher's name, taken apart.

    Attributes:
        whole: name of a teacher that is one model; "" of one that is made of parts.
        parts: task -> name of the checkpoint that it is taken from, in the order of `TASKS_OF_PARTS`.
        temperature: of its similarities, if that is told.
        prompt: words that the captions which it says go on from; "" for none.
        image_size: side of the pictures that it is shown; 0 for that of its training.
    """

    whole: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    prompt: str = ""
    image_size: int = 0

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Take a name apart.

        Raises:
            TeacherError: a part twice, empty or too long, or a temperature that is none.
        """
        whole, parts, temperature, prompt, side = "", dict[str, str](), None, "", 0
        for number, piece in enumerate(re.split(rf"\s*,\s*(?={_KEY})", text)):
            key, _, value = piece.partition("=") if re.match(_KEY, piece) else ("", "", piece)
            slip = None if key == PROMPT else re.search(rf"{',' if key else '(?:^|,)'}{_WORD}", value)
            if slip and not os.path.exists(user_path(value)):
                advice = meant(slip[1], KEYS, "Name one of these.")
                raise TeacherError(f"teacher {text}: got {slip[1]!r}; allowed: {ADVICE}. {advice}")
            if key == TEMPERATURE and temperature is None:
                temperature = _number(text, value)
            elif key == IMAGE_SIZE and not side:
                side = _side(text, value)
            elif key == PROMPT and not prompt and value.strip():
                prompt = value.strip()
            elif key in TASKS_OF_PARTS and key not in parts and not whole and value:
                parts[key] = value
            elif not key and not number:
                whole = value
            else:
                raise TeacherError(f"teacher {text}: got {piece!r}; allowed: {ADVICE}, each once.")
        if not whole and not parts:
            raise TeacherError(f"teacher {text}: names no checkpoint; allowed: {ADVICE}.")
        ordered = {task: parts[task] for task in TASKS_OF_PARTS if task in parts}
        found = cls(whole=whole, parts=ordered, temperature=temperature, prompt=prompt, image_size=side)
        if long := [
            one for name in found.names for one in name.split("/") if len(os.fsencode(one)) > LONGEST
        ]:
            raise TeacherError(
                f"teacher {long[0][:40]}...: got a name of {len(os.fsencode(long[0])):,} bytes; allowed: {LONGEST}, more no disk "
                "holds. Give a shorter one."
            )
        return found

    def __str__(self) -> str:
        named = [f"{task}={name}" for task, name in self.parts.items()] or [self.whole]
        if self.temperature is not None:
            named.append(f"{TEMPERATURE}={self.temperature!r}")
        if self.prompt:
            named.append(f"{PROMPT}={self.prompt}")
        if self.image_size:
            named.append(f"{IMAGE_SIZE}={self.image_size}")
        return ",".join(named)

    @property
    def names(self) -> tuple[str, ...]:
        """The checkpoints that it is made of."""
        return tuple(self.parts.values()) or (self.whole,)

    def moved(self, place: Callable[[str], str]) -> Self:
        """Return it with other names of its checkpoints."""
        if not self.parts:
            return replace(self, whole=place(self.whole))
        return replace(self, parts={task: place(name) for task, name in self.parts.items()})


def _number(text: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not 0 < found <= LARGEST:
        raise TeacherError(
            f"teacher {text}, {TEMPERATURE}: got {value!r}; allowed: a number above 0, at most {LARGEST:g}. Training begins at "
            "0.07: give one near it, or none, and a search finds it."
        )
    return found


def _side(text: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 9 and 0 < int(value) <= WIDEST):
        raise TeacherError(
            f"teacher {text}, {IMAGE_SIZE}: got {value!r}; allowed: a whole number of pixels, at most {WIDEST:,}, such as 224 or "
            "384. Give one."
        )
    return int(value)


def of_checkpoints(text: str, place: Callable[[str], str]) -> str:
    """Return a name with other names of its checkpoints; one that is no name as it is, for its reader to tell."""
    try:
        return str(TeacherName.parsed(text).moved(place))
    except TeacherError:
        return text


def settled_name(text: str) -> str:
    """Return a name as any process can load it: folders and files from the root, any other as it is."""

    def place(name: str) -> str:
        return name if name in TEACHERS or not os.path.exists(user_path(name)) else str(settled(name))

    return of_checkpoints(text, place)


def checkpoints_of(text: str) -> tuple[str, ...]:
    """Return the checkpoints that a name is made of; of one that is no name, itself."""
    try:
        return TeacherName.parsed(text).names
    except TeacherError:
        return (text,)


def with_temperature(text: str, value: float) -> str:
    """Return a name with a temperature, in place of one that it tells."""
    return str(replace(TeacherName.parsed(text), temperature=value))
