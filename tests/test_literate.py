"""Headings of literate policies: what they say of the rules below them."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Golden

from bylaw.compiler.importers.interface import Naming
from bylaw.compiler.importers.model_spec import read
from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.spec.errors import Diagnostic, render
from bylaw.spec.literate import check_headings, headings
from bylaw.spec.source import Source, SourceMap, behind, fenced_blocks

ROOT = Path(__file__).parents[1]
CONSTITUTION = ROOT / "examples" / "constitution" / "constitution.bylaw.md"
MODEL_SPECS = sorted((ROOT.parent / "shared" / "data" / "model_spec").glob("*.md"))
RULE = 'rule {} at {} {{\n  must contain "x"\n}}'


def fenced(*items: str) -> str:
    return "```bylaw\n{}\n```\n".format("\n\n".join(items))


def found(document: str) -> list[Diagnostic]:
    compiled = compile_source(Source.of("p.bylaw.md", document))
    assert compiled.regulators is not None
    assert compiled.source.document is not None
    return list(check_headings(compiled.source.document, compiled.module, compiled.regulators.regulators))


def marked(document: str) -> list[tuple[str, str]]:
    """The codes with the words that are marked."""
    return [(each.code, document[each.primary.span.start : each.primary.span.end]) for each in found(document)]


# ---------------------------------------------------------------------------------------------------------- reading
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("# A title", (1, "A title", None, None)),
        ("### A title {#here authority=system}", (3, "A title", "here", "system")),
        ("## A title {authority=system}", (2, "A title", None, "system")),
        ('## A title {#a .wide authority="my level"} ##', (2, "A title", "a", "my level")),
        ("   # Indented {#a}\r", (1, "Indented", "a", None)),
        ("## The set {x, y}", (2, "The set {x, y}", None, None)),
        ("## {#a} in between", (2, "{#a} in between", None, None)),
    ],
)
def test_a_heading(line: str, expected: tuple[int, str, str | None, str | None]) -> None:
    document = f"before\n{line}\nafter\n"
    (heading,) = headings(document)
    assert (heading.depth, heading.title, heading.anchor, heading.authority) == expected
    if heading.anchor is not None:
        assert document[heading.anchor_span.start : heading.anchor_span.end] == heading.anchor
    if heading.authority is not None:
        assert document[heading.authority_span.start : heading.authority_span.end] == heading.authority


@pytest.mark.parametrize("text", ["#no", "    # code", "####### seven", "```\n# in a block\n```", "~~~bylaw\n# a\n"])
def test_no_heading(text: str) -> None:
    assert headings(text) == ()


def test_all_fenced_blocks_are_found() -> None:
    text = "```bylaw\na\n```\n  ~~~text\nb\n~~~\n```json\n{"
    assert [(info, text[block.start : block.end]) for info, block in fenced_blocks(text)] == [
        ("bylaw", "a\n"),
        ("text", "b\n"),
        ("json", "{"),
    ]


# ------------------------------------------------------------------------------------------------------- authorities
@pytest.mark.parametrize(
    ("authority", "rules", "expected"),
    [
        ("authority=system", [RULE.format("a", "system"), RULE.format("b", "system")], []),
        ("authority=System", [RULE.format("a", "system")], []),
        ("#here", [RULE.format("a", "system"), RULE.format("b", "user")], []),
        ("authority=system", [RULE.format("a", "system"), RULE.format("b", "user")], [("P614", "user")]),
        ("authority=sistem", [RULE.format("a", "system")], [("P614", "sistem")]),
        ("authority=system", ['rule a { must contain "x" }'], [("P614", "a")]),
        ("authority=guideline", ['rule a { must contain "x" }'], []),
        ("authority=system", ['rule a(w: text = "x") { must contain w }'], []),
        (
            "authority=system",
            [RULE.format("a", "system"), 'exception e to a at root { when prompt contains "y" }'],
            [],
        ),
    ],
)
def test_authority_of_a_section(authority: str, rules: list[str], expected: list[tuple[str, str]]) -> None:
    assert marked(f"# Top\n\n## Section {{{authority}}}\n\n{fenced(*rules)}") == expected


@pytest.mark.parametrize(
    ("apply", "expected"),
    [
        ("apply fmt.max_words(limit: 5) as brief at system", []),
        ("apply fmt.max_words(limit: 5) as brief at user", [("P614", "user")]),
        ("apply fmt.max_words(limit: 5) as brief", [("P614", "brief")]),
        ("apply fmt.max_words(limit: 5)", [("P614", "fmt.max_words")]),
    ],
)
def test_authority_of_applied_rules(apply: str, expected: list[tuple[str, str]]) -> None:
    assert marked(f"{fenced('import std.format as fmt')}\n# S {{authority=system}}\n{fenced(apply)}") == expected


def test_a_section_ends_with_the_next_heading() -> None:
    above, below = fenced(RULE.format("a", "system")), fenced(RULE.format("b", "user"))
    assert marked(f"# One {{authority=system}}\n{above}\n## Two\n{below}") == []
    assert marked(f"{below}\n# One {{authority=system}}\n{above}\n") == []
    assert marked(f"# One {{authority=nobody}}\n## Two {{authority=user}}\n{below}") == []


# ----------------------------------------------------------------------------------------------------------- anchors
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("# A {#a}\n# B {#b}\n", []),
        ("# A {#a}\n# B {#a}\n# C {#a}\n", ["a", "a"]),
        (f"# A {{#r}}\n## More\n{fenced(RULE.format('r', 'user'))}", []),
        (f"# A {{#r}}\n# B\n{fenced(RULE.format('r', 'user'))}", ["r"]),
        (f"{fenced(RULE.format('r', 'user'))}\n# A {{#r}}\n", ["r"]),
    ],
)
def test_anchors(document: str, expected: list[str]) -> None:
    text = document if "```" in document else document + fenced(RULE.format("other", "user"))
    assert marked(text) == [("P615", word) for word in expected]


# ---------------------------------------------------------------------------------------------------------- messages
@pytest.mark.parametrize(
    ("code", "document"),
    [
        ("P614", f"# Wishes {{#wishes authority=sistem}}\n{fenced(RULE.format('a', 'system'))}"),
        ("P614_rule", f"# Wishes {{#wishes authority=system}}\n{fenced(RULE.format('a', 'user'))}"),
        ("P615", f"# Wishes {{#a}}\n# More {{#a}}\n{fenced(RULE.format('b', 'user'))}"),
        ("P615_rule", f"# Wishes {{#a}}\n# More {{#b}}\n{fenced(RULE.format('a', 'user'))}"),
    ],
)
def test_messages(code: str, document: str, golden: Golden) -> None:
    shown = Source.of("avoid.bylaw.md", document)
    golden.check(f"codes/{code}.txt", "\n".join(render(each, shown) for each in found(document)))


# ------------------------------------------------------------------------------------------------------ whole files
def test_the_example_fits() -> None:
    compiled = compile_file(CONSTITUTION)
    assert compiled.source.document == CONSTITUTION.read_text(encoding="utf-8")
    assert list(check_headings(compiled.source.document or "", compiled.module)) == []


@pytest.mark.skipif(not MODEL_SPECS, reason="the published specifications are not here")
def test_imports_of_a_published_specification_fit() -> None:
    text = read(MODEL_SPECS[-1].read_text(encoding="utf-8"), Naming("spec")).text
    assert sum(heading.authority is not None for heading in headings(text)) > 30
    assert found(text) == []
    wrong = text.replace("authority=guideline}", "authority=system}", 1)
    assert [each.code for each in found(wrong)] == ["P614"]


def test_a_source_keeps_its_document() -> None:
    text = f"\ufeff# Title\n{fenced(RULE.format('a', 'user'))}"
    main = Source.of("main.bylaw.md", text)
    assert main.document == text.removeprefix("\ufeff")
    other = behind(main.text, "other.bylaw", RULE.format("b", "user"))
    joined = SourceMap.joining([main, other])
    assert (joined.document, joined.file_at(0).document, joined.file_at(other.start).document) == (
        main.document,
        main.document,
        None,
    )
    assert Source.of("p.bylaw", "# comment").document is None
