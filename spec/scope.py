"""What the names of a policy file stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import Matcher
from bylaw.spec.source import Span

DEFAULT_LEVELS = ("root", "system", "developer", "user", "guideline")
FACT_ROOTS = ("meta", "user", "session", "request")
"""The first part of the name of a fact that comes with a transcript."""

SUBJECTS: Mapping[str, str] = {
    "response": "response",
    "prompt": "prompt",
    "conversation": "conversation",
    "system_prompt": "system",
    "developer_prompt": "developer",
}
"""How the author names a text, and the role that it has in a trace."""

ParameterValue = float | str | bool | tuple[Matcher, ...]


@dataclass
class Messages:
    """Collects diagnostics in the order in which they are found."""

    found: list[Diagnostic] = field(default_factory=list)

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        fix: Fix | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.found.append(Diagnostic(code, severity, message, Label(span, label), secondary, notes, fix))

    def not_supported(self, what: str, span: Span) -> None:
        """The language has this, this version cannot resolve it yet: an error, so that nothing is silently left out."""
        self.error(
            "P901",
            f"{what} not supported yet",
            span,
            notes=("the text is understood, but this version cannot enforce or audit it",),
        )


class Unresolved(Exception):
    """A part of a sentence has no meaning; the diagnostic has already been recorded."""


@dataclass(frozen=True)
class Scope:
    """Everything that a sentence may refer to by name."""

    levels: tuple[str, ...]
    parameters: Mapping[str, ParameterValue]
    lexicons: Mapping[str, tuple[Matcher, ...]]
    definitions: Mapping[str, ast.DefineDecl]
    spans: Mapping[str, Span]

    def known(self) -> tuple[str, ...]:
        """All names that a sentence may use, for suggestions."""
        return (*SUBJECTS, *self.parameters, *self.lexicons, *self.definitions)
