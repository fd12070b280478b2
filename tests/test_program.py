"""The reward program as data: round trip, digest, tampering, invariants."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Golden
from random_policies import everywhere

from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.compiler.program import ProgramError, ProgramFormatError, RewardProgram, from_json, to_data, to_json
from bylaw.compiler.verify import ProgramInvalid, verify
from bylaw.spec.expression import (
    And,
    Compare,
    Continued,
    Count,
    Extent,
    Holds,
    MessageText,
    NumberConstant,
    Occurrences,
    Phrase,
    Regex,
)
from bylaw.spec.source import Source

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*/rules.bylaw"))
RESPONSE = MessageText("response")
RULES = 'rule a "Title" at user {\n  when prompt contains "b"\n  should contain "a" weight 2\n}\n'


def program_of(text: str) -> RewardProgram:
    return compile_source(Source.of("policy.bylaw", text)).require()


# -------------------------------------------------------------------------------------------------------- round trip
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_survive_json(path: Path) -> None:
    program = compile_file(path).require()
    assert from_json(to_json(program)) == program
    assert from_json(to_json(program, indent=None)) == program


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_survive_json(seed: int) -> None:
    terms = [replace(term, id=f"{number}") for number, term in enumerate(everywhere(seed).program(6).terms)]
    sound = []
    for term in terms:
        try:
            sound.append(verify(replace(everywhere(seed).program(0), terms=(term,))).terms[0])
        except ProgramInvalid:
            continue
    program = replace(everywhere(seed).program(0), terms=tuple(sound))
    assert from_json(to_json(program)) == program
    assert from_json(to_json(program)).digest == program.digest


def test_support_program(golden: Golden) -> None:
    """A change here changes what other tools read: raise the schema version when its form changes."""
    path = next(path for path in EXAMPLES if path.parent.name == "support")
    golden.check("support.program.json", to_json(compile_file(path).require()) + "\n")


# ------------------------------------------------------------------------------------------------------------ digest
def test_digest_is_about_what_is_said_not_where() -> None:
    program = program_of(RULES)
    assert program_of("# a comment\n\n" + RULES.replace("  ", "      ")).digest == program.digest
    assert program.digest.startswith("sha256:")


def test_digest_leaves_out_multipliers() -> None:
    program = program_of('rule a at user { limit response contains "a" to at most 2% of responses }')
    priced = program.with_multipliers({"a": 1.5})
    assert priced.terms[0].multiplier == 1.5
    assert priced.digest == program.digest
    assert from_json(to_json(priced)) == priced


@pytest.mark.parametrize(
    "change", [("2", "3"), ('contain "a"', 'mention "a"'), ('"b"', '"c"'), ("when", "unless"), ("rule a", "rule b")]
)
def test_digest_changes_with_the_meaning(change: tuple[str, str]) -> None:
    assert program_of(RULES.replace(*change)).digest != program_of(RULES).digest


def test_multipliers_belong_to_budgets() -> None:
    with pytest.raises(ProgramError, match="there is no budget called a"):
        program_of(RULES).with_multipliers({"a": 1.0})


# --------------------------------------------------------------------------------------------------------- tampering
def altered(change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads(to_json(program_of(RULES)))
    change(data)
    return json.dumps(data)


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "weight": (lambda d: d["terms"][0].update(weight=3.0), "changed after it was compiled"),
    "title": (lambda d: d["terms"][0].update(title="Other"), "changed after it was compiled"),
    "removed term": (lambda d: d["terms"].pop(), "changed after it was compiled"),
    "digest": (lambda d: d.update(digest="sha256:0"), "changed after it was compiled"),
    "no digest": (lambda d: d.pop("digest"), "no `digest`"),
    "newer schema": (lambda d: d.update(schema_version=2), "schema version 2"),
    "no schema": (lambda d: d.pop("schema_version"), "schema version None"),
    "unknown field": (lambda d: d["terms"][0].update(colour="red"), "colour"),
    "unknown kind": (lambda d: d["terms"][0].update(kind="stern"), "kind"),
    "wrong type": (lambda d: d["terms"][0].update(weight="2"), "weight"),
    "unknown operation": (lambda d: d["terms"][0]["holds"].update(op="knows"), "holds"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_refused(name: str) -> None:
    change, message = TAMPERED[name]
    with pytest.raises(ProgramFormatError, match=message):
        from_json(altered(change))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"program"', "[" * 100_000, '{"digest": "x"}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ProgramFormatError):
        from_json(text)


def test_a_program_that_breaks_an_invariant_is_refused_even_with_its_own_digest() -> None:
    program = program_of(RULES)
    broken = replace(program, terms=(replace(program.terms[0], level="nowhere"),))
    with pytest.raises(ProgramInvalid, match="level `nowhere` is not declared"):
        from_json(to_json(broken))


# -------------------------------------------------------------------------------------------------------- invariants
A = (Phrase("a"),)
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "level": ({"level": "nobody"}, "level `nobody` is not declared"),
    "both": ({"value": Count("words", RESPONSE)}, "either a statement or a value"),
    "neither": ({"holds": None}, "needs `holds`"),
    "no weight": ({"weight": None}, "needs `weight`"),
    "negative weight": ({"weight": -1.0}, "positive weight"),
    "infinite weight": ({"weight": math.inf}, "not finite"),
    "hard with weight": ({"kind": "hard"}, "a hard term has no `weight`"),
    "graded without value": ({"kind": "graded"}, "a graded term needs `value`"),
    "budget without bound": ({"kind": "budget", "weight": None, "sense": "at most"}, "needs `bound`"),
    "soft with sense": ({"sense": "at most"}, "has no `sense`"),
    "share": ({"kind": "budget", "weight": None, "sense": "at most", "bound": 2.0}, "between 0 and 1"),
    "multiplier": ({"multiplier": 1.0}, "only a budget has a multiplier"),
    "confidence": (
        {"kind": "budget", "weight": None, "sense": "at most", "bound": 0.5, "confidence": 1.0},
        "confidence lies between",
    ),
    "extent": ({"extent": Extent(5, 2)}, "not a range"),
    "prompt only": ({"holds": Holds("contain", MessageText("prompt"), A)}, "nothing that the model answers"),
    "unknown predicate": ({"holds": Holds("rhyme", RESPONSE, A)}, "no predicate called `rhyme`"),
    "nothing to find": ({"holds": Holds("contain", RESPONSE)}, "nothing to look for"),
    "something to find": ({"holds": Holds("json", RESPONSE, A)}, "something to look for"),
    "empty phrase": ({"holds": Holds("contain", RESPONSE, (Phrase(""),))}, "found everywhere"),
    "bad pattern": ({"holds": Holds("contain", RESPONSE, (Regex("("),))}, "pattern"),
    "unknown unit": ({"holds": Compare("<", Count("ideas", RESPONSE), NumberConstant(1.0))}, "`ideas`"),
    "nothing to count": ({"holds": Compare("<", Occurrences("contain", RESPONSE, ()), NumberConstant(1.0))}, "nothing"),
    "infinite number": ({"holds": Compare("<", Count("words", RESPONSE), NumberConstant(math.nan))}, "not finite"),
    "empty connective": ({"condition": And(())}, "joins nothing"),
    "specialised": ({"holds": Holds("contain", Continued("x"), A)}, "does not know the conversation"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_verify_finds(name: str) -> None:
    change, message = BROKEN[name]
    program = program_of(RULES)
    with pytest.raises(ProgramInvalid) as raised:
        verify(replace(program, terms=(replace(program.terms[0], **change),)))
    assert any(message in problem for problem in raised.value.problems), raised.value.problems
    assert all(problem.startswith("a: ") for problem in raised.value.problems)


def test_verify_finds_repeated_names() -> None:
    program = program_of(RULES)
    with pytest.raises(ProgramInvalid, match="two terms have this id"):
        verify(replace(program, terms=program.terms * 2))
    with pytest.raises(ProgramInvalid, match="levels"):
        verify(replace(program, levels=()))


def test_to_data_leaves_out_what_is_not_there() -> None:
    (term,) = to_data(program_of('rule a at user { must contain "a" }'))["terms"]
    assert set(term) == {"id", "rule", "kind", "level", "extent", "holds"}
