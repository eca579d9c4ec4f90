"""Question and answer generators of the demo corpus, one module per kind of text."""
