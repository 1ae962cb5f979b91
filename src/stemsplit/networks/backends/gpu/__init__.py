"""Layers computed on a GPU by few launches: their weights, what computes them, and graphs of whole networks."""
