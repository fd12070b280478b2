"""What the names of a policy file stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import Matcher
from bylaw.spec.source import Span

DEFAULT_LEVELS = ("root", "system", "developer", "user", "guideline")
FACT_ROOTS = ("meta", "user", "session", "request")
"""The first part of the name of a fact that comes with a transcript."""

SUBJECTS: Mapping[str, str] = MappingProxyType(
    {
        "response": "response",
        "prompt": "prompt",
        "conversation": "conversation",
        "system_prompt": "system",
        "developer_prompt": "developer",
    }
)
"""How the author names a text, and the role that it has in a trace."""

ParameterValue: TypeAlias = float | str | bool | tuple[Matcher, ...]
Named: TypeAlias = ast.ParamDecl | ast.LexiconDecl | ast.DefineDecl | ast.RuleDecl | ast.ConceptDecl
"""The declarations whose names share one space."""


LARGEST_UNFOLDING = 100_000
"""How many parts the definitions of one file may unfold to, all uses together."""
DEEPEST_UNFOLDING = 60
"""How deep the definitions that one sentence uses may nest, all together."""


class Unresolved(Exception):
    """A part of a sentence has no meaning; the diagnostic has already been recorded."""


@dataclass
class Messages:
    """Collects diagnostics in the order in which they are found, and counts what definitions unfold to.

    `cyclic` are definitions that turned out to use themselves: one message for a whole circle is enough.
    """

    found: list[Diagnostic] = field(default_factory=list)
    unfolded: int = 0
    cyclic: set[str] = field(default_factory=set)

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
    ) -> None:
        """Records an error."""
        self.found.append(Diagnostic(code, Severity.ERROR, message, Label(span, label), secondary, notes, fix))

    def warning(self, code: str, message: str, span: Span, *, notes: tuple[str, ...] = ()) -> None:
        """Records a warning: the policy can be used, but probably does not say what its author meant."""
        self.found.append(Diagnostic(code, Severity.WARNING, message, Label(span), notes=notes))

    def failure(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        fix: Fix | None = None,
    ) -> Unresolved:
        """Records an error; the caller raises what it gets back."""
        self.error(code, message, span, label, secondary=secondary, notes=notes, fix=fix)
        return Unresolved()

    def not_supported(self, what: str, span: Span) -> Unresolved:
        """The language has this, this version cannot resolve it yet: an error, so that nothing is silently left out."""
        note = "the text is understood, but this version can neither enforce nor audit it"
        self.error("P901", f"{what} not supported yet", span, notes=(note,))
        return Unresolved()

    def count_unfolding(self, definition: ast.DefineDecl, parts: int) -> None:
        """Keeps definitions of definitions from growing without end. Raises Unresolved, with one diagnostic a file."""
        is_first = self.unfolded <= LARGEST_UNFOLDING
        self.unfolded += parts
        if self.unfolded > LARGEST_UNFOLDING:
            if is_first:
                note = "definitions that use others several times each grow quickly; write the longest ones shorter"
                message = f"the definitions of this file unfold to more than {LARGEST_UNFOLDING:,} parts"
                self.error("P006", message, definition.name.span, "reached while unfolding this one", notes=(note,))
            raise Unresolved


@dataclass(frozen=True)
class Scope:
    """Everything that a sentence may refer to by name.

    `declared` are all named declarations of the file, `imported` the first parts of names that an import would bring.
    """

    levels: tuple[str, ...]
    parameters: Mapping[str, ParameterValue]
    lexicons: Mapping[str, tuple[Matcher, ...]]
    definitions: Mapping[str, ast.DefineDecl]
    declared: Mapping[str, Named]
    imported: frozenset[str] = frozenset()

    def known(self) -> tuple[str, ...]:
        """All names that a sentence may use, for suggestions."""
        return (*SUBJECTS, *self.parameters, *self.lexicons, *self.definitions)
