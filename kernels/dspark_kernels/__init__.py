"""Tensor operations and number formats: one file an op, each with a plain torch reference.

Knows tensors and byte layouts, nothing of layers, checkpoints or requests.
"""
