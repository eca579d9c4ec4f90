"""One page about this computer: what is there, what will be used, what is missing and what to do about it."""
