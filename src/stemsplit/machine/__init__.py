"""The machine underneath: cores, memory, devices, threads and disk."""
