"""The rewrites whose pattern is a row, a whole sum or a whole product.

Each function takes a node and gives it rewritten, or None where it doesn't have the shape. `rules.py` names
them and says why.
"""
