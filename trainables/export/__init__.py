"""Students as folders of plain files: `from trainables.export import load`."""

from trainables.export.card import model_card
from trainables.export.student import Student, load
from trainables.export.student_folder import Deployed, export_student

__all__ = ["Deployed", "Student", "export_student", "load", "model_card"]
