"""Annotations: `@lookalikes` on a lexicon, and `@deprecated("use x")` on anything that is used by its name."""

from __future__ import annotations

from collections.abc import Iterator

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.scope import Messages, Named, Scope, Unresolved

LOOKALIKES, DEPRECATED = "lookalikes", "deprecated"
ANNOTATIONS = (DEPRECATED, LOOKALIKES)
NAMED = (ast.ParamDecl, ast.LexiconDecl, ast.DefineDecl, ast.RuleDecl, ast.ConceptDecl)


def check_annotations(item: ast.Item, messages: Messages) -> None:
    """Records a diagnostic for each annotation that is unknown (P101), misplaced (P105) or repeated (P010)."""
    seen: dict[str, ast.Annotation] = {}
    for annotation in item.annotations:
        name = annotation.name
        if name.text not in ANNOTATIONS:
            nearest = catalog.nearest(name.text, ANNOTATIONS)
            messages.error(
                "P101",
                f"there is no annotation `@{name.text}`",
                annotation.span,
                notes=(f"annotations are {', '.join(f'`@{each}`' for each in ANNOTATIONS)}",),
                fix=None if nearest is None else Fix(f"write `@{nearest}`", name.span, nearest),
            )
        elif name.text == LOOKALIKES and not isinstance(item, ast.LexiconDecl):
            messages.error("P105", "`@lookalikes` is for lexicons", annotation.span)
        elif name.text == DEPRECATED and not isinstance(item, NAMED):
            what = "parameters, lexicons, concepts, definitions and rules"
            messages.error("P105", f"`@deprecated` is for {what}", annotation.span)
        elif name.text == LOOKALIKES and annotation.text is not None:
            messages.error("P105", "`@lookalikes` takes no text", annotation.text.span)
        elif name.text in seen:
            first = Label(seen[name.text].span, "first here")
            messages.error("P010", f"`@{name.text}` is given twice", annotation.span, secondary=(first,))
        seen[name.text] = annotation


def warn_of_deprecated(module: ast.Module, scope: Scope, messages: Messages) -> None:
    """Records P613 for each use of something that its author advises against."""
    if not any(_deprecation(item) for each in scope.reachable() for item in each.declared.values()):
        return
    for item in module.items:
        if isinstance(item, ast.ExamplesDecl | ast.TestDecl):
            continue  # what is deprecated is still to be tested
        own = {id(name) for name in _names_of_its_own(item)}
        hidden = {parameter.name.text for parameter in getattr(item, "parameters", None) or ()}
        for node in ast.walk(item):
            if not isinstance(node, ast.Name | ast.Path) or id(node) in own or node.text in hidden:
                continue
            try:
                found = scope.find(node.text)
            except Unresolved:
                continue
            advice = None if found is None else _deprecation(found[1])
            if found is not None and advice is not None and found[1] is not item:
                messages.found.append(_warning(node, found[1], advice))


def _warning(node: ast.Name | ast.Path, declaration: Named, advice: ast.Annotation) -> Diagnostic:
    where = (Label(declaration.name.span, "deprecated here"),)
    notes = () if advice.text is None else (advice.text.value,)
    return Diagnostic("P613", Severity.WARNING, f"`{node.text}` is deprecated", Label(node.span), where, notes)


def _deprecation(item: ast.Item) -> ast.Annotation | None:
    return next((each for each in item.annotations if each.name.text == DEPRECATED), None)


def _names_of_its_own(item: ast.Item) -> Iterator[ast.Name]:
    """The names that a declaration gives, rather than uses."""
    for name in ("name", "alias"):
        if isinstance(given := getattr(item, name, None), ast.Name):
            yield given
    for node in ast.walk(item):
        if isinstance(node, ast.Parameter | ast.Binding | ast.Argument | ast.Annotation) and node.name is not None:
            yield node.name
