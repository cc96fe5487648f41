"""What students may be made to do, by the names that `tasks:` of a space gives."""

from spaces.plugins import Table

TASKS = Table(
    "tasks",
    {
        "captioning": "trainables.tasks.captioning:Captioning",
        "matching": "trainables.tasks.matching:Matching",
        "retrieval": "trainables.tasks.retrieval:Retrieval",
        "vqa": "trainables.tasks.vqa:Vqa",
    },
)
DEFAULT = ("retrieval", "vqa", "captioning")
"""Tasks of a space that names none, as far as teacher and data allow; `matching` is asked for by name."""
