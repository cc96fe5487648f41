"""Toy plug-ins: two families and two teachers, with rules that are easy to work by hand."""

from dataclasses import dataclass
from typing import Any

from spaces.errors import IllegalCandidate
from spaces.sizes import resolve_count, resolve_heads, resolve_width
from spaces.values import relative


@dataclass(frozen=True)
class Teacher:
    """Sizes that hold for its image and its text side."""

    width: int
    depth: int
    heads: int
    embedding: int

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


TEACHERS = {"embedded": Teacher(128, 6, 4, 64), "base": Teacher(768, 12, 12, 256)}


class ToyPlugins:
    """Families `blip` (two sides and fusion layers) and `head` (one hidden layer on teacher features)."""

    tasks: tuple[str, ...] = ("captioning", "retrieval")

    def student(self, section: dict[str, Any], teacher: str) -> dict[str, Any]:
        if section["kind"] == "head":
            return self._head(section, TEACHERS[teacher])
        whole, problems = TEACHERS[teacher], []
        sides = {side: self._side(side, section[side], whole, problems) for side in ("image", "text")}
        layers = resolve_count(section["fusion"]["layers"], whole.depth)
        if layers > sides["text"]["depth"]:
            text = f"got {layers} with text depth {sides['text']['depth']}; allowed: no more. Lower it."
            problems.append(("fusion.layers", text))
        if problems:
            raise IllegalCandidate("; ".join(f"student.{path}: {text}" for path, text in problems), problems)
        fusion = {"placement": "last", **section["fusion"], "layers": layers}
        embedding = resolve_count(section.get("embedding", "1x"), whole.embedding)
        return {"kind": "blip", **sides, "fusion": fusion, "embedding": embedding}

    def roundings(self, section: dict[str, Any], teacher: str) -> list[str]:
        whole = TEACHERS[teacher]
        found = []
        for side in ("image", "text"):
            raw = section.get(side, {}).get("depth")
            factor = relative(raw)
            if factor is not None and (factor * whole.depth).denominator != 1:
                got = resolve_count(raw, whole.depth)
                found.append(f"student.{side}.depth {raw} of {whole.depth} -> {got} (whole number)")
        return found

    def loss(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"temperature": 1.0, **options}

    def _side(self, side: str, options: dict[str, Any], whole: Teacher, problems: list) -> dict[str, Any]:
        options = {"heads": None, "init": "random", **options}
        heads = options["heads"]
        step = heads if isinstance(heads, int) else whole.head_dim
        width = resolve_width(options["width"], whole.width, step)
        heads = resolve_heads(heads, width, whole.width, whole.heads)
        if width % heads:
            text = f"got {heads} with width {width}; allowed: divisors. Change it."
            problems.append((f"{side}.heads", text))
        if options["init"] == "inherit" and width > whole.width:
            text = f"got inherit with width {width}; allowed: {whole.width}. Lower it."
            problems.append((f"{side}.init", text))
        depth = resolve_count(options["depth"], whole.depth)
        return {**options, "width": width, "depth": depth, "heads": heads}

    def _head(self, section: dict[str, Any], whole: Teacher) -> dict[str, Any]:
        if whole.width > 500:
            raise IllegalCandidate("student: this teacher has no features for heads. Take another one.")
        return {"hidden": 16, **section}
