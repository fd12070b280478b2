"""The headings of a literate policy: `## Title {#anchor authority=level}`, checked against the rules below them.

A section is what stands below a heading, up to the next one. Where its heading says an authority, its rules stand at
that level; exceptions and permissions from other sections may of course stand elsewhere. The form of the headings is
that of OpenAI's Model Spec.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.regulator import Regulator
from bylaw.spec.scope import DEFAULT_LEVELS
from bylaw.spec.source import Span, code_blocks, fenced_blocks

_HEADING = re.compile(r"^ {0,3}(?P<marks>#{1,6})[ \t]+(?P<title>[^\r\n]*)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"#(?P<anchor>[^\s{}#]+)|authority=(?:\"(?P<in_quotes>[^\"]*)\"|(?P<plain>[^\s{}\"]+))")

_NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading: where its line starts, how many `#` it has, its title, and what stands in braces behind it."""

    start: int
    depth: int
    title: str
    anchor: str | None = None
    anchor_span: Span = _NOWHERE
    authority: str | None = None
    authority_span: Span = _NOWHERE


def headings(document: str) -> tuple[Heading, ...]:
    """Return the headings of a Markdown text in order; what stands in a fenced block is none."""
    blocks = [block for _, block in fenced_blocks(document)]
    starts = [block.start for block in blocks]
    found = []
    for match in _HEADING.finditer(document):
        index = bisect_right(starts, match.start()) - 1
        if index < 0 or match.start() >= blocks[index].end:
            found.append(_heading(match))
    return tuple(found)


def _heading(match: re.Match[str]) -> Heading:
    depth, at = len(match["marks"]), match.start("title")
    title = match["title"].rstrip(" \t#")
    brace = title.rfind("{")
    found: dict[str, tuple[str, Span]] = {}
    for each in _ATTRIBUTE.finditer(title, brace) if brace >= 0 and title.endswith("}") else ():
        group = each.lastgroup or ""
        kind = "anchor" if group == "anchor" else "authority"
        found.setdefault(kind, (each[group], Span(at + each.start(group), at + each.end(group))))
    anchor, anchor_span = found.get("anchor", (None, _NOWHERE))
    authority, authority_span = found.get("authority", (None, _NOWHERE))
    shown = title[:brace].rstrip() if found else title
    return Heading(match.start(), depth, shown, anchor, anchor_span, authority, authority_span)


def check_headings(document: str, module: ast.Module, regulators: Iterable[Regulator] = ()) -> Iterator[Diagnostic]:
    """Yield what does not fit between the headings of a literate file and its rules (P614, P615).

    `document` is the main file with its prose (`Source.document`), `module` what its blocks say. The `regulators` tell
    at which level a rule stands that is applied without one, as its template has it.
    """
    found = headings(document)
    rules = _rules(module, {each.rule: each.level for each in regulators})
    yield from _authorities(document, found, module, rules)
    yield from _anchors(document, found, rules)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule of the file: its name, and its level with the word that says so; None where it cannot be told."""

    name: ast.Name
    level: str | None
    said: ast.Name | None


def _rules(module: ast.Module, known: Mapping[str, str]) -> tuple[_Rule, ...]:
    """The rules that the file makes; a template stands at no level before it is applied."""
    found = []
    weakest = _levels(module)[-1]
    for item in module.items:
        if isinstance(item, ast.RuleDecl) and (item.parameters is None or item.level is not None):
            found.append(_Rule(item.name, item.level.text if item.level else weakest, item.level))
        elif isinstance(item, ast.ApplyDecl):
            name = item.alias or ast.Name(item.template.text.rpartition(".")[2], item.template.span)
            found.append(_Rule(name, item.level.text if item.level else known.get(name.text), item.level))
    return tuple(found)


def _levels(module: ast.Module) -> tuple[str, ...]:
    declared = next((item for item in module.items if isinstance(item, ast.LevelsDecl)), None)
    return DEFAULT_LEVELS if declared is None else tuple(name.text for name in declared.levels)


def _authorities(
    document: str, found: tuple[Heading, ...], module: ast.Module, rules: tuple[_Rule, ...]
) -> Iterator[Diagnostic]:
    """P614, for sections that hold a block of the policy."""
    starts = [heading.start for heading in found]
    levels = _levels(module)
    for index in sorted({bisect_right(starts, block.start) - 1 for block in code_blocks(document)}):
        heading = found[index] if index >= 0 else None
        if heading is None or heading.authority is None:
            continue
        # the Model Spec itself writes its levels with a small letter or a large one
        wanted = heading.authority if heading.authority in levels else heading.authority.lower()
        if wanted not in levels:
            yield _undeclared(heading, levels)
            continue
        for rule in rules:
            if bisect_right(starts, rule.name.span.start) - 1 == index and rule.level != wanted:
                yield _misplaced(rule, heading, wanted)


def _undeclared(heading: Heading, levels: tuple[str, ...]) -> Diagnostic:
    nearest = catalog.nearest(heading.authority or "", levels)
    return Diagnostic(
        "P614",
        Severity.ERROR,
        f"the authority of this section, `{heading.authority}`, is not a level of the policy",
        Label(heading.authority_span),
        notes=(f"the levels are {' > '.join(levels)}",),
        fix=None if nearest is None else Fix(f"write `{nearest}`", heading.authority_span, nearest),
    )


def _misplaced(rule: _Rule, heading: Heading, wanted: str) -> Diagnostic:
    stands = "says no level" if rule.level is None else f"stands at level `{rule.level}`"
    at = rule.name.span if rule.said is None else rule.said.span
    return Diagnostic(
        "P614",
        Severity.ERROR,
        f"`{rule.name.text}` {stands}, but its section has the authority `{wanted}`",
        Label(at, "" if rule.said else "no level is written here"),
        (Label(heading.authority_span, "the authority of the section"),),
        fix=Fix(f"write `at {wanted}`, or move the rule to another section"),
    )


def _anchors(document: str, found: tuple[Heading, ...], rules: tuple[_Rule, ...]) -> Iterator[Diagnostic]:
    """P615: an anchor that stands twice, or that is the name of a rule of another section."""
    first: dict[str, Heading] = {}
    named = {rule.name.text: rule for rule in rules}
    for index, heading in enumerate(found):
        if heading.anchor is None:
            continue
        before = first.setdefault(heading.anchor, heading)
        if before is not heading:
            message = f"the anchor `#{heading.anchor}` stands twice"
            yield _warning(message, Label(heading.anchor_span, "again"), Label(before.anchor_span, "first here"))
            continue
        rule = named.get(heading.anchor)
        end = next((each.start for each in found[index + 1 :] if each.depth <= heading.depth), len(document))
        if rule is not None and not heading.start <= rule.name.span.start < end:
            message = f"the anchor `#{heading.anchor}` is the name of a rule of another section"
            yield _warning(message, Label(heading.anchor_span), Label(rule.name.span, "the rule stands here"))


def _warning(message: str, primary: Label, other: Label) -> Diagnostic:
    note = "a link to it leads to one of them only"
    return Diagnostic("P615", Severity.WARNING, message, primary, (other,), (note,), Fix("give one another name"))
