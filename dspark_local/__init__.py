"""dspark-local: DeepSeek-V4 with its DSpark draft on one consumer machine."""

__version__ = "0.1.0"
