"""The engine behind HTTP: an OpenAI-compatible server around one Backend."""
