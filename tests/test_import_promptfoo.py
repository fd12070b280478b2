"""`bylaw import promptfoo`: assertions as sentences, tests as conditions, and what has no counterpart."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.importers import importer
from bylaw.compiler.importers._promptfoo_assertions import REASONS, WRITERS
from bylaw.compiler.importers.interface import AccountLine, Imported, ImportFailure, Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.spec import ast
from bylaw.spec.parser import parse
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

KEPT = {"type": "contains", "value": "kept"}


def read(suite: str | None = None, **config: Any) -> Imported:
    return importer("promptfoo").read(yaml.safe_dump(config), Naming("tests", suite))


def one(assertion: Any, **test: Any) -> tuple[AccountLine, str]:
    """The account of one assertion, and the sentence it becomes."""
    imported = read(prompts=["Say {{what}}"], tests=[{**test, "assert": [assertion, KEPT]}])
    (line,) = [line for line in imported.account if line.place.startswith("tests[0].assert[0]")]
    rule = imported.text.split("rule test_1", 1)[1].split('"promptfoo tests[0]"\n', 1)[1]
    kept = '  must contain "kept"' if "threshold" not in test else '  should contain "kept"'
    return line, rule.split(kept)[0].strip()


SENTENCES = [
    ({"type": "equals", "value": 42}, 'must be in ["42"]'),
    ({"type": "equals", "value": 4.0}, 'must be in ["4"]'),
    ({"type": "contains", "value": 'a "b"'}, 'must contain "a \\"b\\""'),
    ({"type": "not-contains", "value": "a"}, 'must not contain "a"'),
    ({"type": "icontains", "value": "a.b/c"}, "must contain /a\\.b\\/c/i"),
    ({"type": "contains-any", "value": ["a", "b,c"]}, 'must contain any of ["a", "b,c"]'),
    ({"type": "contains-any", "value": "a, b"}, 'must contain any of ["a", "b"]'),
    ({"type": "contains-all", "value": ["a", 3]}, 'must contain all of ["a", "3"]'),
    ({"type": "icontains-any", "value": ["a", "b"]}, "must contain any of [/a/i, /b/i]"),
    ({"type": "not-icontains-all", "value": ["a", "b"]}, "must not contain all of [/a/i, /b/i]"),
    ({"type": "starts-with", "value": "Dear"}, 'must start with "Dear"'),
    ({"type": "regex", "value": r"^\d+/[a-z]$"}, r"must contain /^\d+\/[a-z]$/"),
    ({"type": "is-json"}, "must be json"),
    ({"type": "word-count", "value": 5}, "must have exactly 5 words"),
    ({"type": "word-count", "value": {"min": 2, "max": 5}}, "must have between 2 and 5 words"),
    ({"type": "not-word-count", "value": {"max": 5}}, "must not have at most 5 words"),
    ({"type": "llm-rubric", "value": "Is kind"}, "must express test_1_rubric"),
    ({"type": "not-llm-rubric", "value": "Is rude"}, "must not express test_1_rubric"),
]


@pytest.mark.parametrize(("assertion", "sentence"), SENTENCES, ids=lambda value: str(value)[:50])
def test_assertions_that_a_policy_can_say(assertion: dict[str, Any], sentence: str) -> None:
    line, said = one(assertion)
    assert said == sentence
    assert line.outcome == ("changed" if "word-count" in assertion["type"] else "imported")


REFUSED = [
    ({"type": "regex", "value": "(?=a)"}, "its pattern is not regular"),
    ({"type": "regex", "value": "(a)\\1"}, "its pattern is not regular"),
    ({"type": "is-json", "value": {"type": "object"}}, "its value is a JSON schema"),
    ({"type": "contains", "value": ["a"]}, "its value is not a text"),
    ({"type": "contains", "value": "file://a.txt"}, "its value stands in another file"),
    ({"type": "contains", "value": "{{missing}}"}, "the variable `missing` has no single value here"),
    ({"type": "contains", "value": "{{a | upper}}"}, "`{{` begins more than a variable"),
    ({"type": "contains-any", "value": '"a, b", c'}, "one text with quotes in it"),
    ({"type": "contains-any", "value": []}, "its value is not a list of texts"),
    ({"type": "word-count", "value": {"min": -1}}, "neither a whole number nor"),
    ({"type": "llm-rubric", "value": "x", "threshold": 2}, "its threshold is not above 0 and at most 1"),
    ({"type": "contains", "value": "a", "weight": 0}, "its weight is 0"),
    ({"type": "contains", "value": "a", "transform": "output.trim()"}, "after a program has changed it"),
    ({"type": "javascript", "value": "output.length > 3"}, "it is a program"),
    ({"type": "not-python", "value": "x"}, "it is a program"),
    ({"type": "cost", "threshold": 1}, "it is about the run"),
    ({"type": "latency", "threshold": 1}, "it is about the run"),
    ({"type": "similar", "value": "x"}, "compares with a reference answer"),
    ({"type": "contains-json"}, "no such property"),
    ({"type": "made-up"}, "this type of assertion is not known"),
    ({"type": "assert-set", "threshold": 0.5, "assert": []}, "only a share of its assertions has to pass"),
]


@pytest.mark.parametrize(("assertion", "reason"), REFUSED, ids=lambda value: str(value)[:50])
def test_assertions_that_a_policy_cannot_say_are_named(assertion: dict[str, Any], reason: str) -> None:
    line, said = one(assertion)
    assert (line.place, line.what, line.outcome) == ("tests[0].assert[0]", f"assertion {assertion['type']}", "skipped")
    assert reason in line.reason
    assert said == ""


def test_no_type_is_said_and_refused() -> None:
    assert not set(WRITERS) & set(REASONS)


@pytest.mark.parametrize("assertion", [3, "file://x.py", {"value": "a"}, {"type": 3}])
def test_assertions_that_are_none(assertion: Any) -> None:
    assert one(assertion)[0].outcome == "unreadable"


def test_what_is_said_less_exactly() -> None:
    white = one({"type": "regex", "value": r"a\s"})[0]
    assert (white.outcome, white.reason) == ("changed", "white space in its pattern is that of ASCII")
    assert one({"type": "regex", "value": r"a\\s"})[0].outcome == "imported"
    share, said = one({"type": "contains", "value": "a", "weight": 2, "metric": "tone"}, threshold=0.5)
    assert said == 'should contain "a"'
    assert (share.outcome, share.reason) == (
        "changed",
        "the test asks for a share of 0.5, the rule for each; the metric `tone` is not kept; its weight is not kept",
    )


def test_a_rubric_becomes_a_concept_with_a_judge() -> None:
    imported = read(tests=[{"assert": [{"type": "llm-rubric", "value": 'Is "kind"\nto {all}', "threshold": 0.8}]}])
    concept, rule = parse(Source.of("p.bylaw", imported.text)).require().items
    assert isinstance(concept, ast.ConceptDecl)
    assert isinstance(rule, ast.RuleDecl)
    assert concept.meaning.value == 'Is "kind" to {all}'
    assert [type(clause) for clause in concept.clauses] == [ast.ScoredBy, ast.Threshold]


def test_sets_are_taken_apart_once() -> None:
    inner = {"type": "assert-set", "assert": [KEPT]}
    outer = {"type": "assert-set", "assert": [{"type": "contains", "value": "a"}, inner]}
    account = [line for line in read(tests=[{"assert": [outer]}]).account if "assert" in line.place]
    assert [(line.place, line.outcome) for line in account] == [
        ("tests[0].assert[0].assert[0]", "imported"),
        ("tests[0].assert[0].assert[1]", "skipped"),
    ]


def test_a_set_that_holds_itself_ends() -> None:
    text = "tests:\n- assert: &a\n  - {type: contains, value: x}\n  - {type: assert-set, assert: *a}\n"
    account = importer("promptfoo").read(text, Naming("loop")).account
    assert [line.outcome for line in account if "assert" in line.place] == ["imported", "imported", "skipped"]


# -------------------------------------------------------------------------------------------------------- conditions
def verdict(imported: Imported, rule: str, prompt: str, answer: str, **facts: Any) -> Verdict:
    program = compile_source(Source.of("imported.bylaw", imported.text)).require()
    given = {f"meta.{name}": value for name, value in facts.items()}
    trace = Trace((Message("user", prompt),), given).answered(answer)
    (found,) = [score.verdict for score in evaluate(program, trace).terms if score.term == rule]
    return found


def test_a_test_holds_for_its_prompts_and_they_make_the_suite() -> None:
    config = {
        "prompts": ["Say {{ what }}!", {"raw": "Shout {{what}}", "label": "loud"}],
        "defaultTest": {"vars": {"what": "x"}, "assert": [{"type": "not-icontains", "value": "sorry"}]},
        "tests": [
            {"vars": {"what": ["a", 2]}, "assert": [{"type": "contains", "value": "yes"}]},
            {"description": 'The "default"', "assert": [KEPT]},
            {"vars": {"what": "nothing asked"}},
        ],
    }
    imported = read(suite="tests.jsonl", **config)
    assert 'suite prompts "the prompts of the tests" = file "tests.jsonl"' in imported.text
    rows = [json.loads(line) for line in imported.suite.splitlines()]
    assert [row["prompt"] for row in rows[:4]] == ["Say a!", "Shout a", "Say 2!", "Shout 2"]
    assert [row["meta"] for row in rows] == [
        {"what": what} for what in ("a", "a", 2, 2, "x", "x", *["nothing asked"] * 2)
    ]
    assert [line.place for line in imported.account if line.outcome == "skipped"] == ["tests[2]"]
    plain = read(**config)
    assert verdict(plain, "test_1", "Shout 2", "no") is Verdict.VIOLATED
    assert verdict(plain, "test_1", "Say x!", "no") is Verdict.NOT_APPLICABLE
    assert verdict(plain, "test_2", "Say x!", "kept") is Verdict.SATISFIED
    assert verdict(plain, "every_answer", "anything", "So SORRY") is Verdict.VIOLATED


def test_without_prompts_in_the_file_the_variables_are_facts() -> None:
    variables = {"name": 'A "b"', "age": 3, "vip": True, "new": False, "kind": ["x", "y"]}
    imported = read(prompts=["file://prompt.txt"], tests=[{"vars": variables, "assert": [KEPT]}])
    condition = imported.text.split("when ")[1].split("\n  must")[0]
    assert " ".join(condition.split()) == (
        'meta.age == 3 and (meta.kind == "x" or meta.kind == "y") and meta.name == "A \\"b\\"" '
        "and not meta.new and meta.vip"
    )
    assert imported.suite == ""
    facts = {**variables, "kind": "y"}
    assert verdict(imported, "test_1", "any", "no", **facts) is Verdict.VIOLATED
    assert verdict(imported, "test_1", "any", "no", **{**facts, "new": True}) is Verdict.NOT_APPLICABLE


def test_assertions_of_every_test_that_depend_on_its_variables() -> None:
    config: dict[str, Any] = {
        "prompts": ["Greet {{name}}"],
        "defaultTest": {"assert": [{"type": "contains", "value": "{{name}}"}]},
        "tests": [{"vars": {"name": "Ada"}}, {"vars": {"name": "Bo"}}],
    }
    imported = read(**config)
    assert 'must contain "Ada"' in imported.text.split("rule test_2")[0]
    assert 'must contain "Bo"' in imported.text.split("rule test_2")[1]
    assert "every_answer" not in imported.text
    alone = {"assert": [KEPT, *config["defaultTest"]["assert"]]}
    lines = read(defaultTest=alone, tests="file://tests.csv").account
    assert [(line.place, line.outcome) for line in lines] == [
        ("defaultTest.assert[0]", "imported"),
        ("tests", "skipped"),
        ("defaultTest.assert[1]", "skipped"),
    ]


PROMPTS = [
    "file://a.txt",
    "prompt.json",
    '[{"role": "user", "content": "{{x}}"}]',
    "{% if x %}a{% endif %}",
    "{{ x | upper }}",
    {"id": "file://x"},
    3,
]


@pytest.mark.parametrize("prompt", PROMPTS, ids=str)
def test_prompts_that_are_no_plain_templates(prompt: Any) -> None:
    imported = read(prompts=["Say {{x}}", prompt], tests=[{"vars": {"x": "a"}, "assert": [KEPT]}])
    assert [(line.place, line.outcome) for line in imported.account[:2]] == [
        ("prompts[0]", "imported"),
        ("prompts[1]", "skipped"),
    ]
    assert 'when meta.x == "a"' in imported.text


TESTS = [
    ("file://a.yaml", "tests[0]", "it stands in another file"),
    ({"vars": "file://a.yaml", "assert": [KEPT]}, "tests[0]", "its variables stand in another file"),
    ({"vars": {"a": {"b": 1}}, "assert": [KEPT]}, "tests[0]", "the variable `a` is not a plain value"),
    ({"vars": {"a": "file://x"}, "assert": [KEPT]}, "tests[0]", "the variable `a` is not a plain value"),
    ({"vars": {"a": "{{b}}"}, "assert": [KEPT]}, "tests[0]", "the variable `a` is not a plain value"),
    ({"vars": {c: list(range(40)) for c in "abc"}, "assert": [KEPT]}, "tests[0]", "more than 10,000 tests"),
    ({"assert": "file://a.py"}, "tests[0].assert", "they stand in another file, or are made by a program"),
    ({"provider": "x", "assert": [KEPT]}, "tests[0].provider", "it has no counterpart"),
    ({"options": {"transform": "x"}, "assert": [KEPT]}, "tests[0].assert[0]", "after a program has changed it"),
]


@pytest.mark.parametrize(("test", "place", "reason"), TESTS, ids=lambda value: str(value)[:40])
def test_tests_that_cannot_be_read(test: Any, place: str, reason: str) -> None:
    lines = read(prompts=["Say"], tests=[test, {"assert": [KEPT]}], scenarios=[1], providers=["x"]).account
    assert any(line.place == place and reason in line.reason and line.outcome == "skipped" for line in lines)
    top = {line.place: line.reason for line in lines}
    assert (top["scenarios"], top["providers"]) == ("it has no counterpart", "it is about how the evaluation runs")


@pytest.mark.parametrize(
    "text", ["", "a: [", "- 1", "x: 1", "tests: file://x", "a: &a [*a]", "!!python/object:os.x {}"]
)
def test_files_of_another_kind(text: str) -> None:
    with pytest.raises(ImportFailure):
        importer("promptfoo").read(text, Naming("none"))


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1), st.text())
def test_no_text_leaves_its_quotes(value: str, variable: str, title: str) -> None:
    rubric = {"type": "llm-rubric", "value": value}
    imported = read(tests=[{"description": title, "vars": {"v": variable}, "assert": [rubric, KEPT]}])
    names = [
        item.name.text
        for item in parse(Source.of("p.bylaw", imported.text)).require().items
        if isinstance(item, ast.RuleDecl)
    ]
    assert names == ([] if not names else ["test_1"])
