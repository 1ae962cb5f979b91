"""Layers on a GPU: Triton kernels, how each is launched, and the same functions in PyTorch."""
