"""Student families, by the name that `student.kind` gives."""

from spaces.plugins import Table

FAMILIES = Table(
    "families",
    {
        "blip": "trainables.families.blip.model:Blip",
    },
)
FIRST = "blip"  # what model folders and checkpoints of version 1, which name no family, hold
