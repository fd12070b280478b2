"""`bylaw test`, `explain` and `doc`, the pytest plugin, and what they are made of: cases, coverage, explanations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import CliRunner
from rich.console import Console

from bylaw.compiler.cases import Case, cases
from bylaw.compiler.coverage import Coverage, coverage
from bylaw.compiler.explain import RuleExplanation, explain
from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.cli import main
from bylaw.runtime.record import to_json
from bylaw.runtime.report import render_console, render_markdown
from bylaw.runtime.report.constitution import constitution, to_html, to_markdown
from bylaw.runtime.report.html import render_html
from bylaw.spec.errors import PolicyError
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace, tool_call

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


NEGATED = [
    ("must not have more than 2 sentences", "if not: have more than 2 sentences"),
    ("must (not have more than 2 sentences)", "if not: have more than 2 sentences"),
    ("must have at most 2 sentences", "if: have at most 2 sentences"),
    ("must not have exactly 4 sentences", "if not: have exactly 4 sentences"),
    ("must not (not have at most 2 sentences)", "if: have at most 2 sentences"),
    ("must not (have more than 2 sentences or have a heading)", "if not: have more than 2 sentences"),
]


@pytest.mark.parametrize(("sentence", "advice"), NEGATED)
def test_explain_advises_in_the_words_of_the_author(tmp_path: Path, sentence: str, advice: str) -> None:
    """A negation is compiled into the comparison behind it; the advice is about the words."""
    rules = tmp_path / "rules.bylaw"
    rules.write_text(f"rule r at user {{ {sentence} }}\n", encoding="utf-8")
    said = ("--prompt", "hi", "--response", "One is here. Two are there. Three are away. Four is it.")
    lines = run("explain", rules, *said)[1].splitlines()
    assert [line.strip().split(" (it is")[0] for line in lines if "would be kept" in line] == [
        f"would be kept {advice}"
    ]
    (atom, *_) = json.loads(run("explain", rules, *said, "--format", "json")[1])["rules"][0]["clauses"][0]["said"]
    assert atom["value"] is advice.startswith("if not")


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
    data = json.loads(run("explain", house, "--prompt", "short", "--response", "1 2 3", *facts, "--format", "json")[1])
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


def explained(text: str, trace: Trace) -> RuleExplanation:
    (rule,) = explain(compiled(text).require(), trace)
    return rule


@pytest.mark.parametrize(
    ("sentence", "text", "near"),
    [
        ("must have at most 3 words", "a b c", True),
        ("must have at most 3 words", "a b", False),
        ("must have at least 3 words", "a b c", True),
        ("must have at least 3 words", "a b c d", False),
        ("must have fewer than 3 words", "a b", True),
        ("must have fewer than 3 words", "a", False),
        ("must have at most 50 words", "a " * 46, True),
        ("must have at most 50 words", "a " * 45, False),
        ("must have at most 3 words", "a b c d", True),
        ("must have at most 3 words", "a b c d e", False),
        ("must have no links", "a", False),
        ("must have at most 0 links", "a", False),
        ("average_word(response) must be at most 2.5", "aa aaa aa", True),
        ("average_word(response) must be at most 2.5", "aa a", False),
        ("must be json", "[]", False),
    ],
)
def test_near_misses(sentence: str, text: str, near: bool) -> None:
    rule = explained(f"rule r at user {{ {sentence} }}", Trace(()).answered(text.strip()))
    assert [atom.is_near_miss for atom in rule.clauses[0].said] == [near]


ESSAY = """
rule brief at system { must have at most 3 words }
rule essays at system { when meta.essay need not have at most 3 words }
exception drafts to brief at system { because "Drafts grow." when meta.draft }
"""


def test_what_may_lift_an_undecided_rule_is_named(tmp_path: Path) -> None:
    path = tmp_path / "essay.bylaw"
    path.write_text(ESSAY, encoding="utf-8")
    asked = ("explain", path, "--prompt", "p", "--response", "1 2 3 4", "--given")
    assert (
        "the fact `meta.essay` is not given, so it is not known whether permission `essays` lifts the rule\n"
        in run(*asked, "meta.draft=false")[1]
    )
    assert (
        "the fact `meta.draft` is not given, so it is not known whether exception `drafts` lifts the rule: Drafts grow."
        in run(*asked, "meta.essay=false")[1]
    )
    data = json.loads(run(*asked, "meta.essay=false", "--format", "json")[1])
    assert data["rules"][0]["undecided_by"] == {"name": "drafts", "reason": "exception"}
    assert run(*asked, "meta.essay=false", "--given", "meta.draft=false")[1].startswith("broken")


def test_a_rule_that_waits_for_its_own_fact_blames_no_waiver() -> None:
    text = """
        rule brief at user { when meta.short must have at most 3 words }
        exception drafts to brief at user { when meta.draft }
    """
    rule = explained(text, Trace((Message("user", "u"),)).answered("a"))
    assert (rule.verdict, rule.reason, rule.open_waiver) == ("unscored", "the fact `meta.short` is not given", None)


SUITE = """
suite daily = ["first question", "second question"]
rule few at user { limit response mentions "no" to at most 5% of responses over suite daily }
rule seldom at user { limit response mentions "never" to at most 0% of responses over suite daily }
"""


@pytest.mark.parametrize("prompt", ["another", None])
def test_a_limit_over_a_suite_names_the_suite(tmp_path: Path, prompt: str | None) -> None:
    path = tmp_path / "suite.bylaw"
    path.write_text(SUITE, encoding="utf-8")
    asked = () if prompt is None else ("--prompt", prompt)
    out = run("explain", path, "--response", "r", *asked)[1]
    if prompt is not None:
        assert out.count("the prompt is not in suite `daily`") == 2
    assert "question" not in out
    assert "this:" not in out


def test_explain_names_other_files_actions_and_messages(tmp_path: Path) -> None:
    (tmp_path / "house.bylaw").write_text('\n\nrule polite at user { must mention "please" }\n', encoding="utf-8")
    path = tmp_path / "main.bylaw"
    rule = """rule once at user {
  call to pay must occur at most 1 times per conversation
  on violation block with "Once."
}
rule harmless at user { call to pay must not mention "all" }
"""
    path.write_text(f"include house\n{rule}", encoding="utf-8")
    calls = [{"type": "function", "function": {"name": "pay", "arguments": json.dumps({"sum": "all"})}}] * 2
    row = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "assistant", "content": "a"},
    ]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": row}), encoding="utf-8")
    code, out, err = run("explain", path, "--transcript", rows)
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert f'{tmp_path}/house.bylaw, line 3: must mention "please": violated' in lines
    assert "line 3: call to pay must occur at most 1 times per conversation: violated" in lines
    assert lines.count("message 2: call to pay (and 1 more)") == 2
    assert 'on violation: block, saying "Once."' in lines
    assert not [line for line in lines if line.startswith("would be kept if: call to pay")]
    data = json.loads(run("explain", path, "--transcript", rows, "--rule", "once", "--format", "json")[1])["rules"][0]
    assert data["on_violation"] == {"action": "block", "message": "Once."}
    assert (data["clauses"][0]["path"], data["clauses"][0]["line"]) == (str(path), 3)


# --------------------------------------------------------------------------------------------------------- findings
def test_a_finding_about_an_event_shows_the_event() -> None:
    program = compiled('rule r at user { call to pay must not mention "all" }').require()
    said = (Message("user", "u"), tool_call("pay", {"sum": "all"}), Message("assistant", "the answer"))
    record = audit(program, [Trace(said)], source="log", policy=Source("p", "rule r"))
    (finding,) = record.terms[0].findings
    assert (finding.event, finding.spans) == ("message 2: call to pay", ())
    assert json.loads(to_json(record))["terms"][0]["findings"][0]["event"] == "message 2: call to pay"
    printed = Console(width=80, record=True, file=StringIO())
    render_console(record, printed)
    for text in (printed.export_text(), render_markdown(record), render_html(record)):
        assert "message 2: call to pay" in text
        assert "the answer" not in text


def test_a_finding_about_the_answer_has_no_event() -> None:
    program = compiled('rule r at user { must not mention "all" }').require()
    trace = Trace((Message("user", "u"),)).answered("take all of it")
    (finding,) = audit(program, [trace], source="log", policy=Source("p", "rule r")).terms[0].findings
    assert (finding.event, finding.spans) == (None, ((5, 8),))


# ------------------------------------------------------------------------------------------------------ documents
SHARED = """
levels root > system > user
param most : number = 5
lexicon rude "rude words" = ["moron"] # of the region
lexicon spare = ["never used"]
define is_rude(t) as t mentions any of rude
rule polite at system {
  when prompt contains "?" # only then
  response must not mention any of rude
}
rule few(limit: number, of_what: text = "x") "At most {limit}" {
  when is_rude(prompt)
  must have at most limit + most words
  must not contain of_what
}
"""
MAIN = """
levels root > system > user
include shared with most = 7
apply shared.few(limit: 2 * 3) as short at system
rule strict at root { must not contain "a" }
rule with_an_a at system { must contain "a" }
rule free at system { when meta.free need not contain "a" }
rule list at system { when prompt contains "list" must have at least 2 bullets overrides short }
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "shared.bylaw").write_text(SHARED, encoding="utf-8")
    path = tmp_path / "main.bylaw"
    path.write_text(MAIN, encoding="utf-8")
    return path


def test_a_document_shows_what_applied_and_included_rules_say(files: Path) -> None:
    document = constitution(compile_file(files))
    rules = {rule.name: rule for _, entries in document.levels for rule in entries}
    short = rules["short"]
    assert (short.title, short.origin) == ("At most 6", 'shared.few with limit = (2 * 3), of_what = "x"')
    assert short.where == ("when shared.is_rude(prompt)",)
    assert short.sentences == ("must have at most (2 * 3) + shared.most words", 'must not contain "x"')
    polite = rules["shared.polite"]
    assert polite.where == ('when prompt contains "?"',)
    assert polite.sentences == ("response must not mention any of shared.rude",)
    assert dict(document.words) == {
        "shared.most": "param shared.most : number = 5, here 7",
        "shared.rude": 'lexicon shared.rude "rude words" = ["moron"]',
        "shared.is_rude": "define shared.is_rude(t) as t mentions any of shared.rude",
    }


def test_a_document_says_what_lifts_a_rule(files: Path) -> None:
    document = constitution(compile_file(files))
    rules = {rule.name: rule for _, entries in document.levels for rule in entries}
    lifts = {name: [(each.how, each.name, each.level, each.where) for each in r.lifted_by] for name, r in rules.items()}
    assert lifts["with_an_a"] == [
        ("the permission", "free", "system", ("when meta.free",)),
        ("a rule of a stronger level,", "strict", "root", ()),
    ]
    assert lifts["short"] == [("the rule that overrides it,", "list", "system", ('when prompt contains "list"',))]
    assert lifts["strict"] == []
    assert rules["free"].remarks == ("Lifts: with_an_a.",)
    text = to_markdown(document)
    assert "* Lifted by the permission `free` (at system): `when meta.free`." in text
    assert "* Lifted by a rule of a stronger level, `strict` (at root) everywhere." in text
    assert 'href="#rule-strict"' in to_html(document)


def test_facts_and_arguments_are_written_as_people_write_them() -> None:
    example = 'violates { given meta.a = true given meta.n = 2 user "u" assistant calls pay(sum: 40, now: false) }'
    document = constitution(compiled(f'rule r at user {{ when meta.a call to pay must mention "x" {example} }}'))
    (shown,) = document.levels[0][1][0].examples
    assert (shown.facts, shown.turns[-1][1]) == (
        ("meta.a = true", "meta.n = 2"),
        "calls pay(sum: 40, now: false)",
    )


PROSE = """# Our house

We <b>read</b> aloud.

```bylaw
policy our.house version "2" edition 1
lexicon rude = ["moron"]
```

## Manners {#manners authority=guideline}

```text
# no heading
```

```bylaw
rule polite "Be polite" at guideline {
  should not mention any of rude
}
test "a day" {
  user "u"
  assistant "a"
  expect complies
}
```

The end."""


def test_a_literate_policy_keeps_its_prose() -> None:
    document = constitution(compile_source(Source.of("house.bylaw.md", PROSE)))
    text = to_markdown(document)
    at = [text.index(each) for each in ("# Our house", "We <b>read</b> aloud.", "Policy `our.house`, version 2.")]
    at += [text.index(each) for each in ("* rude: `lexicon", "## Manners {#manners authority=guideline}")]
    at += [text.index(each) for each in ("# no heading", "* Test: a day", "### Be polite", "The end.")]
    assert at == sorted(at)
    assert "```bylaw" not in text
    assert "Rule `polite` at level guideline." in text
    assert "Rules at level" not in text
    assert "## Rules at level guideline" in to_markdown(replace(document, passages=()))


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
    # By its module: a checkout that was installed before there was a plugin does not announce it. And without those
    # that other packages announce, which take longer to load than all the rest.
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "bylaw.runtime.pytest_plugin")
    done = subprocess.run(
        [*command, *options, str(path)], capture_output=True, text=True, check=False, cwd=path.parent,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
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


# ----------------------------------------------------------------------------------------------- prompts of a run
def test_a_run_takes_its_prompts_from_the_suites_of_the_policy(tmp_path: Path) -> None:
    from bylaw.runtime.cli.sampling import prompts_or_exit

    beside = tmp_path / "prompts.jsonl"
    beside.write_text('{"prompt": "beside"}\n', encoding="utf-8")
    suites = 'suite a = ["one", "two"]\nsuite b = ["two", "three"]\n'
    rule = 'rule r at user { limit response contains "x" to at most 5% over suite a }'
    read, name, digest = prompts_or_exit(compiled(suites + rule), None, beside)
    assert [trace.text("prompt") for trace in read.traces] == ["one", "two", "three"]
    assert (name, len(digest)) == ("suite a, b", 64)
    read, name, _ = prompts_or_exit(compiled(suites + rule), str(beside), beside)
    assert ([trace.text("prompt") for trace in read.traces], name) == (["beside"], str(beside))
    read, _, _ = prompts_or_exit(compiled('rule r at user { must contain "x" }'), None, beside)
    assert [trace.text("prompt") for trace in read.traces] == ["beside"]


def test_a_document_is_not_written_over_what_is_there(house: Path, tmp_path: Path) -> None:
    before = house.read_bytes()
    assert run("doc", house, "--out", house, "--force")[0] == 2
    assert house.read_bytes() == before
    out = tmp_path / "x.md"
    assert run("doc", house, "--out", out)[0] == 0
    assert run("doc", house, "--out", out)[0] == 2
    assert run("doc", house, "--out", out, "--force")[0] == 0
