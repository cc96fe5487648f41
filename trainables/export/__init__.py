"""Students as folders of plain files: `from trainables.export import load`."""

from trainables.export.card import model_card
from trainables.export.student import Student, export_student, load

__all__ = ["Student", "export_student", "load", "model_card"]
