"""Rules that can pay ever more as an answer grows (P422): their law needs a cap on the length of answers."""

from __future__ import annotations

from collections.abc import Iterator

from bylaw.compiler.law.normalisable import unbounded_terms
from bylaw.compiler.proofs._limits import mark
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.spec.errors import Diagnostic, Fix, Severity

CODES = ("P422",)


def find(view: PolicyView) -> Iterator[Diagnostic]:
    """P422 for each term whose reward has no upper limit over all answers."""
    for found in unbounded_terms(view.program):
        term = view.program.term(found.term)
        yield Diagnostic(
            "P422",
            Severity.NOTE,
            f"what `{found.term}` pays has no upper limit",
            mark(term.extent, "it can pay ever more as an answer grows"),
            (),
            (found.reason,),
            Fix("cap what it counts, or the length of answers, with a `must`; a run caps answers at `--max-tokens`"),
        )
