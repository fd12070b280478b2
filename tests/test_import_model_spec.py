"""`bylaw import model-spec`: the published releases, counted by other means too, and documents of every odd form."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.importers import importer
from bylaw.compiler.importers.interface import Imported, ImportFailure, Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.spec import ast
from bylaw.spec.parser import parse
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "model_spec"
RELEASES = ("2025-02-12", "2025-04-11", "2025-09-12")
# marks GOOD, BAD, OK in the file; replies that became examples; sections with a level; sections without one
COUNTS = {
    "2025-02-12": ((168, 162, 7), 310, 51, 20),
    "2025-04-11": ((168, 162, 7), 310, 51, 20),
    "2025-09-12": ((186, 186, 7), 348, 57, 20),
}
needs_releases = pytest.mark.skipif(not FOLDER.exists(), reason="the published releases are not here")


@cache
def text_of(release: str) -> str:
    return (FOLDER / f"model_spec.{release}.md").read_text(encoding="utf-8")


@cache
def imported_of(release: str) -> Imported:
    return importer("model-spec").read(text_of(release), Naming(f"spec.{release}"))


def module_of(imported: Imported) -> ast.Module:
    return parse(Source.of("imported.bylaw.md", imported.text)).require()


def rules_of(module: ast.Module) -> dict[str, ast.RuleDecl]:
    return {item.name.text: item for item in module.items if isinstance(item, ast.RuleDecl)}


def concepts_of(module: ast.Module) -> dict[str, ast.ConceptDecl]:
    return {item.name.text: item for item in module.items if isinstance(item, ast.ConceptDecl)}


def last_said(example: ast.Example) -> str:
    assert isinstance(example.content, ast.Conversation)
    last = example.content.steps[-1]
    assert isinstance(last, ast.Turn)
    assert last.role == "assistant"
    return last.text.value


# ----------------------------------------------------------------------------------------------- published releases
@needs_releases
@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_accounted_for(release: str) -> None:
    marks, examples, with_level, without = COUNTS[release]
    text, imported = text_of(release), imported_of(release)
    account, module = imported.account, module_of(imported)
    assert tuple(len(re.findall(rf"<!-- {mark}\b", text)) for mark in ("GOOD", "BAD", "OK")) == marks
    replies = [line for line in account if line.what.startswith("reply ")]
    assert tuple(sum(line.what == f"reply {mark}" for line in replies) for mark in ("GOOD", "BAD", "OK")) == marks
    levels = dict(re.findall(r"(?m)^#+ .*\{#(\S+) authority=(\w+)\}$", text))
    anchors = re.findall(r"(?m)^#+ .*\{#([^\s}]+)[^}]*\}$", text)
    sections = {line.what.split("`")[1]: line.outcome for line in account if line.what.startswith("section")}
    assert sections == {anchor: "proposed" if anchor in levels else "skipped" for anchor in anchors}
    assert Counter(sections.values()) == {"proposed": with_level, "skipped": without}
    rules = rules_of(module)
    assert {name: rule.level and rule.level.text for name, rule in rules.items()} == levels
    found = [clause for rule in rules.values() for clause in rule.clauses if isinstance(clause, ast.Example)]
    assert len(found) == examples == sum(line.outcome != "skipped" for line in replies)
    assert all(line.reason for line in account if line.outcome in ("skipped", "changed"))
    asides = [line for line in account if line.what == "aside"]
    assert 0 < len(asides) < text.count("\n!!! meta ")  # those of sections without a rule stay with their section


@needs_releases
@pytest.mark.parametrize("release", RELEASES)
def test_the_prose_stays_as_it_is(release: str) -> None:
    kept = re.sub(r"(?ms)^```bylaw$.*?^```$\n*", "", imported_of(release).text)
    assert re.sub(r"\n+", "\n", kept).strip() == re.sub(r"\n+", "\n", text_of(release)).strip()


@needs_releases
@pytest.mark.parametrize("release", RELEASES)
def test_the_reply_of_every_example_is_a_text_of_its_concept(release: str) -> None:
    module = module_of(imported_of(release))
    concepts = concepts_of(module)
    for name, rule in rules_of(module).items():
        clauses = concepts[f"breaks_{name}"].clauses
        bad = {clause.text.value for clause in clauses if isinstance(clause, ast.Like)}
        good = {clause.text.value for clause in clauses if isinstance(clause, ast.Unlike)}
        examples = [clause for clause in rule.clauses if isinstance(clause, ast.Example)]
        assert {last_said(example) for example in examples if example.verdict == "violates"} == bad
        assert {last_said(example) for example in examples if example.verdict == "complies"} == good
        assert not bad & good


@needs_releases
def test_a_release_is_a_sound_policy() -> None:
    compiled = compile_source(Source.of("imported.bylaw.md", imported_of("2025-09-12").text))
    assert compiled.ok
    assert not [found for found in compiled.diagnostics if found.code.startswith("P5")]  # every example is decided
    assert compiled.regulators is not None
    assert len(compiled.regulators.examples) == 348


@needs_releases
def test_what_two_releases_share_has_the_same_names() -> None:
    names = [set(rules_of(module_of(imported_of(release)))) for release in RELEASES]
    anchors = [set(re.findall(r"\{#(\S+) authority=", text_of(release))) for release in RELEASES]
    assert names == anchors
    assert len(names[0] & names[1]) == 51
    assert len(names[1] & names[2]) == len(anchors[1] & anchors[2]) > 40


# ------------------------------------------------------------------------------------------------------------ forms
SPEC = """# Harbour desk {#desk}

Welcome.

## Be plain {#be-plain authority=root}

The desk must answer plainly[^a1], as [?](#desk) says. It **should not** guess. It may joke. Ships *sail*.

!!! meta "Note"
    The desk must not read this.

It should never shout.

~~~xml
<system>
Mind the &lt;tide&gt;.
</system>
<user>
When?
</user>
<comparison>
<assistant> <!-- GOOD -->
At "six" \\o/ {#x}
</assistant>
<assistant> <!-- BAD: a guess -->
Perhaps at six?
</assistant>
<assistant> <!-- OK -->
Six.
</assistant>
<assistant>
No mark.
</assistant>
</comparison>
<user>
And then?
</user>
<comparison>
<assistant> <!-- BAD[#be-kind]: rude -->
Go away.
</assistant>
<assistant> <!-- BAD[#desk] -->
Hm.
</assistant>
</comparison>
~~~

```python
# no heading {#code authority=root}
```

### A part of it {#part}

## Be kind {#be-kind authority=user}

## Nothing known {#odd authority=emperor}

## No anchor
"""


@cache
def small() -> Imported:
    return importer("model-spec").read(SPEC, Naming("desk"))


def test_the_parts_of_a_document() -> None:
    assert [(line.place, line.what, line.outcome, line.reason) for line in small().account] == [
        ("line 1", "section `desk`", "skipped", "it has no authority; its prose is kept"),
        ("line 5", "section `be-plain`", "proposed", "rule at root"),
        ("line 7", "sentence with `must`", "proposed", "part of breaks_be_plain"),
        ("line 7", "sentence with `should not`", "proposed", "part of breaks_be_plain"),
        ("line 7", "sentence with `may`", "skipped", "a permission; write an exception where a rule needs one"),
        ("line 9", "aside", "skipped", "a comment on the text, not an instruction; it stays in the prose"),
        ("line 12", "sentence with `should never`", "proposed", "part of breaks_be_plain"),
        ("line 22", "reply GOOD", "imported", ""),
        ("line 25", "reply BAD", "imported", ""),
        ("line 28", "reply OK", "changed", "OK counts as good"),
        ("line 31", "reply without mark", "skipped", "it is not marked GOOD, BAD or OK"),
        ("line 39", "reply BAD", "imported", "counts for `be_kind`, which its mark names"),
        ("line 42", "reply BAD", "skipped", "it is about `desk`, which has no rule"),
        ("line 48", "block `python`", "skipped", "not a conversation; it stays in the prose"),
        ("line 52", "section `part`", "changed", "it has the authority of the section around it, `root`"),
        ("line 54", "section `be-kind`", "proposed", "rule at user"),
        (
            "line 56",
            "section `odd`",
            "skipped",
            "`emperor` is none of platform, root, system, developer, user, guideline",
        ),
        (
            "line 58",
            "section `No anchor`",
            "skipped",
            "it has no anchor, so nothing can name its rule; its prose is kept",
        ),
    ]


def test_the_rules_of_a_document() -> None:
    module = module_of(small())
    rules, concepts = rules_of(module), concepts_of(module)
    said = {
        name: [clause.modality.word for clause in rule.clauses if isinstance(clause, ast.Norm)]
        for name, rule in rules.items()
    }
    assert said == {"be_plain": ["must not"], "part": ["must not"], "be_kind": ["should not"]}
    assert concepts["breaks_be_plain"].meaning.value == (
        'Does not keep to: Be plain. The desk must answer plainly, as "Harbour desk" says. It should not guess. '
        "It should never shout."
    )
    (reply,) = [clause for clause in rules["be_kind"].clauses if isinstance(clause, ast.Example)]
    assert isinstance(reply.content, ast.Conversation)
    turns = [(step.role, step.text.value) for step in reply.content.steps if isinstance(step, ast.Turn)]
    assert turns == [
        ("system", "Mind the <tide>."),
        ("user", "When?"),
        ("assistant", 'At "six" \\o/ {#x}'),
        ("user", "And then?"),
        ("assistant", "Go away."),
    ]


def test_the_rules_of_a_document_judge_its_replies() -> None:
    program = compile_source(Source.of("imported.bylaw.md", small().text)).require()

    def verdict(answer: str) -> Verdict:
        scores = evaluate(program, Trace((Message("user", "When?"),)).answered(answer)).terms
        return next(score.verdict for score in scores if score.term == "be_plain")

    assert verdict("Perhaps at six?") is Verdict.VIOLATED
    assert verdict("Six.") is Verdict.SATISFIED
    assert verdict("Seven.") is Verdict.UNSCORED


def block(*parts: str) -> str:
    return "# A {#a authority=root}\n~~~xml\n" + "\n".join(parts) + "\n~~~\n"


GOOD, BAD = "<assistant> <!-- GOOD -->\nYes\n</assistant>", "<assistant> <!-- BAD -->\nYes\n</assistant>"
OTHER = "<assistant> <!-- BAD -->\nNo\n</assistant>"
CALL = '<assistant recipient="find"> <!-- GOOD -->\n{}\n</assistant>'
CALLS = block('<assistant recipient="a.b">\n{"q": "x"}\n</assistant>', '<tool name="b">\ny\n</tool>', GOOD)
REPLIES = [
    (block("<comparison>", GOOD, BAD, OTHER, "</comparison>"), ["skipped", "skipped", "imported"], "the same text"),
    (block(GOOD), ["imported"], ""),
    (block("<user>", "x", "</user>"), ["skipped"], "no reply of it is marked"),
    (block("<comparison>", OTHER, "</comparison>", "<user>\nx\n</user>", GOOD), ["imported", "skipped"], "marked GOOD"),
    (block(CALL), ["skipped"], "it is a call of a tool"),
    (block("<user>x</user>" * 201, GOOD), ["skipped"], "more than 200 messages stand before it"),
    (block("<assistant> <!-- GOOD -->", "</assistant>"), ["skipped"], "it is empty"),
    (block('<assistant recipient="py">\nx()\n</assistant>', GOOD), ["skipped"], "in a form of its own"),
    (
        block('<assistant recipient="a.b">\n{"q": "x"}\n</assistant>', '<tool name="b">\ny\n</tool>', GOOD),
        ["imported"],
        "",
    ),
    (block('<user comment="in French">\nOui ?\n</user>', GOOD), ["changed"], "the remark on the message at line 3"),
    (block("<comparison>", GOOD, "</comparison>", "<assistant>", "open"), ["imported"], ""),
]


@pytest.mark.parametrize(("text", "outcomes", "reason"), REPLIES, ids=range(len(REPLIES)))
def test_replies(text: str, outcomes: list[str], reason: str) -> None:
    imported = importer("model-spec").read(text, Naming("a"))
    lines = [line for line in imported.account if not line.what.startswith("section")]
    assert [line.outcome for line in lines] == outcomes
    assert any(reason in line.reason for line in lines)
    module_of(imported)


def test_calls_and_outputs_of_tools_come_before_a_reply() -> None:
    module = module_of(importer("model-spec").read(CALLS, Naming("a")))
    steps = [
        type(node) for node in ast.walk(module) if isinstance(node, ast.Turn | ast.ToolCallTurn | ast.ToolResultTurn)
    ]
    assert Counter(steps) == {ast.Turn: 1, ast.ToolCallTurn: 1, ast.ToolResultTurn: 1}


def test_the_older_name_of_the_strongest_level() -> None:
    text = importer("model-spec").read("# A {#a authority=platform}\n# B {#b authority=user}\n", Naming("a")).text
    assert "levels platform > system > developer > user > guideline" in text
    assert "must not express breaks_a" in text
    assert "should not express breaks_b" in text


def test_an_anchor_that_stands_twice_and_names_that_become_one() -> None:
    text = (
        "# A {#a-b authority=root}\n# B {#a_b authority=root}\n# C {#a-b authority=root}\n# D {#must authority=root}\n"
    )
    imported = importer("model-spec").read(text, Naming("a"))
    assert list(rules_of(module_of(imported))) == ["a_b", "a_b_2", "must_section"]
    assert [line.place for line in imported.account if line.outcome == "skipped"] == ["line 3"]


def test_a_fence_that_is_never_closed() -> None:
    imported = importer("model-spec").read("# A {#a authority=root}\nText.\n~~~~\nopen", Naming("a"))
    assert list(rules_of(module_of(imported))) == ["a"]
    assert [line.what for line in imported.account if line.outcome == "changed"] == ["fence"]


def test_line_ends_of_windows_stay() -> None:
    text = importer("model-spec").read("# A {#a authority=root}\r\nIt must be.\r\n", Naming("a")).text
    assert "\n" not in text.replace("\r\n", "")
    assert list(rules_of(parse(Source.of("a.bylaw.md", text)).require())) == ["a"]


@pytest.mark.parametrize("text", ["", "# A\n", "# A {#a}\n", "# A {#a authority=root}\n```bylaw\nrule x { }\n```\n"])
def test_documents_of_another_kind(text: str) -> None:
    with pytest.raises(ImportFailure):
        importer("model-spec").read(text, Naming("a"))


ODD = st.text(st.sampled_from(list("ab\"'\\{}`~#<>!&;[]()/*\n\r\t \x1b\u2028é")), max_size=20)


@settings(max_examples=80, deadline=None)
@given(ODD, ODD, ODD, st.text(min_size=1))
def test_no_text_becomes_a_rule(title: str, prose: str, reply: str, anchor: str) -> None:
    text = f"# {title} {{#{anchor} authority=root}}\n{prose}\n\n# Last {{#last authority=user}}\nIt must {prose}\n"
    text += block(f"<assistant> <!-- GOOD: {title} -->\n{reply}\n</assistant>").replace("#a authority", "#b authority")
    try:
        imported = importer("model-spec").read(text, Naming(anchor))
    except ImportFailure:
        return
    proposed = [line for line in imported.account if line.what[:7] == "section" and line.outcome != "skipped"]
    assert len(rules_of(module_of(imported))) == len(proposed)
