"""Spectral codecs of SFC (Saijo & Bando, arXiv 2602.08671): many bins ⇄ a few tokens, a file per kind."""
