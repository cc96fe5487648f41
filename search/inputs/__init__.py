"""What a search works with: the checked space, its plug-ins, teachers and data."""
