"""`bylaw mutate`: what is changed, what becomes of it, and what tells a survivor from the policy.

Whatever the bench says of a mutant is checked against compiling the whole text of the mutant anew, and proofs that two
policies say the same against all texts over a small alphabet.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from bylaw.compiler.analysis import example_verdict, terms_by_rule
from bylaw.compiler.mutants import (
    OPERATORS,
    Bench,
    Report,
    Settings,
    Tried,
    as_syntax,
    difference,
    mutate,
    plan,
    report,
    run,
)
from bylaw.compiler.mutants.bench import TEST_CODES
from bylaw.compiler.mutants.edits import edits_of
from bylaw.compiler.mutants.patterns import mutated_patterns
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.runtime.cli import main
from bylaw.spec import loader
from bylaw.spec.expression import Extent
from bylaw.spec.parser import parse
from bylaw.spec.regulator import PolicyExample
from bylaw.spec.source import Source
from bylaw.spec.trace import Message

ROOT = Path(__file__).parent.parent
STD = Path(loader.__file__).parent / "std"
LIBRARY = ("agents", "format", "honesty", "privacy", "safety", "text", "tone")
POLICIES = (*(STD / f"{name}.bylaw" for name in LIBRARY), *sorted(ROOT.glob("examples/*/rules.bylaw")))
ALPHABET = "ab "

# Small enough to be tried on every text; most kinds of change have a survivor or an equivalent mutant among them.
WORDS = """levels root > user

lexicon bad = ["ab", "aab", "b a", /ba?b/]
define short as number of words in response <= 2

rule clean at root {
  must not contain any of bad
  complies "b"
  violates "ab"
}
rule begins at user {
  should start with "a" or end with "b"
  complies "aa"
  violates "ba"
}
rule counted at user {
  must contain "a" at most 2 times
  must have at most 3 words
  must have at most 4 words
  complies "a"
  violates "aaa"
}
rule both at user {
  should contain all of ["a", "b"]
  complies "ba"
}
rule brief at user {
  when prompt contains /a+b?/
  unless prompt starts with "b" and prompt contains "bb"
  response should not match /a*b*|(ab)?/i
  violates { user "a"  assistant "ab" }
  skips { user " "  assistant "ab" }
}
rule closes at user {
  when short
  should end with "b"
  violates "a"
}
"""
# Who wins, facts, events, limits: everything that is no property of one text.
RULES = """levels root > system > user

rule digits at user {
  must not contain /[0-9]{2}/
  waivable by user
  violates { given meta.dealer = false given meta.frozen = false user "How much?" assistant "20" }
  waived { given meta.dealer = true given meta.frozen = false user "How much?" assistant "20" }
}
exception dealers to digits at system {
  when meta.dealer
}
exception frozen to dealers at root {
  when meta.frozen
}
rule steps at user {
  when prompt mentions "steps" and not meta.age < 12
  must have at least 2 bullets
  overrides plain
  complies { given meta.age = 20 user "In steps." assistant "- a\\n- b" }
}
rule plain at user {
  must have no bullets
  violates { given meta.age = 20 user "Hello" assistant "- a" }
}
rule one_refund at system {
  call to ["refund", "pay"] where (it.amount > 50) must follow message from user where (
    it mentions any of ["yes", "go"]
  )
  call to refund must occur at most 1 times per conversation
  complies { user "yes" assistant calls refund(amount: 80) }
  violates { user "no" assistant calls refund(amount: 80) }
}
rule seldom at system {
  limit response mentions any of ["I cannot", "I decline"] and response has at most 9 words
    to at most 1% of responses
  complies "Here it is."
  violates "I cannot."
}
rule lines at user {
  every line of response should start with "a"
  first sentence of response should not end with "!"
  prefer lower number of words in response weight 0.5
  violates "b"
}
rule quoted at user {
  must not quote system_prompt more than 3 words
  violates { system "one two three four five" user "Well?" assistant "one two three four" }
}
test "one after the other" {
  user "yes"
  assistant calls refund(amount: 10)
  assistant calls refund(amount: 10)
  expect violates one_refund
}
"""
TEMPLATES = """policy house.rules version "1" edition 1
import std.text as text

lexicon slang = ["gonna", "wanna"] + ["ain't"] - ["wanna"]
rule few(limit: number = 2, words: list of text = [slang]) "At most {limit}" {
  should mention at most limit of words
  complies "gonna"
}
rule plain() "Plain" {
  must not mention any of text.apologies
  violates "Sorry."
}
rule undecided(limit: number) "Any limit" {
  must have at most limit words
}
"""


@cache
def outcome(text: str, path: Path | None = None) -> tuple[Bench, Report]:
    """A policy and all its mutants."""
    bench = Bench(Source.of("policy.bylaw" if path is None else str(path), text), path)
    planned = plan(bench, Settings())
    return bench, report(planned, run(bench, planned.edits))


def compiled(text: str) -> Compiled:
    return compile_source(Source.of("policy.bylaw", text))


def told(bench: Bench, tried: Tried) -> str:
    """A mutant in a word or two, for messages of tests."""
    return f"{tried.edit.operator}: {difference(bench.source, tried.edit)}"


# ------------------------------------------------------------------------------------------------- what is changed
@pytest.mark.parametrize("path", POLICIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_change_is_a_policy_in_the_grammar(path: Path) -> None:
    parsed = parse(Source.read(path), keeps_tokens=True)
    edits = edits_of(parsed).edits
    for edit in Random(4).sample(edits, min(len(edits), 40)):
        changed = parse(Source.of("policy.bylaw", edit.applied(parsed.source.text)))
        assert changed.is_ok, (edit.operator, edit.text)
        assert changed.module != parsed.module


def test_every_operator_has_its_changes() -> None:
    found = {tried.edit.operator for text in (WORDS, RULES) for tried in outcome(text)[1].tried}
    assert found == set(OPERATORS)


def changes(sentence: str, before: str = "") -> set[str]:
    """What the sentence of a rule becomes."""
    text = f"{before}rule r at user {{\n{sentence}\n}}\n"
    found = edits_of(parse(Source.of("policy.bylaw", text), keeps_tokens=True)).edits
    return {f"{edit.operator}: {' '.join(edit.applied(text).split(chr(10))[-3].split())}" for edit in found}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ('must not contain "x"', {"negation: must contain \"x\"", 'matching: must not mention "x"'}),
        ("should have at most 20 words", {"threshold: should have at most 22 words"}),
        ("must have no links", {"negation: must not have no links", "strength: should have no links"}),
        ('may contain "x"', {'negation: need not contain "x"'}),
        ('must contain "x" and contain "y"', {'connective: must contain "x" or contain "y"'}),
        ('must mention all of ["x", "y"] in order', {'quantifier: must mention all of ["x", "y"]'}),
        ('must mention all of ["x", "y"]', {'quantifier: must mention any of ["x", "y"]'}),
        ("every line of response must be json", {"quantifier: some line of response must be json"}),
        ('must contain /^a{2}(b)?$/i', {"pattern: must contain /^a{2}(b)?$/", "pattern: must contain /^a{2}$/i"}),
        ('should contain "x" weight 2', {'strength: must contain "x"'}),
        ("must have more than 5 words", {"comparison: must have fewer than 5 words"}),
    ],
)  # fmt: skip
def test_a_sentence_is_changed(sentence: str, expected: set[str]) -> None:
    assert expected <= changes(sentence)


def test_what_nobody_could_see_is_not_changed() -> None:
    text = """concept kind means "Is kind." { like "Well done." }
    suite daily = ["Hello"]
    lexicon unused = ["a", "b"]
    rule r "title" at user {
      because "of 3 reasons"
      prefer lower number of words in response weight 2
      limit response mentions "no" to at most 5% of responses over suite daily
      on violation ask with "2?"
    }
    """
    found = edits_of(parse(Source.of("policy.bylaw", text), keeps_tokens=True))
    assert {edit.operator for edit in found.edits} <= {"negation", "matching", "level", "sentence"}
    assert sum(found.left_out.values()) == 5
    assert not any("5%" in edit.applied(text).replace("at most 5%", "") for edit in found.edits)


@pytest.mark.parametrize(
    ("pattern", "others"),
    [
        (("^ab?$", ""), {("ab?$", ""), ("^a$", ""), ("^ab?", "")}),
        (("a{2}", "i"), {("a{2}", ""), ("a{1,2}", "i"), ("a{2,3}", "i")}),
        ((r"\b[\]a-c]+(x|y)?", ""), {(r"[\]a-c]+(x|y)?", ""), (r"\b[\]a-c]*(x|y)?", ""), (r"\b[\]a-c]+", "")}),
        ((r"\?\{2\}", ""), set()),
        (("(?i)a{1,}?", ""), {("a{1,}?", ""), ("(?i)a{0,}?", "")}),
    ],
)
def test_patterns(pattern: tuple[str, str], others: set[tuple[str, str]]) -> None:
    assert set(mutated_patterns(*pattern)) == others


def test_of_a_long_list_a_sample_is_dropped_and_the_report_says_so() -> None:
    words = ", ".join(f'"word{number}"' for number in range(60))
    text = f"rule r at user {{\n  must not mention any of [{words}]\n}}\n"
    parsed = parse(Source.of("policy.bylaw", text), keeps_tokens=True)
    first, again, other = (edits_of(parsed, seed) for seed in (1, 1, 2))
    assert Counter(edit.operator for edit in first.edits)["entry"] == 40
    assert first.left_out["an entry beyond the sample of a long list"] == 20
    assert first == again
    assert first != other


# ------------------------------------------------------------------------------------------- what becomes of them
def anew(text: str, tried: Tried, path: Path | None = None) -> str:
    """What compiling the whole text of a mutant says of it."""
    changed = tried.edit.applied(text)
    errors = {
        each.code for each in compile_source(Source.of("policy.bylaw", changed), path).diagnostics if each.is_error
    }
    return "sound" if not errors else "killed" if errors <= TEST_CODES else "invalid"


def is_as_compiled(status: str, found: str) -> bool:
    return status == found if status in ("killed", "invalid") else status == "duplicate" or found == "sound"


@pytest.mark.parametrize("text", [WORDS, RULES, TEMPLATES], ids=["words", "rules", "templates"])
def test_the_bench_says_what_compiling_the_whole_text_says(text: str) -> None:
    bench, found = outcome(text)
    for tried in found.tried:
        assert is_as_compiled(tried.status, anew(text, tried)), told(bench, tried)


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_bench_is_right_about_large_policies(path: Path) -> None:
    bench = Bench(Source.read(path), path)
    text = bench.source.text
    edits = plan(bench, Settings(most=12, seed=9)).edits
    for tried in run(bench, edits):
        assert is_as_compiled(tried.status, anew(text, tried, path)), told(bench, tried)


def texts(longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        yield from map("".join, product(ALPHABET, repeat=length))


def conversations(is_thorough: bool) -> Iterator[PolicyExample]:
    for text in texts(5):
        yield PolicyExample("", "complies", (Message("assistant", text),), Extent(0, 0), is_text=True)
    answers = ("", "a", "ab", "bb a")
    for prompt, answer in product(texts(5 if is_thorough else 3), answers):
        yield PolicyExample("", "complies", (Message("user", prompt), Message("assistant", answer)), Extent(0, 0))


def test_what_is_called_equivalent_says_the_same_of_every_small_text() -> None:
    bench, found = outcome(WORDS)
    ours = terms_by_rule(compiled(WORDS).require())
    equivalent = [each for each in found.tried if each.status == "equivalent"]
    assert {each.edit.operator for each in equivalent} >= {"entry", "sentence"}
    for tried in equivalent:
        theirs = terms_by_rule(compiled(tried.edit.applied(WORDS)).require())
        for example in conversations(is_thorough=True):
            for rule in tried.rules:
                said = example_verdict(example, ours[rule]).verdict
                assert example_verdict(example, theirs[rule]).verdict == said, (told(bench, tried), example)


def test_no_survivor_of_small_texts_is_equivalent_and_its_text_is_a_shortest() -> None:
    bench, found = outcome(WORDS)
    ours = terms_by_rule(compiled(WORDS).require())
    by_text = 0
    for tried in found.survivors:
        assert tried.telling is not None, told(bench, tried)
        theirs = terms_by_rule(compiled(tried.edit.applied(WORDS)).require())
        if not tried.telling.example.is_text:
            continue
        by_text += 1
        length = len(tried.telling.example.messages[-1].content)
        for text in texts(min(length - 1, 5)):
            example = PolicyExample("", "complies", (Message("assistant", text),), Extent(0, 0), is_text=True)
            for rule in tried.rules:
                verdicts = {example_verdict(example, side[rule]).verdict for side in (ours, theirs)}
                assert len(verdicts) == 1, (told(bench, tried), text)
    assert by_text > 10


@pytest.mark.parametrize("text", [WORDS, RULES, TEMPLATES], ids=["words", "rules", "templates"])
def test_the_example_that_is_offered_notices_the_change(text: str) -> None:
    bench, found = outcome(text)
    offered = [each for each in found.survivors if each.telling is not None]
    assert len(offered) > 0.9 * len(found.survivors), [told(bench, e) for e in found.survivors if e.telling is None]
    for tried in offered:
        assert tried.telling is not None
        rule, said = tried.telling.example.rule, as_syntax(tried.telling.example)
        more = f"\nexamples for {rule} {{\n  {said}\n}}\n"
        assert compiled(text + more).ok, (told(bench, tried), said)
        errors = {each.code for each in compiled(tried.edit.applied(text) + more).diagnostics if each.is_error}
        assert errors == {"P501"}, (told(bench, tried), said)


def test_levels_and_strengths_count_only_where_a_verdict_depends_on_them() -> None:
    text = """levels root > system > user
    rule brief at system {
      must have at most 2 words
      complies "a"
      violates "a a a"
    }
    rule long at user {
      must have at least 5 words
      waived { user "a" assistant "a" }
    }
    """
    _, found = outcome(text)
    of_level = Counter(each.status for each in found.tried if each.edit.operator == "level")
    assert of_level["killed"] >= 1  # the weaker rule wins
    assert of_level["unseen"] >= 1  # brief moves up to root
    assert of_level["invalid"] >= 1  # both at one level contradict each other
    strengths = [each.status for each in found.tried if each.edit.operator == "strength"]
    assert sorted(strengths) == ["duplicate", "killed"]  # a rule that is no hard rule any more outranks nothing


def test_a_policy_whose_own_examples_fail_is_not_changed() -> None:
    from bylaw.spec.errors import PolicyError

    with pytest.raises(PolicyError):
        mutate(Source.of("policy.bylaw", 'rule r at user { must contain "a"  complies "b" }'))


def test_settings() -> None:
    bench, _ = outcome(RULES)
    assert {edit.owner for edit in plan(bench, Settings(rule="digits")).edits} == {"digits", "dealers"}
    assert {edit.operator for edit in plan(bench, Settings(operators=("exception",))).edits} == {"exception"}
    sample = plan(bench, Settings(most=5, seed=1))
    assert (len(sample.edits), sample.made) == (5, len(plan(bench, Settings()).edits))
    assert sample == plan(bench, Settings(most=5, seed=1)) != plan(bench, Settings(most=5, seed=2))


# ------------------------------------------------------------------------------------------------- the command line
def bylaw(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["mutate", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("rules.bylaw").write_text(RULES, encoding="utf-8")
    return "rules.bylaw"


def test_the_report(policy: str, golden: object) -> None:
    code, shown = bylaw(policy)
    assert code == 0
    golden.check("mutate/rules.txt", shown)  # type: ignore[attr-defined]


def test_the_report_as_json(policy: str) -> None:
    code, shown = bylaw(policy, "--format", "json", "-k", "digits")
    assert code == 0
    (file,) = json.loads(shown)["files"]
    assert file["complete"] is True
    assert sum(file["counts"].values()) == file["planned"] == len(file["mutants"])
    noticed = [each for each in file["mutants"] if each["status"] == "killed"]
    assert all(each["noticed_in_line"] in (6, 7) for each in noticed)
    assert file["score"] == pytest.approx(len(noticed) / (len(noticed) + file["counts"]["survived"]))


def test_exit_codes(policy: str) -> None:
    assert bylaw(policy, "--max", "5", "--fail-under", "0")[0] == 0
    assert bylaw(policy, "--operators", "pattern", "--fail-under", "100")[0] == 4
    assert bylaw("missing.bylaw")[0] == 2
    assert bylaw(policy, "--operators", "spelling")[0] == 2
    assert bylaw(policy, "-k", "nothing_is_called_so")[0] == 2
    Path("failing.bylaw").write_text('rule r at user { must contain "a"  complies "b" }', encoding="utf-8")
    code, shown = bylaw("failing.bylaw")
    assert (code, "nothing was changed" in shown) == (1, True)


def test_several_processes_say_what_one_says(policy: str) -> None:
    alone, together = (bylaw(policy, "--format", "json", "--max", "24", "--workers", n) for n in ("1", "2"))
    assert alone == together


def test_an_interrupt_ends_with_what_is_known(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, calls = Bench.judge, iter(range(100))

    def interrupted(self: Bench, edit: object) -> Tried:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return judge(self, edit)  # type: ignore[arg-type]

    monkeypatch.setattr(Bench, "judge", interrupted)
    code, shown = bylaw(policy)
    assert code == 130
    assert "interrupted after 7" in shown


# --------------------------------------------------------------------------------------------- the standard library
@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_would_notice_nearly_every_change(name: str) -> None:
    path = STD / f"{name}.bylaw"
    found = mutate(Source.read(path), path)
    assert found.score is not None
    assert found.score >= 0.9, [(each.edit.operator, each.edit.text) for each in found.survivors]
