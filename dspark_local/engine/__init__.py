"""The decoding loop: draft, schedule, verify, accept, rewind, observe. Start reading in generate.py."""
