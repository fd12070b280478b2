"""Comparisons of a parameter with a value that it can never have (P411): usually a value that is misspelt."""

from __future__ import annotations

from collections.abc import Iterator

from bylaw.compiler.proofs.interface import Finding, PolicyView
from bylaw.spec import ast, catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity

CODES = ("P411",)


def find(view: PolicyView) -> Iterator[Finding]:
    """P411 for each comparison with what is not among the choices of a parameter."""
    choices = {
        item.name.text: item
        for item in view.module.items
        if isinstance(item, ast.ParamDecl) and isinstance(item.allowed, ast.Choices)
    }
    if not choices:
        return
    for node in ast.walk(view.module):
        if not isinstance(node, ast.Compare) or node.operator not in ("==", "!="):
            continue
        for named, value in ((node.left, node.right), (node.right, node.left)):
            if isinstance(named, ast.Path) and isinstance(value, ast.Text) and named.text in choices:
                yield from _compared(choices[named.text], value, node)


def _compared(item: ast.ParamDecl, value: ast.Text, node: ast.Compare) -> Iterator[Diagnostic]:
    assert isinstance(item.allowed, ast.Choices)
    allowed = [option.value for option in item.allowed.options.items if isinstance(option, ast.Text)]
    if not allowed or value.value in allowed:
        return
    always = "always" if node.operator == "!=" else "never"
    nearest = catalog.nearest(value.value, tuple(allowed))
    shown = ", ".join(f'"{each}"' for each in allowed)
    yield Diagnostic(
        "P411",
        Severity.WARNING,
        f'`{item.name.text}` is never "{value.value}"',
        Label(node.span, f"{always} true"),
        (Label(item.allowed.span, "what it can be"),),
        (f"it is one of {shown}",),
        None if nearest is None else Fix(f'write `"{nearest}"`', value.span, f'"{nearest}"'),
    )
