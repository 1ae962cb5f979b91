"""The C++ sources of the native CPU kernels, the program that builds them, and the library that it makes.

`build.py` imports the standard library alone, because it runs while the package is being built.
"""
