"""What a Python program calls; `stemsplit` itself has all of it."""
