"""Arithmetic on tensors that knows no layers: truths, fast paths, and the native library."""
