"""The C++ sources of the native CPU kernels, how they are built, and the library that is made of them.

Nothing here imports more than the standard library: the package's build runs `build.py` by itself.
"""
