"""Optimisers beside those of PyTorch."""
