"""config.json: one file a field, named by its JSON path."""
