"""Builds the nodes of limits: one method for each rule of `grammar.lark`; `spec/transform.py` adds the rest."""

from __future__ import annotations

from typing import Any

from bylaw.spec import ast
from bylaw.spec.errors import Label
from bylaw.spec.source import Span
from bylaw.spec.transform_terms import Children, Part, TermBuilder, name_of, part, passed


class LimitBuilder(TermBuilder):
    """Methods for limits and what may follow their bound."""

    def _once(self, children: Children, kind: str, what: str) -> Any:
        """Return an optional part that may stand once, and report a second one."""
        found = [child for child in children if type(child) is Part and child.kind == kind]
        if len(found) > 1:
            self.report("P010", f"`{what}` is given twice", Label(found[1].value.span, "remove one of them"))
        return found[0].value if found else None

    population = passed("population")

    def suite(self, children: Children, span: Span) -> Part:
        return Part("suite", children[0] if isinstance(children[0], ast.Text) else name_of(children[0]))

    def share(self, children: Children, span: Span) -> Part:
        return Part("share", ast.Share(children[0], span))

    def among(self, children: Children, span: Span) -> Part:
        return Part("among", ast.AmongResponses(children[-1], span))

    def confidence(self, children: Children, span: Span) -> Part:
        return Part("confidence", children[-1])

    def each_prompt(self, children: Children, span: Span) -> Part:
        return Part("each prompt", ast.EachPrompt(span))

    def price(self, children: Children, span: Span) -> Part:
        return Part("price", ast.Price(children[-1], span))

    def _limit_parts(self, children: Children) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
        return (
            part(children, "share"),
            self._once(children, "population", "of ..."),
            self._once(children, "among", "responses where"),
            self._once(children, "suite", "over suite"),
            self._once(children, "confidence", "with confidence"),
            self._once(children, "each prompt", "for each prompt"),
            self._once(children, "price", "price"),
        )

    def limit_rate(self, children: Children, span: Span) -> ast.LimitRate:
        return ast.LimitRate(children[0], children[1], *self._limit_parts(children), span)

    def limit_average(self, children: Children, span: Span) -> ast.LimitAverage:
        return ast.LimitAverage(children[0], children[1], *self._limit_parts(children), span)
