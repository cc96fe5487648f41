"""What students may be made to do, by the names that `tasks:` of a space gives."""

from spaces.plugins import Table

TASKS = Table(
    "tasks",
    {
        "batch_matching": "trainables.tasks.matching:BatchMatching",
        "captioning": "trainables.tasks.captioning:Captioning",
        "classification": "trainables.tasks.classification:Classification",
        "matching": "trainables.tasks.matching:Matching",
        "neighbours": "trainables.tasks.neighbours:Neighbours",
        "nlvr2": "trainables.tasks.nlvr2:Nlvr2",
        "retrieval": "trainables.tasks.retrieval:Retrieval",
        "vqa": "trainables.tasks.vqa:Vqa",
    },
)
PLACES = {"captioning": ("spice",), "vqa": ("answers",)}
"""Task -> its options that name a file of the user's."""
DEFAULT = ("retrieval", "vqa", "captioning", "classification")
"""Tasks of a space that names none, as far as teacher and data allow; the others are asked for by name."""
