"""Ground: errors, records, JSON text, the log line; imports nothing of ours."""
