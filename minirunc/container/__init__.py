"""A container's life: the order of a birth, of an exec, and the state on disk."""
