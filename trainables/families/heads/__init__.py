"""Students that are heads: they read what the teacher says, and the teacher runs with them when they are deployed."""
