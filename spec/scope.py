"""What the names of a policy file stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import Concept, Matcher
from bylaw.spec.regulator import Suite
from bylaw.spec.source import Span

DEFAULT_LEVELS = ("root", "system", "developer", "user", "guideline")
FACT_ROOTS = ("meta", "user", "session", "request", "model")
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
Named: TypeAlias = ast.ParamDecl | ast.LexiconDecl | ast.DefineDecl | ast.RuleDecl | ast.ExceptionDecl | ast.ConceptDecl
"""The declarations whose names share one space."""


_NOTHING: Mapping[str, Any] = MappingProxyType({})

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

    def child(self) -> Messages:
        """Messages of their own for an attempt, which go on counting and share what is known to be circular."""
        return Messages(unfolded=self.unfolded, cyclic=self.cyclic)

    def adopt(self, other: Messages, errors_only: bool = False) -> None:
        """Takes over what an attempt has found and counted."""
        self.unfolded = other.unfolded
        self.found += [diagnostic for diagnostic in other.found if diagnostic.is_error or not errors_only]

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
    """Everything that a sentence of one file may refer to by name.

    The mappings hold what the file itself declares, under its plain name. What imports bring has dots in its name
    (`fmt.max_words`) and stands in the scope of the imported file, so look names up with `parameter`, `lexicon`,
    `concept`, `definition` and `suite`: they take plain and dotted names. They raise Unresolved for a name from an
    import that cannot be used; the reason has been recorded then.

    `declared` are all named declarations of the file. `imports` are the scopes of imported files by alias (and by their
    full name where there is no alias); None is one that cannot be used. `prices` are what limits of a level may cost at
    most, in nats for each unit of what they limit. `origin` is the name of an imported policy,
    empty for the main file. `outer` is set for a rule template that is being applied: it is the scope of the
    template's file, and `parameters` here also hold the arguments.
    """

    levels: tuple[str, ...]
    parameters: Mapping[str, ParameterValue]
    lexicons: Mapping[str, tuple[Matcher, ...]]
    definitions: Mapping[str, ast.DefineDecl]
    declared: Mapping[str, Named]
    imports: Mapping[str, Scope | None] = field(default_factory=lambda: _NOTHING)
    concepts: Mapping[str, Concept] = field(default_factory=lambda: _NOTHING)
    suites: Mapping[str, Suite] = field(default_factory=lambda: _NOTHING)
    prices: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    origin: str = ""
    outer: Scope | None = None

    def known(self) -> tuple[str, ...]:
        """All names that a sentence may use, for suggestions; those of imports under their shortest alias."""
        own = (*SUBJECTS, *self.parameters, *self.lexicons, *self.definitions, *self.concepts)
        aliases = {id(scope): alias for alias, scope in self.imports.items() if scope is not None}
        for alias, scope in self.imports.items():
            if scope is not None and len(alias) < len(aliases[id(scope)]):
                aliases[id(scope)] = alias
        theirs = (
            f"{aliases[id(scope)]}.{name}"
            for scope in {id(each): each for each in self.imports.values() if each is not None}.values()
            for name in scope._own()
        )
        return (*own, *theirs)

    def home(self, name: str) -> tuple[Scope, str] | None:
        """The scope that a plain or dotted name belongs to, and its plain name there; None where no import is meant.

        Raises Unresolved for a name from an import that cannot be used.
        """
        if "." not in name:
            return self, name
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            alias = ".".join(parts[:cut])
            if alias in self.imports:
                scope = self.imports[alias]
                if scope is None:
                    raise Unresolved
                return scope.home(".".join(parts[cut:]))
        return None

    def find(self, name: str) -> tuple[Scope, Named] | None:
        """The declaration that a plain or dotted name means, with the scope of its file; None for no such name.

        Raises Unresolved for a name from an import that cannot be used.
        """
        home = self.home(name)
        if home is None or home[1] not in home[0].declared:
            return None
        scope, plain = home
        return scope.outer or scope, scope.declared[plain]

    def parameter(self, name: str) -> ParameterValue | None:
        """The value of a parameter; None for no such parameter. Raises Unresolved as `find`."""
        home = self.home(name)
        return None if home is None else home[0].parameters.get(home[1])

    def lexicon(self, name: str) -> tuple[Matcher, ...] | None:
        """What a lexicon holds; None for no such lexicon. Raises Unresolved as `find`."""
        home = self.home(name)
        return None if home is None else home[0].lexicons.get(home[1])

    def concept(self, name: str) -> Concept | None:
        """A concept or topic; None for no such concept. Raises Unresolved as `find`."""
        home = self.home(name)
        return None if home is None else home[0].concepts.get(home[1])

    def suite(self, name: str) -> Suite | None:
        """A suite of prompts; None for no such suite. Raises Unresolved as `find`."""
        home = self.home(name)
        return None if home is None else home[0].suites.get(home[1])

    def definition(self, name: str) -> tuple[Scope, ast.DefineDecl] | None:
        """A definition and the scope that its body stands in; None for no such definition. Raises as `find`."""
        home = self.home(name)
        if home is None or home[1] not in home[0].definitions:
            return None
        scope, plain = home
        return scope.outer or scope, scope.definitions[plain]

    def reachable(self) -> tuple[Scope, ...]:
        """This scope and those of all files that it imports, directly or through others, each once."""
        found = {id(self): self}
        waiting = [self]
        while waiting:
            for other in waiting.pop().imports.values():
                if other is not None and id(other) not in found:
                    found[id(other)] = other
                    waiting.append(other)
        return tuple(found.values())

    def full_name(self, name: str) -> str:
        """A plain name of this file as it is called everywhere: `std.text.hedges`; plain in the main file."""
        return f"{self.origin}.{name}" if self.origin else name

    def _own(self) -> tuple[str, ...]:
        return (*self.parameters, *self.lexicons, *self.definitions, *self.concepts)
