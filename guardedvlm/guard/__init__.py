"""Zone 1, the guard: the only place where a raw picture is. Read the files in the order of the data."""
