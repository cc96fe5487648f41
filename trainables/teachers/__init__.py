"""Teachers that have a name of their own; any other name is a folder or a hub id, read by the loader of its model type."""

from spaces.plugins import Table

TEACHERS = Table("teachers", {"embedded": "trainables.teachers.embedded:EmbeddedTeacher"})
LOADERS = Table("teacher_loaders", {"blip": "trainables.teachers.blip.huggingface:load_huggingface"})
"""`model_type` of a Hugging Face config -> what makes a Teacher of a folder or hub id."""

FIRST = "blip"  # reads hub ids, and folders whose model type has no row: it names what it cannot hold
