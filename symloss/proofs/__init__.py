"""Proofs about formulas: signs, limits, one-variable calculus, and points that refute."""
