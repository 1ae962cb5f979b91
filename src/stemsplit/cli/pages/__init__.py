"""Commands whose result is a page in a browser."""
