"""Differentiable DeepSeek-V4 and DSpark draft: training, losses, optimisers, export."""
