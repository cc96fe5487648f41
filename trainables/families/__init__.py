"""Student families, by the name that `student.kind` gives."""

from spaces.plugins import Table

MODELS: Table = {
    "blip": "trainables.models.blip:Blip",
}
