"""The commands of `dspark-local`. Importing any of them loads no torch; the engine comes with the first real work."""
