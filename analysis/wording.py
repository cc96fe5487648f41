"""Numbers, costs, times and configurations in words, for the report and the terminal. Nothing is escaped here."""

import math
from collections.abc import Mapping
from typing import Any

NOT_MEASURED = "–"
SPACE = "\N{NO-BREAK SPACE}"  # keeps a number and its unit on one line
LABELS = {
    "params": "parameters",
    "flops": "FLOPs",
    "latency_ms": "latency",
    "size_mib": "size",
    "retention": "retention",
    "retention_above_blind": "retention above blind",
    "accuracy": "accuracy",
    "mean_recall": "mean recall",
    "tr_at_1": "text recall at 1",
    "tr_at_5": "text recall at 5",
    "tr_at_10": "text recall at 10",
    "ir_at_1": "image recall at 1",
    "ir_at_5": "image recall at 5",
    "ir_at_10": "image recall at 10",
    "vqa_accuracy": "VQA accuracy",
    "vqa_official_accuracy": "official VQA accuracy",
    "nlvr2_accuracy": "NLVR2 accuracy",
    "caption_token_accuracy": "caption token accuracy",
    "cider": "CIDEr",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "spice": "SPICE",
    "cider_plain": "CIDEr (plain words)",
    "bleu_4_plain": "BLEU-4 (plain words)",
    "rouge_l_plain": "ROUGE-L (plain words)",
    "loss": "training loss",
}


def label(name: str) -> str:
    """Return the name of a metric or cost in words."""
    return LABELS.get(name, name.replace("_", " "))


def count(value: float) -> str:
    """Return a large number in three digits: `3.32 M`."""
    if not math.isfinite(value):
        return NOT_MEASURED
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:  # what rounds to the next unit is told in it
            return f"{value / size:#.3g}".rstrip(".") + SPACE + unit
    return f"{value:.3g}"


def cost(name: str, value: float) -> str:
    """Return a cost with its unit."""
    if name == "latency_ms":
        return milliseconds(value)
    if name == "size_mib":
        return f"{value:.2f} MiB" if math.isfinite(value) else NOT_MEASURED
    return count(value)


def on_terminal(text: str) -> str:
    """Return a text with plain blanks: a terminal breaks no line between a number and its unit."""
    return text.replace(SPACE, " ")


def amount(value: float) -> str:
    """Return a number in four significant digits, large ones in full: `0.4567`, `12,345`."""
    if not math.isfinite(value):
        return NOT_MEASURED
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def target(facts: Mapping[str, Any]) -> str:
    """Return where latency was measured, of `run.json`: `cpu, eager, float32, batch 1, 1 thread`."""
    known = facts.get("target") or {}
    if not known:
        return "this CPU, one thread"  # of a run that knew no other
    threads = f", {plural(known.get('threads') or 1, 'thread')}" if known.get("device") == "cpu" else ""
    return f"{known.get('device')}, {known.get('runtime')}, {known.get('dtype')}, batch {known.get('batch')}{threads}"


def milliseconds(value: float, spread: float = math.nan) -> str:
    """Return a time, with its spread where there is one: `2.04 ± 0.05 ms`."""
    if not math.isfinite(value):
        return NOT_MEASURED
    return f"{value:.2f} ± {spread:.2f} ms" if math.isfinite(spread) else f"{value:.2f} ms"


def share(value: float) -> str:
    """Return a share of the teacher's cost as the space file writes it: `0.14x`."""
    return f"{value:.2f}x" if math.isfinite(value) else NOT_MEASURED


def number(value: float, digits: int = 1) -> str:
    """Return a metric to one digit; what was not measured is a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else NOT_MEASURED


def percent(value: float) -> str:
    """Return a share of 1 in percent without digits."""
    return f"{100 * value:.0f}{SPACE}%"


def plural(num: int, noun: str) -> str:
    """Return `1 candidate`, `2 candidates`."""
    return f"{num} {noun}" + ("" if num == 1 else "s")


def parts(num: int) -> str:
    """Return in how many parts a batch was taken, for more than one."""
    return f"taken in {num} parts, as a whole one did not fit into memory"


def duration(seconds: float) -> str:
    """Return a time span: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if not math.isfinite(seconds):
        return NOT_MEASURED
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def plain(value: Any) -> str:
    """Return a JSON value in words: lists and objects in one line, nothing quoted."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "none"
    return str(value)


def config_lines(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a configuration as (part, settings): one per student part, per loss and per other section."""
    lines = []
    for section, content in config.items():
        one = "loss" if section == "losses" else section
        if not isinstance(content, Mapping) or section == "training":
            lines.append((section, plain(content)))
        else:
            loose = {key: part for key, part in content.items() if not isinstance(part, Mapping)}
            if loose:
                lines.append((section, plain(loose)))
            lines.extend(
                (f"{one} {key}", plain(part)) for key, part in content.items() if isinstance(part, Mapping)
            )
    return lines


def architecture(config: Mapping[str, Any]) -> str:
    """Return the student in a few signs: `image 64×3, text 64×3, fusion 3 last`; of other families `resnet depth 18`."""
    student = config.get("student")
    if not isinstance(student, Mapping):
        return ""
    parts = [
        f"{side} {student[side].get('width', '?')}×{student[side].get('depth', '?')}"
        for side in ("image", "text")
        if isinstance(student.get(side), Mapping)
    ]
    if not parts:
        sizes = [f"{name} {value}" for name, value in student.items() if type(value) in (int, float)]
        parts = [" ".join([str(student.get("kind", "")), *sizes]).strip()]
    fusion = student.get("fusion")
    if isinstance(fusion, Mapping):
        layers = fusion.get("layers", 0)
        parts.append(f"fusion {layers} {fusion.get('placement', '')}".strip() if layers else "no fusion")
    return ", ".join(parts)
