"""The routes, one family a file. Each turns HTTP into a call on the worker and back, and holds no state."""
