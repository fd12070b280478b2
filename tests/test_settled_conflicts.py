"""Conflicts between hard rules are settled alike whatever the order of the rules and whatever is remembered."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

import bylaw.compiler.pipeline as pipeline
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.spec.errors import render
from bylaw.spec.source import Source


def compiled(text: str, **options: object) -> Compiled:
    return compile_source(Source("rules.bylaw", text), **options)  # type: ignore[arg-type]


def program_of(text: str, **options: object) -> RewardProgram:
    found = compiled(text, **options)
    assert found.draft is not None
    return found.draft


def codes(text: str, **options: object) -> list[str]:
    return [each.code for each in compiled(text, **options).diagnostics]


def in_force(program: RewardProgram) -> dict[str, str]:
    return {term.rule: str(term.condition) for term in program.terms}


# ------------------------------------------------------------------------------------------------------------- order
LAYERS = (
    'rule either at top { must contain "a" or contain "b" }',
    'rule no_b at top { must not contain "b" }',
    'rule no_a at mid { must not contain "a" }',
    'rule rather at low { must not contain "b" or contain "z" }',
)
WITHIN_A_LEVEL = (
    'rule either at top { must contain "a" or contain "b" }',
    'rule no_b at top { must not contain "b" }',
    'rule no_a at mid { must not contain "a" }',
    'rule rather at mid { must not contain "b" or contain "z" }',
)
BELOW_THE_DEAD = (
    'rule either at top { must contain "a" or contain "b" }',
    'rule no_b at top { must contain none of ["b"] }',
    'rule no_a at mid { must contain none of ["a"] }',
    'rule an_a at low { must contain "a" }',
)


@pytest.mark.parametrize("rules", [LAYERS, WITHIN_A_LEVEL, BELOW_THE_DEAD])
def test_the_order_of_rules_makes_no_difference(rules: tuple[str, ...]) -> None:
    found = set()
    for order in itertools.permutations(rules):
        program = program_of("levels top > mid > low\n" + "\n".join(order))
        found.add(tuple(sorted(in_force(program).items())))
    assert len(found) == 1


def test_what_gave_way_beats_no_other_rule() -> None:
    program = program_of("levels top > mid > low\n" + "\n".join(BELOW_THE_DEAD))
    conditions = {term.rule: term.condition for term in program.terms}
    assert conditions["no_a"] is not None
    assert conditions["an_a"] is None


def test_what_is_remembered_settles_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LONG", 0.0)
    memory = tmp_path / "memory.json"
    whole = "levels top > mid > low\n" + "\n".join(LAYERS)
    fresh = program_of(whole)
    compiled(whole.replace(LAYERS[1], ""), proofs=True, memory=memory)
    assert program_of(whole, proofs=True, memory=memory).digest == fresh.digest
    assert program_of(whole, proofs=True).digest == fresh.digest


# ------------------------------------------------------------------------------------------------ what is no conflict
def test_a_rule_that_never_applies_contradicts_nobody() -> None:
    text = (
        'rule nowhere at user { when meta.lang == "en" when meta.lang == "de" must contain "q" }\n'
        'rule plain at user { must contain none of ["q"] }\n'
    )
    assert codes(text, proofs=True) == ["P411"]


def test_a_rule_that_lifts_others_is_not_called_redundant() -> None:
    text = (
        'rule wide at user { must not mention any of ["cat", "dog"] }\n'
        'rule narrow at user { overrides chatty must not mention "dog" }\n'
        'rule chatty at user { should mention "pets" }\n'
    )
    assert "P409" not in codes(text, proofs=True)
    assert "P409" in codes(text.replace("overrides chatty ", ""), proofs=True)


def test_a_rule_that_cannot_be_waived_is_not_called_redundant() -> None:
    text = (
        'rule wide at user { waivable implicitly must not mention any of ["cat", "dog"] }\n'
        'rule narrow at user { not waivable must not mention "dog" }\n'
    )
    assert "P409" not in codes(text, proofs=True)


# ------------------------------------------------------------------------------------------------------- what is one
def test_counts_that_raise_each_other() -> None:
    text = (
        "rule commas at user { must have at least 1 commas }\n"
        "rule twice at user {\n"
        "  number of semicolons in response must be at least number of commas in response * 2\n}\n"
        "rule as_many at user { number of commas in response must be at least number of semicolons in response }\n"
        "rule few at user { must have at most 100 commas }\n"
    )
    assert [each.message for each in compiled(text).diagnostics] == [
        "rules `commas`, `twice` and `as_many` can never all hold"
    ]


def test_many_rules_about_answers_hide_no_conflict_of_calls() -> None:
    words = "\n".join(f'rule w{n} at user {{ must contain "word{n}q" }}' for n in range(12))
    calls = (
        "rule few at user { call to pay must occur at most 2 times }\n"
        "rule many at user { call to pay must occur at least 3 times }\n"
    )
    assert codes(f"{words}\n{calls}") == ["P401"]


def test_opposites_of_what_no_proof_speaks_of() -> None:
    text = "rule p at user { must contain meta.word }\nrule q at user { must not contain meta.word }\n"
    assert codes(text) == ["P401"]


def test_every_rule_that_contradicts_one_of_a_pair_is_told() -> None:
    text = (
        'rule a at user { must contain "hospital" must end with "." }\n'
        'rule b at user { must not contain "hosp" }\n'
        'rule c at user { must not contain "pital" }\n'
    )
    assert codes(text) == ["P401", "P401"]


# -------------------------------------------------------------------------------------------------------------- cost
def test_rules_about_answers_and_about_calls_are_settled_quickly() -> None:
    text = """rule sign_off { must end with "Your team at the Pinecrest practice" }
rule no_drugs { must not mention any of ["ibuprofen", "carprofen", "meloxicam", "paracetamol"] }
rule no_shouting { must have at most 1 exclamation_marks }
rule length_max { must have at most 60 words }
rule length_min { must have at least 15 words }
rule confirm { call to book_slot must follow message from user where (it mentions "yes") }
rule always_book { when prompt mentions "book" call to book_slot must occur }
"""
    began = time.process_time()
    assert codes(text) == []
    assert time.process_time() - began < 5


def test_a_long_list_takes_part_entry_by_entry() -> None:
    entries = ", ".join(f'"entry {n} thing"' for n in range(8000))
    text = (
        f"rule listed {{ must not mention any of [{entries}] }}\n"
        'rule one {{ must mention "entry 5 thing" }}\n'.replace("{{", "{").replace("}}", "}")
    )
    began = time.process_time()
    found = compiled(text)
    assert [each.code for each in found.diagnostics] == ["P401"]
    assert time.process_time() - began < 10
    shown = render(found.diagnostics[0], found.source)
    assert max(map(len, shown.splitlines())) < 400
