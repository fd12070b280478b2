"""What is left of a policy once some facts are known says the same as the policy, wherever they are as given."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Golden

from bylaw.compiler.analysis import terms_by_rule
from bylaw.compiler.evaluate import evaluate
from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.compiler.residual import Residual, residual
from bylaw.compiler.residual.conditions import Given
from bylaw.compiler.verdicts import rule_verdict
from bylaw.runtime.cli.residual import command
from bylaw.spec.expression import BooleanFact, Expression, Fact, Holds, NumberConstant, NumberFact, Phrase
from bylaw.spec.formatter import format_text
from bylaw.spec.logic import walk
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*/rules.bylaw"))


def compiled_text(text: str, path: Path | None = None) -> Compiled:
    return compile_source(Source("rules.bylaw" if path is None else str(path), text), path)


def left_of(text: str, facts: Mapping[str, FactValue], prompt: str | None = None) -> Residual:
    found = residual(compiled_text(text), None, Given(facts, prompt))
    assert found.problems == ()
    return found


def body(found: Residual) -> str:
    """The text below its header."""
    return found.text.partition("\n\n")[2] if found.text.startswith("policy") else found.text


# ------------------------------------------------------------------------------------------------------- equivalence
def said_of(policy: Compiled) -> Iterator[Expression]:
    """Everything that is said in a policy."""
    assert policy.regulators is not None
    for each in policy.regulators.regulators:
        for said in (each.condition, each.obligation, each.value, each.event):
            if said is not None:
                yield from walk(said)
    for exception in policy.regulators.exceptions:
        if exception.condition is not None:
            yield from walk(exception.condition)


def fact_values(policy: Compiled) -> dict[str, list[FactValue]]:
    """The facts that a policy reads, with values that make a difference."""
    parts = list(said_of(policy))
    numbers = sorted({part.value for part in parts if isinstance(part, NumberConstant)})[:6]
    around: list[FactValue] = [number + step for number in numbers for step in (-1.0, 0.0, 1.0)]
    texts: dict[str, list[FactValue]] = {}
    for part in parts:
        if isinstance(part, Holds) and isinstance(part.subject, Fact):
            words: list[FactValue] = [each.text for each in part.matchers if isinstance(each, Phrase)]
            texts.setdefault(part.subject.path, []).extend(words)
    found: dict[str, list[FactValue]] = {}
    for part in parts:
        if isinstance(part, (Fact, NumberFact, BooleanFact)) and not part.path.startswith("it."):
            values = found.setdefault(part.path, [])
            if isinstance(part, BooleanFact):
                values += [True, False]
            elif isinstance(part, NumberFact):
                values += around or [0.0, 1.0]
            else:
                values += [*texts.get(part.path, []), "something else"]
    return found


def check(original: Compiled, found: Residual, again: Compiled, trace: Trace) -> None:
    """Rule by rule the same verdict and scores; what is gone skips or is waived; the sums are the same."""
    before, after = terms_by_rule(original.require()), terms_by_rule(again.require())
    for name, terms in before.items():
        one = rule_verdict(terms, trace)
        if name not in after:
            assert one.verdict in ("skips", "waived"), (name, one.reason)
            continue
        other = rule_verdict(after[name], trace)
        assert (one.verdict, one.waiver and one.waiver.by) == (other.verdict, other.waiver and other.waiver.by), name
        assert [(s.verdict, s.value, s.contribution) for s in one.scores] == [
            (s.verdict, s.value, s.contribution) for s in other.scores
        ]
    assert set(after) <= set(before)
    assert evaluate(original.require(), trace).reward == evaluate(again.require(), trace).reward


def compare(
    original: Compiled, path: Path | None, texts: Sequence[str], dice: random.Random, rounds: int, situations: int
) -> int:
    """Residual policies for random facts, each in random situations; gives back how many rules were gone."""
    values, gone = fact_values(original), 0
    for _ in range(rounds):
        names = [name for name in sorted(values) if dice.random() < 0.6]
        facts = {name: dice.choice(values[name]) for name in names}
        prompt = dice.choice(texts) if dice.random() < 0.3 else None
        found = residual(original, path, Given(facts, prompt))
        assert found.problems == (), (facts, prompt, found.text)
        assert format_text("residual.bylaw", found.text) == found.text
        again = compiled_text(found.text, None if path is None else path)
        assert again.ok, [each.message for each in again.diagnostics]
        assert not [each for each in again.diagnostics if each.code == "P605"]
        gone += len(found.gone)
        for _ in range(situations):
            known = {name: dice.choice(values[name]) for name in values if dice.random() < 0.8} | facts
            messages = [Message(role, dice.choice(texts)) for role in ("system", "developer") if dice.random() < 0.3]
            messages.append(Message("user", dice.choice(texts) if prompt is None else prompt))
            messages.append(Message("assistant", dice.choice(texts)))
            check(original, found, again, Trace(tuple(messages), known))
    return gone


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_keep_their_verdicts(path: Path) -> None:
    original = compile_file(path)
    assert original.regulators is not None
    said = [message.content for each in original.regulators.examples for message in each.messages]
    compare(original, path, [*said, "", "Hello."], random.Random(path.parent.name), rounds=8, situations=12)


# --------------------------------------------------------------------------------------------------- random policies
LEAVES = (
    'meta.channel == "sms"', 'meta.channel is in ["sms", "chat"]', 'meta.channel != "mail"', "user.age < 18",
    "user.age >= 13", "user.age + 1 > user.limit", "user.vip", "not user.vip", 'prompt mentions "tea"',
    "number of words in prompt > 3", 'response contains "x"', "on_the_road", "of_age(18)", "long",
    'user.name == meta.channel', "plain",
)  # fmt: skip
VERBS = (
    ("must not contain", '"x"', "may contain"), ("must contain", '"y"', "need not contain"),
    ("must contain", '"x"', "need not contain"),
    ("should not mention", '"tea"', "may mention"), ("must not contain", "/[0-9]/", "may contain"),
    ("should have", "at most 5 words", "need not have"), ("should start with", "greeting", "need not start with"),
    ("must contain", "user.name", "need not contain"),
)  # fmt: skip
WORDS = """policy random.rules version "1" edition 1

levels root > system > user

import std.text

param plain : boolean = true
lexicon greeting = ["Hello", "Good day"]
define on_the_road as meta.channel == "sms" or user.vip and prompt mentions "ferry"
define of_age(limit) as user.age >= limit
define long as number of words in response > 4
"""
TEXTS = ("", "x", "y 1 tea", "Hello, tea is x y.", "A ferry of tea for Ann", "Good day y sms Ann", "one two three four")


class _Author:
    """Writes random policies."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def condition(self, depth: int = 2) -> str:
        if depth == 0 or self.dice.random() < 0.4:
            return self.dice.choice(LEAVES)
        kind = self.dice.random()
        if kind < 0.2:
            return f"not ({self.condition(depth - 1)})"
        joint = " and " if kind < 0.6 else " or "
        return f"({joint.join(self.condition(depth - 1) for _ in range(2))})"

    def conditions(self) -> str:
        words = self.dice.choice(((), ("when",), ("when",), ("unless",), ("when", "unless")))
        return "".join(f"  {word} {self.condition()}\n" for word in words)

    def policy(self) -> str:
        parts, names, asked = [WORDS], [], []
        for number in range(self.dice.randint(2, 4)):
            name, level = f"r{number}", self.dice.choice(("root", "system", "user"))
            said = self.dice.sample(VERBS, self.dice.choice((1, 1, 2)))
            asked += said
            norms = "".join(f"  {verb} {what}\n" for verb, what, _ in said)
            beats = f"  overrides {self.dice.choice(names)}\n" if names and self.dice.random() < 0.3 else ""
            waivable = "  waivable implicitly\n"
            parts.append(f"rule {name} at {level} {{\n{self.conditions()}{norms}{beats}{waivable}}}\n")
            names.append(name)
        if self.dice.random() < 0.5:
            _, what, verb = self.dice.choice(asked)
            parts.append(f"rule allowed at user {{\n{self.conditions()}  {verb} {what}\n}}\n")
        target = names[0]
        for number in range(self.dice.randint(0, 3)):
            name = f"e{number}"
            parts.append(f"exception {name} to {target} at root {{\n{self.conditions()}}}\n")
            target = self.dice.choice((*names, name))
        if self.dice.random() < 0.5:
            count, words = self.dice.choice(("4", "n: 6")), self.dice.choice(("greeting", '["tea"]'))
            parts.append(
                f"rule few(n: number, words: list of text) {{\n{self.conditions()}"
                "  must have at most n words\n  should mention any of words\n}\n"
                f"apply few({count}, words: {words}) as short at user\n"
            )
        return "\n".join(parts)


def test_random_policies_keep_their_verdicts() -> None:
    dice = random.Random(11)
    tried = gone = 0
    while tried < 120:
        original = compiled_text(_Author(dice).policy())
        if not original.ok:
            continue
        tried += 1
        gone += compare(original, None, TEXTS, dice, rounds=2, situations=6)
    assert gone > 150


# ------------------------------------------------------------------------------------------------------------- shown
DESK = """policy larkmoor.desk version "1.0.0" edition 1

levels root > system > user

import std.safety
import std.tone

param longest : number = 90
lexicon promises = ["full refund"]
lexicon openings = ["Dear", "Good day"]
define is_sms as meta.channel == "sms"
define plays as user.age < 18 and prompt mentions "game"

# Nobody under age can accept a promise.
rule no_promises "Money is promised by people only" at system {
  because "A promise by the desk binds the company."
  when user.age < 18 or meta.channel == "mail"
  must not mention any of promises
  violates "You get a full refund."
}
rule brief at user {
  when is_sms and prompt does not contain "newsletter"
  unless user.vip
  should have at most 30 words weight 0.5
}
rule letters at user {
  unless is_sms
  must start with openings
  overrides polite, brief
}
rule polite at user {
  when plays
  must mention "please"
}
rule no_digits at user {
  when meta.channel == "sms" or prompt mentions "letter"
  must not contain /[0-9]/
}
rule digits_for_grown_ups at user {
  when user.age >= 18
  may contain /[0-9]/
}
exception dealers to no_digits at user {
  when meta.dealer and user.age > 10
}
exception frozen to dealers at user {
  when meta.frozen
}
rule at_most(limit: number = 3, words: list of text = ["very"]) "At most {limit} words" {
  when user.age < 18 and number of words in prompt < 9
  must have at most limit words
  must not mention any of words
}
apply at_most(longest, words: ["game"]) as children at user
apply safety.points_to_help() as help at user
apply tone.no_shouting() as calm at user
test "a grown-up" {
  given user.age = 30
  given meta.channel = "sms"
  user "Hello."
  assistant "Hello."
  expect skips no_promises
}
"""
GIVEN = {
    "child_by_text_message": ("--given", "user.age=15", "--given", "meta.channel=sms", "--why"),
    "grown_up_by_mail": ("--given", "user.age=30", "--given", "meta.channel=mail", "--given", "user.vip=true", "--why"),
    "known_prompt": ("--prompt", "May I play the game?", "--why"),
    "nothing_known": (),
    "frozen_dealer": ("--given", "meta.dealer=true", "--given", "meta.frozen=true"),
    "dealer": ("--given", "meta.dealer=true", "--given", "meta.frozen=false", "--given", "user.age=40", "--why"),
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


@pytest.fixture
def desk(tmp_path: Path) -> str:
    path = tmp_path / "rules.bylaw"
    path.write_text(DESK, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_printed(name: str, desk: str, golden: Golden) -> None:
    done = call(desk, *GIVEN[name])
    assert (done.exit_code, done.stderr) == (0, "")
    assert format_text("residual.bylaw", done.stdout) == done.stdout
    assert compiled_text(done.stdout, Path(desk)).ok
    golden.check(f"residual/{name}.txt", done.stdout)


def test_the_policy_of_the_example_keeps_its_verdicts() -> None:
    texts = ("Hello.", "May I play the game?", "Dear Ann, please.", "A full refund of 20.", "a letter", "A GAME NOW!")
    assert compare(compiled_text(DESK), None, texts, random.Random(3), rounds=25, situations=12) > 60


def test_as_json(desk: str) -> None:
    done = call(desk, "--given", "user.age=15", "--given", "meta.channel=sms", "--format", "json")
    data = json.loads(done.stdout)
    assert data["given"] == {"user.age": 15.0, "meta.channel": "sms"}
    assert data["rules"] == ["no_promises", "brief", "polite", "no_digits", "children", "help", "calm"]
    assert {each["name"] for each in data["gone"]} == {"letters", "digits_for_grown_ups"}
    assert compiled_text(data["text"], Path(desk)).ok


def test_facts_from_a_file(desk: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text('{"user": {"age": 15, "vip": false}, "meta.channel": "sms"}', encoding="utf-8")
    done = call(desk, "--facts", str(file), "--given", "user.vip=true", "--format", "json")
    assert json.loads(done.stdout)["given"] == {"user.age": 15.0, "user.vip": True, "meta.channel": "sms"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--given", "user.agee=15"), "no rule asks for `user.agee`; did you mean `user.age`?"),
        (("--given", "model.name=x"), "no rule asks for `model.name`; they ask for `meta.channel`, "),
        (("--given", "user.age=young"), 'the rules take `user.age` to be a number, and "young" is none'),
        (("--given", "user.vip=15"), "the rules take `user.vip` to be true or false, and 15 is neither"),
        (("--given", "user.age"), "`user.age` is no fact"),
        (("--facts", "nowhere.json"), "`nowhere.json` cannot be read"),
    ],
)
def test_what_is_no_fact_is_refused(arguments: tuple[str, ...], message: str, desk: str) -> None:
    done = call(desk, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_values_are_as_they_are_written(desk: str) -> None:
    for written, value in (("15", 15.0), ('"15"', "15"), ("1.5e1", 15.0), ('"a \\"b\\""', 'a "b"')):
        done = call(desk, "--given", f"user.age={written}", "--format", "json")
        if isinstance(value, str) and not re.fullmatch("[0-9]+", value):
            assert done.exit_code == 2
        else:
            assert json.loads(done.stdout)["given"] == {"user.age": value}


def test_a_policy_that_is_not_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text('rule a { must not mention "x" must mention "x" }\n', encoding="utf-8")
    assert call(str(path)).exit_code == 1
    assert call(str(tmp_path / "missing.bylaw")).exit_code == 2


# ------------------------------------------------------------------------------------------- other files, hard cases
BASE = """policy house.base version "1.0.0" edition 1

lexicon rude = ["fool"]
define young as user.age < 18

rule no_cards at user {
  when user.age >= 18
  must not contain /[0-9]{16}/
}
rule kind at user {
  must not mention any of rude
}
rule words(limit: number, list: list of text = [rude]) "At most {limit}" at user {
  when young and prompt mentions "story"
  must have at most limit words
  must not mention any of list
  number of words in response must be at most limit
}
"""


def files(tmp_path: Path, text: str) -> str:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "base.bylaw").write_text(BASE, encoding="utf-8")
    path = tmp_path / "rules.bylaw"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_applied_rule_of_another_file_is_written_out(tmp_path: Path) -> None:
    path = files(tmp_path, "import house.base\napply base.words(40) as short at user\n")
    child = call(path, "--given", "user.age=12")
    assert (child.exit_code, child.stderr) == (0, "")
    assert 'rule short "At most 40" at user {\n  when prompt mentions "story"\n' in child.stdout
    assert "short" not in call(path, "--given", "user.age=30").stdout
    same = call(path, "--prompt", "Hello.")
    assert "short" not in same.stdout
    assert "apply base.words(40) as short at user" in call(path).stdout


def test_names_of_the_other_file_are_written_in_full(tmp_path: Path) -> None:
    text = BASE.replace("when young and prompt", "when user.vip and prompt")
    path = files(tmp_path, "import house.base\napply base.words(40) as short at user\n")
    (tmp_path / "house" / "base.bylaw").write_text(text, encoding="utf-8")
    done = call(path, "--given", "user.vip=true")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.partition("\n\n")[2] == (
        'import house.base\n\nrule short "At most 40" at user {\n  when prompt mentions "story"\n'
        "  must have at most 40 words\n  must not mention any of [base.rude]\n"
        "  number of words in response must be at most 40\n}\n"
    )


def test_rules_of_an_included_file_stay_and_it_is_said(tmp_path: Path) -> None:
    path = files(tmp_path, "include house.base\nrule mine { when user.age < 18 must have at most 9 words }\n")
    done = call(path, "--given", "user.age=12")
    assert done.exit_code == 3
    assert "`base.no_cards` is left as it is: it is gone, but stays in `house.base`, which is included" in done.stderr
    assert "include house.base" in done.stdout
    assert call(path).exit_code == 0


def test_a_file_none_of_whose_rules_count_is_not_included(tmp_path: Path) -> None:
    path = files(tmp_path, "include house.base\nrule mine { must not contain base.rude }\n")
    text = BASE.replace("rule kind at user {", "rule kind at user {\n  when user.age >= 18")
    (tmp_path / "house" / "base.bylaw").write_text(text, encoding="utf-8")
    done = call(path, "--given", "user.age=12")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "import house.base" in done.stdout


def test_a_document_is_printed_as_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw.md"
    path.write_text(
        "# Desk\n\nProse.\n\n```bylaw\nrule a {\n  when user.vip\n  must have no commas\n}\n```\n", encoding="utf-8"
    )
    done = call(str(path), "--given", "user.vip=true")
    assert done.stdout.partition("\n\n")[2] == "rule a {\n  must have no commas\n}\n"


def test_a_condition_stays_where_its_rules_would_contradict_each_other_without_it() -> None:
    text = (
        'rule a { when user.vip must start with "A" }\nrule b { when meta.channel == "sms" must start with "B" }\n'
        'rule c { when user.vip and prompt mentions "x" must end with "C" }\n'
    )
    found = residual(compiled_text(text), None, Given({"user.vip": True, "meta.channel": "sms"}))
    assert found.problems == ()
    assert "when user.vip" in found.text
    assert {name for name, _ in found.kept_whole} == {"a", "b", "c"}
    assert all("can never both hold" in reason for _, reason in found.kept_whole)


def test_a_text_that_says_something_else_is_noticed() -> None:
    from bylaw.compiler.residual.check import differences
    from bylaw.compiler.residual.rules import alive

    original, given = compiled_text(DESK), Given({"user.age": 15.0, "meta.channel": "sms"})
    assert original.regulators is not None
    found, left = residual(original, None, given), alive(original.regulators, original.require(), given)
    assert differences(original, found.text, None, given, left) == ()
    for before, after in (
        ("at most 30 words", "at most 31 words"),
        ("  unless user.vip\n", ""),
        ("when plays", "when user.vip"),
        ("weight 0.5", "weight 0.6"),
        ("exception frozen to dealers at user {\n  when meta.frozen\n}\n", ""),
        ("rule no_digits at user", "rule no_digits at root"),
    ):
        assert before in found.text
        assert differences(original, found.text.replace(before, after), None, given, left) != (), before
