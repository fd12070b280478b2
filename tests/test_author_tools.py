"""`bylaw test`, `explain` and `doc`, the pytest plugin, and what they are made of: cases, coverage, explanations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import CliRunner

from bylaw.compiler.cases import Case, cases
from bylaw.compiler.coverage import Coverage, coverage
from bylaw.compiler.explain import explain
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.runtime.cli import main
from bylaw.runtime.report.constitution import constitution, to_html, to_markdown
from bylaw.spec.errors import PolicyError
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace

HOUSE = """
levels root > system > user

rule brief "Short answers" at system {
  because "People read on small screens."
  when prompt contains "short" or meta.mobile
  must have at most 3 words
  violates { user "short" assistant "one two three four" }
  complies { user "short" assistant "one two three" }
}
exception essays to brief at system {
  because "Essays are asked for."
  when meta.essay
}
test "an essay is long" {
  given meta.essay = true
  user "short"
  assistant "one two three four five"
  expect waived brief
  expect complies
}
"""


def compiled(text: str) -> Compiled:
    return compile_source(Source.of("house.bylaw", text))


def all_cases(text: str) -> tuple[Case, ...]:
    result = compiled(text)
    assert result.regulators is not None
    assert result.draft is not None
    return cases(result.regulators, result.draft)


def covered(text: str) -> Coverage:
    result = compiled(text)
    assert result.regulators is not None
    assert result.draft is not None
    return coverage(result.regulators, result.draft, cases(result.regulators, result.draft))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    path = tmp_path / "house.bylaw"
    path.write_text(HOUSE, encoding="utf-8")
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


# ---------------------------------------------------------------------------------------------------------- cases
def test_cases_are_the_examples_and_the_expectations() -> None:
    assert [(case.kind, case.expected, case.passed) for case in all_cases(HOUSE)] == [
        ("example", "violates", True),
        ("example", "complies", True),
        ("test", "waived", True),
        ("test", "complies", True),
    ]


def test_a_failing_case_keeps_the_draft_and_loses_the_program() -> None:
    wrong = HOUSE.replace(
        'complies { user "short" assistant "one two three" }', 'complies { user "short" assistant "1 2 3 4" }'
    )
    result = compiled(wrong)
    assert result.program is None
    assert result.draft is not None
    assert [case.passed for case in all_cases(wrong)] == [True, False, True, True]


# ------------------------------------------------------------------------------------------------------- coverage
def test_coverage_of_a_policy_counted_by_hand() -> None:
    found = covered(HOUSE)
    (rule,) = found.rules
    assert (rule.possible, rule.seen) == (
        ("complies", "violates", "skips", "waived"),
        ("complies", "violates", "waived"),
    )
    seen = {(each.owner, each.fact): each.seen for each in found.conditions}
    assert seen == {("brief", None): (True,), ("brief", "meta.mobile"): (), ("essays", "meta.essay"): (True,)}
    (threshold,) = found.thresholds
    assert (threshold.nearest_kept, threshold.nearest_broken, threshold.has_near_miss) == (3.0, 4.0, True)
    assert found.counts == {"verdicts": (3, 4), "conditions": (2, 6), "thresholds": (1, 1)}
    assert found.share == pytest.approx(6 / 11)


def test_full_coverage() -> None:
    more = """
test "without any reason it does not count" {
  given meta.mobile = false
  given meta.essay = false
  user "hello"
  assistant "one two three four"
  expect skips brief
}
test "on a telephone it counts" {
  given meta.mobile = true
  given meta.essay = false
  user "hello"
  assistant "one two three four"
  expect violates brief
}
"""
    assert covered(HOUSE + more).share == 1.0


@pytest.mark.parametrize(
    ("example", "near"),
    [('violates "one two three four"', True), ('violates "1 2 3 4 5 6 7 8 9"', False), ('complies "one"', False)],
)
def test_a_miss_by_much_is_no_near_miss(example: str, near: bool) -> None:
    other = 'complies "one two"' if example.startswith("violates") else ""
    (threshold,) = covered(f"rule r at user {{ must have at most 3 words {example} {other} }}").thresholds
    assert threshold.has_near_miss is near


def test_nothing_to_see_is_all_seen() -> None:
    assert covered("rule r at user { prefer lower number of words in response }").share == 1.0


# ------------------------------------------------------------------------------------------------------ the verbs
def test_verb_test(house: Path) -> None:
    code, out, err = run("test", house, "--coverage")
    assert (code, err) == (0, "")
    assert "4 of 4 cases pass; 55% covered" in out
    assert "`brief` was never seen with: skips" in out
    assert "`essays`: never false: meta.essay" in out
    assert run("test", house, "--fail-under", 90)[0] == 4
    assert run("test", house, "--fail-under", 50)[0] == 0
    assert run("test", house.parent / "missing.bylaw")[0] == 2


def test_verb_test_with_a_failure(house: Path) -> None:
    house.write_text(HOUSE.replace("expect waived brief", "expect skips brief"), encoding="utf-8")
    code, out, err = run("test", house)
    assert code == 1
    assert "P504" in err
    assert "FAILED  line 19: an essay is long (1): expect skips brief  found: `brief` waived" in out
    assert run("test", house, "-k", "example")[0] == 0
    data = json.loads(run("test", house, "--format", "json")[1])
    assert data["ok"] is False
    assert [case["passed"] for case in data["files"][0]["cases"]] == [True, True, False, True]
    suite = fromstring(run("test", house, "--format", "junit")[1])
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "0")


def test_verb_explain(house: Path) -> None:
    facts = ("--given", "meta.mobile=false", "--given", "meta.essay=false")
    code, out, err = run("explain", house, "--prompt", "short", "--response", "one two three four", *facts)
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["broken", "  brief (at system)"]
    assert "would be kept if: have at most 3 words (it is 4, the bound is 3)" in out
    essay = (*facts[:2], "--given", "meta.essay=true")
    assert (
        "lifted by exception `essays`: Essays are asked for."
        in run("explain", house, "--prompt", "short", "--response", "1 2 3 4", *essay)[1]
    )
    skipped = run("explain", house, "--prompt", "hello", "--response", "1 2 3 4", *facts)[1]
    assert skipped.splitlines()[0] == "not in force here"
    assert "meta.mobile" in skipped
    undecided = run("explain", house, "--prompt", "hello", "--response", "1 2 3 4")[1]
    assert undecided.splitlines()[0] == "undecided"
    data = json.loads(run("explain", house, "--prompt", "short", "--response", "1 2 3", *facts, "--json")[1])
    assert data["rules"][0]["verdict"] == "complies"
    assert data["rules"][0]["clauses"][0]["said"][0]["near_miss"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("--prompt", "p"),
        ("--prompt", "p", "--response", "r", "--given", "mobile"),
        ("--prompt", "p", "--response", "r", "--rule", "nothing"),
        ("--transcript", "missing.jsonl"),
    ],
)
def test_verb_explain_refuses(house: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = run("explain", house, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_explain_reads_a_transcript(house: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    meta = {"mobile": False, "essay": False}
    lines = [{"prompt": "short", "response": text, "meta": meta} for text in ("a", "a b c d")]
    rows.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert run("explain", house, "--transcript", rows, "--row", 2)[1].startswith("broken")
    assert run("explain", house, "--transcript", rows)[1].startswith("kept")
    assert run("explain", house, "--transcript", rows, "--row", 3)[0] == 2


# --------------------------------------------------------------------------------------------------- explanations
@pytest.mark.parametrize(
    ("sentence", "text", "deciding"),
    [
        ('must contain "a" or contain "b"', "c", ["a", "b"]),
        ('must contain "a" and contain "b"', "c", []),
        ('must contain "a" and contain "b"', "a", ["b"]),
        ('must not contain "a" or contain "b"', "a b", []),
        ('must not contain "a" or contain "b"', "a", ["a"]),
    ],
)
def test_an_atom_decides_when_its_opposite_alone_changes_the_verdict(
    sentence: str, text: str, deciding: list[str]
) -> None:
    result = compiled(f"rule r at user {{ {sentence} }}")
    (rule,) = explain(result.require(), Trace(()).answered(text))
    assert rule.verdict == "violates"
    atoms = [atom for atom in rule.clauses[0].said if atom.decides]
    places = [result.source.text[atom.extent.start : atom.extent.end] for atom in atoms if atom.extent]
    assert [place.split('"')[1] for place in places] == deciding


def test_an_unknown_condition_is_given_as_the_reason() -> None:
    result = compiled('rule r at user { when meta.a must contain "x" }')
    facts: dict[str, FactValue] = {}
    (rule,) = explain(result.require(), Trace((Message("user", "u"),), facts).answered("y"))
    assert (rule.verdict, rule.reason) == ("unscored", "the fact `meta.a` is not given")


# ------------------------------------------------------------------------------------------------------ documents
def test_the_document_has_every_rule_reason_and_exception() -> None:
    document = constitution(compiled(HOUSE))
    ((level, (rule,)),) = document.levels
    assert (level, rule.title, rule.where) == (
        "system",
        "Short answers",
        ('when prompt contains "short" or meta.mobile',),
    )
    assert [(each.name, each.because) for each in rule.exceptions] == [("essays", "Essays are asked for.")]
    for text in (to_markdown(document), to_html(document)):
        for words in ("Short answers", "People read on small screens.", "Essays are asked for.", "an essay is long"):
            assert words in text


def test_a_document_of_an_unsound_policy_is_refused() -> None:
    with pytest.raises(PolicyError):
        constitution(compiled("rule r at user { must have at most 3 wrods }"))


def test_a_document_treats_what_the_author_wrote_as_text() -> None:
    nasty = "<script>alert(1)</script> ``` [x](javascript:1)"
    document = constitution(compiled(f'rule r "{nasty}" at user {{ must contain "x" complies "x {nasty}" }}'))
    assert "<script>" not in to_html(document)
    fences = [line for line in to_markdown(document).splitlines() if line.startswith("````")]
    assert len(fences) == 2


def test_verb_doc(house: Path, tmp_path: Path) -> None:
    out = tmp_path / "house.html"
    assert run("doc", house, "--out", out)[0] == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    code, text, _ = run("doc", house)
    assert (code, text.splitlines()[0]) == (0, "# unnamed 0")
    assert run("doc", house, "--out", tmp_path / "missing" / "x.md")[0] == 2


# --------------------------------------------------------------------------------------------------- pytest plugin
def pytest_on(path: Path, *options: str) -> tuple[int, str]:
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "bylaw.runtime.pytest_plugin")
    done = subprocess.run([*command, *options, str(path)], capture_output=True, text=True, check=False, cwd=path.parent)
    return done.returncode, done.stdout


def test_plugin(house: Path) -> None:
    code, out = pytest_on(house, "--bylaw")
    assert (code, "5 passed" in out) == (0, True)
    house.write_text(HOUSE.replace("expect waived brief", "expect skips brief"), encoding="utf-8")
    code, out = pytest_on(house, "--bylaw")
    assert (code, "1 failed, 4 passed" in out, "P504" in out) == (1, True, True)
    house.write_text(HOUSE.replace("3 words", "3 wrods"), encoding="utf-8")
    code, out = pytest_on(house, "--bylaw")
    assert (code, "P102" in out) == (1, True)
    assert pytest_on(house)[0] == 4  # nothing is collected unless asked for, and pytest then knows no such file
