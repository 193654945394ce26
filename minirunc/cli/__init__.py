"""The command line: one table, two parsers."""
