"""Looking up the names that a sentence uses: units, properties, facts, and what to say when there is no such name."""

from __future__ import annotations

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import Regex
from bylaw.spec.pattern import PatternError, parse_pattern
from bylaw.spec.scope import FACT_ROOTS, Messages, Scope, Unresolved
from bylaw.spec.source import Span

LIBRARY_ROOTS = frozenset({"it", "std", "model"})
"""The first part of names that only later versions give a meaning to."""
LATER_PROPERTIES = frozenset({"refusal"})
"""Properties that need a model to recognise."""


def is_fact(path: ast.Path) -> bool:
    """Whether a name is that of a fact that comes with a conversation, such as `meta.topic`."""
    return len(path.parts) > 1 and path.parts[0] in FACT_ROOTS


def unit(name: ast.Name, scope: Scope, messages: Messages) -> str:
    """The name of something that can be counted. Raises Unresolved (P102)."""
    known = catalog.names("units")
    if name.text in known:
        return name.text
    _refuse_foreign(name, scope, messages)
    raise messages.failure(
        "P102",
        f"`{name.text}` is not something that can be counted",
        name.span,
        notes=(f"countable are {', '.join(known)}",),
        fix=_replacement(name, known),
    )


def plural(name: ast.Name) -> ast.Name:
    """`a table` counts `tables`; any other name stays."""
    several = name.text + "s"
    return ast.Name(several, name.span) if several in catalog.names("units") else name


def text_property(name: ast.Name, scope: Scope, messages: Messages) -> str:
    """What a text can be: the name of a predicate that looks for nothing. Raises Unresolved (P103)."""
    known = tuple(each for each in catalog.names("predicates") if not catalog.predicate(each).takes_matchers)
    if name.text in known:
        return name.text
    _refuse_foreign(name, scope, messages)
    if name.text in LATER_PROPERTIES:
        raise messages.not_supported(f"recognising a {name.text} is", name.span)
    raise messages.failure(
        "P103",
        f"a text cannot be `{name.text}`",
        name.span,
        notes=(f"a text can be {', '.join(known)}",),
        fix=_replacement(name, known),
    )


def pattern(node: ast.Pattern, messages: Messages) -> Regex:
    """A pattern of the regular subset. Raises Unresolved (P107)."""
    try:
        parse_pattern(node.source, node.flags)
    except PatternError as error:
        # The source of a pattern stands between slashes, exactly as written.
        start = min(node.span.start + 1 + error.offset, node.span.end - 1)
        where = Span(start, max(start + error.length, start + 1))
        raise messages.failure("P107", f"this pattern cannot be used: {error.message}", where) from None
    return Regex(node.source, node.flags)


def unknown(name: ast.Name, scope: Scope, messages: Messages) -> Unresolved:
    """Says that a name stands for nothing (P101), or for something else. The caller raises the answer."""
    _refuse_foreign(name, scope, messages)
    declaration = scope.declared.get(name.text)
    if isinstance(declaration, ast.RuleDecl):
        return messages.failure(
            "P105",
            f"`{name.text}` is a rule, which is not something that a sentence can be about",
            name.span,
            secondary=(Label(declaration.name.span, "declared here"),),
        )
    if isinstance(declaration, ast.LexiconDecl) and name.text not in scope.lexicons:
        return messages.failure(
            "P101",
            f"`{name.text}` is declared further down",
            name.span,
            secondary=(Label(declaration.name.span, "declared here"),),
            notes=("a lexicon can use those above it",),
        )
    if isinstance(declaration, ast.ParamDecl):
        return Unresolved()  # its value has been refused where it is declared
    nearest = catalog.nearest(name.text, scope.known())
    meant = scope.declared.get(nearest or "")
    return messages.failure(
        "P101",
        f"there is nothing called `{name.text}`",
        name.span,
        "not defined in this file",
        secondary=() if meant is None else (Label(meant.name.span, "did you mean this one?"),),
        notes=(f"facts that come with a conversation begin with {', '.join(f'`{root}.`' for root in FACT_ROOTS)}",),
        fix=_replacement(name, scope.known()),
    )


def _refuse_foreign(name: ast.Name, scope: Scope, messages: Messages) -> None:
    """Raises Unresolved for a name that comes from an import, a library or a concept (P901)."""
    root, _, rest = name.text.partition(".")
    if rest and root in LIBRARY_ROOTS | scope.imported:
        raise messages.not_supported(f"names from elsewhere (`{name.text}`) are", name.span)
    if isinstance(scope.declared.get(name.text), ast.ConceptDecl):
        raise messages.not_supported("concepts and topics are", name.span)


def _replacement(name: ast.Name, known: tuple[str, ...]) -> Fix | None:
    nearest = catalog.nearest(name.text, known)
    return None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest)
