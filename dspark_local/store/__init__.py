"""Models on this disk: where they lie, what was checked, what may go."""
