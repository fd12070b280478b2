"""A policy as a document, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bylaw.runtime.report.constitution import Constitution, ExceptionEntry, LiftEntry, Passage, RuleEntry
from bylaw.runtime.report.text import block, one_line
from bylaw.spec.expression import Concept

_DEEPEST = 6


def markdown(document: Constitution) -> str:
    """The document as Markdown; what the policy says stands in code spans and quotations, so that it stays text.

    The prose of a literate policy is its author's Markdown and stays as it is, but for hidden characters.
    """
    lines = _literate(document) if document.passages else _by_level(document)
    return "\n".join(lines).rstrip("\n") + "\n"


def _by_level(document: Constitution) -> list[str]:
    lines = [f"# {one_line(document.policy)} {one_line(document.version)}", "", *_chain(document)]
    for level, rules in document.levels:
        lines += [f"## Rules at level {level}", ""]
        for rule in rules:
            lines += [*_rule_lines(rule, 3), ""]
    if document.words or document.concepts:
        lines += ["## Words of this policy", "", *_words(document.words, document.concepts), ""]
    if document.suites:
        lines += ["## Suites", "", *_suites(document.suites), ""]
    if document.tests:
        lines += ["## Tests", "", *(f"* {one_line(title)}" for title in document.tests), ""]
    return lines


def _literate(document: Constitution) -> list[str]:
    lines: list[str] = []
    for passage in document.passages:
        shown = block(passage.prose).strip("\n")
        lines += [shown, ""] if shown.strip() else []
        lines += _passage(passage, document)
    if document.borrowed or document.borrowed_concepts:
        lines += ["## Words from other files", "", *_words(document.borrowed, document.borrowed_concepts), ""]
    return lines


def _passage(passage: Passage, document: Constitution) -> list[str]:
    lines: list[str] = []
    if passage.is_opening:
        name = f"{_code(document.policy)}, version {one_line(document.version)}"
        lines += [f"Policy {name}.", "", *_chain(document)]
    listed = [*_words(passage.words, passage.concepts), *_suites(passage.suites)]
    listed += [f"* Test: {one_line(title)}" for title in passage.tests]
    lines += [*listed, ""] if listed else []
    for rule in passage.rules:
        lines += [*_rule_lines(rule, min(passage.depth + 1, _DEEPEST), level=True), ""]
    return lines


def _chain(document: Constitution) -> list[str]:
    return [f"Chain of command, strongest first: {' > '.join(document.chain)}.", ""]


def _words(words: Iterable[tuple[str, str]], concepts: Iterable[Concept]) -> list[str]:
    return [
        *(f"* {one_line(name)}: {_code(text)}" for name, text in words),
        *(f"* {one_line(each.name)}: {one_line(each.meaning)}" for each in concepts),
    ]


def _suites(suites: Sequence[tuple[str, str]]) -> list[str]:
    return [f"* {name}: {one_line(text)}" for name, text in suites]


def _rule_lines(rule: RuleEntry, depth: int, level: bool = False) -> list[str]:
    lines = [f"{'#' * depth} {one_line(rule.title or rule.name)}", ""]
    at = f" at level {rule.level}" if level else ""
    if rule.title is not None or level:
        lines += [f"Rule {_code(rule.name)}{at}.", ""]
    if rule.because is not None:
        lines += [f"Because: {one_line(rule.because)}", ""]
    lines += [f"* In force {_code(where)}" for where in rule.where]
    lines += [f"* {_code(sentence)}" for sentence in rule.sentences]
    lines += [] if rule.origin is None else [f"* Made from {_code(rule.origin)}."]
    lines += [f"* {one_line(remark)}" for remark in rule.remarks]
    lines += [f"* Source: {one_line(source)}" for source in rule.sources]
    lines += [line for each in rule.exceptions for line in _exception_lines(each, "")]
    lines += [_lift_line(each) for each in rule.lifted_by]
    for example in rule.examples:
        note = "" if example.note is None else f" ({one_line(example.note)})"
        given = "" if not example.facts else f" Given {', '.join(map(_code, example.facts))}."
        lines += ["", f"{example.shows}{note}.{given}", ""]
        said = "\n".join(block(f"{role}: {text}") for role, text in example.turns)
        fence = "```"
        while fence in said:
            fence += "`"
        lines += [f"{fence}text", said, fence]
    return lines


def _exception_lines(entry: ExceptionEntry, indent: str) -> list[str]:
    because = "" if entry.because is None else f" Because: {one_line(entry.because)}"
    inner = [line for each in entry.exceptions for line in _exception_lines(each, indent + "  ")]
    return [f"{indent}* Except {_code(entry.name)} (at {entry.level}){_where(entry.where)}.{because}", *inner]


def _lift_line(entry: LiftEntry) -> str:
    return f"* Lifted by {entry.how} {_code(entry.name)} (at {entry.level}){_where(entry.where)}."


def _where(where: Sequence[str]) -> str:
    return f": {'; '.join(map(_code, where))}" if where else " everywhere"


def _code(text: str) -> str:
    """A code span that holds any text on one line."""
    shown = one_line(text)
    ticks = "`"
    while ticks in shown:
        ticks += "`"
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{space}{shown}{space}{ticks}"
