"""Contradictions between counts, by linear arithmetic over whole numbers."""

from bylaw.compiler.counts.proofs import (
    counts_contradiction,
    counts_contradiction_over,
)

__all__ = (
    "counts_contradiction",
    "counts_contradiction_over",
)
