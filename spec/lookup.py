"""Looking up the names that a sentence uses: units, properties, facts, and what to say when there is no such name."""

from __future__ import annotations

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import Concept, Regex
from bylaw.spec.pattern import PatternError, parse_pattern
from bylaw.spec.scope import FACT_ROOTS, Messages, Scope, Unresolved
from bylaw.spec.source import Span


def is_fact(path: ast.Path) -> bool:
    """Whether a name is that of a fact that comes with a conversation, such as `meta.topic`."""
    return len(path.parts) > 1 and path.parts[0] in FACT_ROOTS


def unit(name: ast.Name, scope: Scope, messages: Messages) -> str:
    """The name of something that can be counted. Raises Unresolved (P102)."""
    known = catalog.names("units")
    if name.text in known:
        return name.text
    raise messages.failure(
        "P102",
        f"`{name.text}` is not something that can be counted",
        name.span,
        notes=(f"countable are {', '.join(known)}",),
        fix=_replacement(name, known),
    )


def plural(name: ast.Name) -> ast.Name:
    """`a table` counts `tables`, `a dash` counts `dashes`; any other name stays."""
    several = _several(name.text)
    return name if several is None else ast.Name(several, name.span)


def part(name: ast.Name, messages: Messages) -> str:
    """The unit that a text is taken apart into: `sentence` means `sentences`. Raises Unresolved (P123)."""
    several = _several(name.text)
    if several is not None:
        return several
    known = catalog.names("units")
    singular = _single(name.text) if name.text in known else None
    raise messages.failure(
        "P123",
        f"a text has no parts called `{name.text}`" if singular is None else f"one part is meant: `{singular}`",
        name.span,
        notes=("parts are named as what can be counted, in the singular, such as `sentence` or `line`",),
        fix=_replacement(name, tuple(_single(each) for each in known))
        if singular is None
        else Fix(f"write `{singular}`", name.span, singular),
    )


def _several(text: str) -> str | None:
    """The unit whose singular this is: its name without the last `s` (or `es`)."""
    known = catalog.names("units")
    if text in known and not text.endswith("s"):
        return text  # one emoji, two emoji
    return next((each for each in (text + "s", text + "es", text.removesuffix("is") + "es") if each in known), None)


def _single(unit: str) -> str:
    if unit.endswith("theses"):
        return unit.removesuffix("es") + "is"
    return unit.removesuffix("es") if unit.endswith(("shes", "ches", "xes")) else unit.removesuffix("s")


def text_property(name: ast.Name, scope: Scope, messages: Messages) -> str:
    """What a text can be: the name of a predicate that looks for nothing. Raises Unresolved (P103)."""
    known = tuple(each for each in catalog.names("predicates") if not catalog.predicate(each).takes_matchers)
    if name.text in known:
        return name.text
    declared = (*scope.concepts, *scope.definitions)
    raise messages.failure(
        "P103",
        f"a text cannot be `{name.text}`",
        name.span,
        notes=(f"a text can be {', '.join(known)}, or what a concept or a definition of one text says",),
        fix=_replacement(name, (*known, *declared)),
    )


def no_concept(name: ast.Name, scope: Scope, messages: Messages) -> Unresolved:
    """Says that a name is not that of a concept (P101, or P121 for something else). The caller raises the answer."""
    if name.text in scope.known():
        note = 'declare it with `concept NAME means "..."`, or `topic NAME means "..."`'
        return messages.failure("P121", f"`{name.text}` is neither a concept nor a topic", name.span, notes=(note,))
    if isinstance(scope.declared.get(name.text), ast.ConceptDecl):
        return Unresolved()  # it has been refused where it is declared
    known = tuple(each for each in scope.known() if scope.concept(each) is not None)
    return messages.failure(
        "P101",
        f"there is no concept or topic called `{name.text}`",
        name.span,
        notes=('declare it with `concept NAME means "..."`, or `topic NAME means "..."`',),
        fix=_replacement(name, known),
    )


def wrong_concept(concept: Concept, name: ast.Name, as_topic: bool, messages: Messages) -> Unresolved:
    """Says that a concept was used as a topic, or a topic as a concept (P121). The caller raises the answer."""
    if as_topic:
        note = f"a text expresses a concept: write `express {name.text}`, or declare it with `topic`"
        return messages.failure("P121", f"`{name.text}` is a concept, not a topic", name.span, notes=(note,))
    note = f"a text is about a topic: write `be about {name.text}`, or declare it with `concept`"
    return messages.failure("P121", f"`{name.text}` is a topic, not a concept", name.span, notes=(note,))


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


def unknown(name: ast.Name, scope: Scope, messages: Messages, others: tuple[str, ...] = ()) -> Unresolved:
    """Says that a name stands for nothing (P101), or for something else; `others` are names that would fit as well.

    The caller raises the answer.
    """
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
    if isinstance(declaration, (ast.ParamDecl, ast.ConceptDecl)):
        return Unresolved()  # it has been refused where it is declared
    known = (*scope.known(), *others)
    nearest = catalog.nearest(name.text, known)
    meant = scope.declared.get(nearest or "")
    return messages.failure(
        "P101",
        f"there is nothing called `{name.text}`",
        name.span,
        "not defined in this file",
        secondary=() if meant is None else (Label(meant.name.span, "did you mean this one?"),),
        notes=(f"facts that come with a conversation begin with {', '.join(f'`{root}.`' for root in FACT_ROOTS)}",),
        fix=_replacement(name, known),
    )


def _replacement(name: ast.Name, known: tuple[str, ...]) -> Fix | None:
    nearest = catalog.nearest(name.text, known)
    return None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest)
