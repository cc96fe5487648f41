"""The sections of `report.html`. Functions return `Markup`; all other text is escaped where it enters."""
