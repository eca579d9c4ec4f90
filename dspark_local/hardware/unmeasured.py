"""Saying that a quantity was not measured, and why."""

from __future__ import annotations


class NotMeasuredError(Exception):
    """This machine does not let the quantity be measured; the message is a sentence for the report."""
