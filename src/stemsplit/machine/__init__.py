"""The machine that stemsplit runs on: cores, memory, devices, threads and disk."""
