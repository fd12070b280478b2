"""Small changes to a policy, and whether its examples and tests notice them."""

from bylaw.compiler.mutants.mutation import (
    OPERATORS,
    Bench,
    Edit,
    Plan,
    Report,
    Settings,
    Tried,
    as_syntax,
    difference,
    mutate,
    place,
    plan,
    report,
    run,
)

__all__ = (
    "OPERATORS",
    "Bench",
    "Edit",
    "Plan",
    "Report",
    "Settings",
    "Tried",
    "as_syntax",
    "difference",
    "mutate",
    "place",
    "plan",
    "report",
    "run",
)
