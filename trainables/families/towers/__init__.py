"""Published image models as they are: they teach, and no student is one."""
