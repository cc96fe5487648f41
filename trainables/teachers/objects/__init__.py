"""How the embedded teachers of `objects` are trained, and their weights."""
