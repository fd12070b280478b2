"""Resolving concepts and topics: what a text can express, or be about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import Concept, Cue
from bylaw.spec.scope import Messages, Scope, Unresolved

DEFAULT_THRESHOLD = 0.5


def concept(item: ast.ConceptDecl, scope: Scope, messages: Messages) -> Concept:
    """One concept, under its full name. Records a diagnostic for each part that cannot be used."""
    like, unlike = _texts(item, ast.Like, messages), _texts(item, ast.Unlike, messages)
    for text in like:
        if text in unlike:
            first = Label(like[text].span, "a text that does")
            message = f"a text is both like and unlike `{item.name.text}`"
            messages.error("P121", message, unlike[text].span, secondary=(first,))
    if not item.meaning.value.strip():
        messages.error("P121", f"`{item.name.text}` means nothing", item.meaning.span)
    scorers = _at_most_one(item, ast.ScoredBy, "scored by", messages)
    thresholds = _at_most_one(item, ast.Threshold, "threshold", messages)
    scorer = scorers[0] if scorers else None
    return Concept(
        name=scope.full_name(item.name.text),
        meaning=item.meaning.value,
        is_topic=item.is_topic,
        like=tuple(like),
        unlike=tuple(unlike),
        scorer=None if scorer is None else scorer.scorer.text,
        scorer_argument=None if scorer is None or scorer.argument is None else scorer.argument.value,
        threshold=_threshold(thresholds[0], scope, messages) if thresholds else DEFAULT_THRESHOLD,
        distinct_from=_distinct(item, scope, messages),
        cues=_cues(item, scope, messages),
    )


def _texts(
    item: ast.ConceptDecl, kind: type[ast.Like] | type[ast.Unlike], messages: Messages
) -> Mapping[str, ast.Text]:
    found: dict[str, ast.Text] = {}
    for clause in item.clauses:
        if not isinstance(clause, kind):
            continue
        text = clause.text
        if not text.value.strip():
            messages.error("P121", "an empty text shows nothing", text.span)
        elif text.value in found:
            first = Label(found[text.value].span, "first here")
            messages.error("P121", "this text stands twice in its concept", text.span, secondary=(first,))
        found.setdefault(text.value, text)
    return found


def _at_most_one(item: ast.ConceptDecl, kind: type, what: str, messages: Messages) -> list:  # type: ignore[type-arg]
    found = [clause for clause in item.clauses if isinstance(clause, kind)]
    for again in found[1:]:
        first = Label(found[0].span, "first here")
        messages.error("P010", f"`{what}` is given twice for `{item.name.text}`", again.span, secondary=(first,))
    return found


def _threshold(clause: ast.Threshold, scope: Scope, messages: Messages) -> float:
    value: object
    if isinstance(clause.value, ast.Number):
        value = float(clause.value.amount)
    else:
        try:
            value = scope.parameter(clause.value.text)
        except Unresolved:
            return DEFAULT_THRESHOLD
        if not isinstance(value, float):
            nearest = catalog.nearest(clause.value.text, tuple(scope.parameters))
            fix = None if nearest is None else Fix(f"write `{nearest}`", clause.value.span, nearest)
            message = f"`{clause.value.text}` is not a parameter that is a number"
            messages.error("P105", message, clause.value.span, fix=fix)
            return DEFAULT_THRESHOLD
    if not 0 <= value <= 1:
        note = "a score lies between 0 and 1; at or above the threshold a text expresses the concept"
        messages.error("P105", "a threshold lies between 0 and 1", clause.span, notes=(note,))
        return DEFAULT_THRESHOLD
    return value


def _distinct(item: ast.ConceptDecl, scope: Scope, messages: Messages) -> tuple[str, ...]:
    found: list[str] = []
    for name in _names(item.clauses):
        try:
            known = scope.find(name.text)
        except Unresolved:
            continue
        if known is None or not isinstance(known[1], ast.ConceptDecl):
            concepts = tuple(key for key, each in scope.declared.items() if isinstance(each, ast.ConceptDecl))
            nearest = catalog.nearest(name.text, concepts)
            fix = None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest)
            messages.error("P101", f"there is no concept called `{name.text}`", name.span, fix=fix)
        elif known[1] is item:
            messages.error("P121", f"`{name.text}` is not distinct from itself", name.span)
        else:
            found.append(known[0].full_name(known[1].name.text))
    return tuple(dict.fromkeys(found))


def _cues(item: ast.ConceptDecl, scope: Scope, messages: Messages) -> tuple[Cue, ...]:
    """One cue for each lexicon; one that is named twice is refused, since a hint does not weigh more for it."""
    found: dict[str, Cue] = {}
    first: dict[str, ast.Name] = {}
    for name in (name for clause in item.clauses if isinstance(clause, ast.CuedBy) for name in clause.lexicons):
        if name.text in first:
            before = Label(first[name.text].span, "first here")
            message = f"`{item.name.text}` is cued by `{name.text}` twice"
            messages.error("P121", message, name.span, secondary=(before,))
            continue
        first[name.text] = name
        try:
            matchers = scope.lexicon(name.text)
        except Unresolved:
            continue
        if matchers is None:
            known = tuple(each for each in scope.known() if scope.lexicon(each) is not None)
            nearest = catalog.nearest(name.text, known)
            fix = None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest)
            note = "a concept is cued by lexicons, which hold texts and patterns: `lexicon NAME = [...]`"
            messages.error("P101", f"there is no lexicon called `{name.text}`", name.span, notes=(note,), fix=fix)
        elif matchers:  # an empty one has been refused where it is declared
            for reason in filter(None, map(catalog.predicate("mention").refuse, matchers)):
                messages.error("P105", reason, name.span)
            found[name.text] = Cue(name.text, matchers)
    return tuple(found.values())


def _names(clauses: Iterable[ast.ConceptClause]) -> Iterable[ast.Name]:
    return (name for clause in clauses if isinstance(clause, ast.DistinctFrom) for name in clause.concepts)
