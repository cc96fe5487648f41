"""Teachers that have a name of their own; any other name is a folder or a hub id."""

from spaces.plugins import Table

TEACHERS: Table = {
    "embedded": "trainables.teachers.embedded:EmbeddedTeacher",
}
