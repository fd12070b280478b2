"""Rules held against each other: findings are true of all short texts; what was found once is not asked again."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

import bylaw.compiler.pipeline as pipeline
from bylaw.compiler.automata.algebra import any_witness
from bylaw.compiler.contradiction import Contradiction, contradiction
from bylaw.compiler.demands import Demand
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.proof_memory import load
from bylaw.compiler.proofs import analyses, prove
from bylaw.compiler.proofs.interface import Undecided
from bylaw.compiler.witnesses import Witnesses, is_true_of, letters_of
from bylaw.runtime.cli import main
from bylaw.spec.errors import CODES, PROVED
from bylaw.spec.source import Source

LETTERS = "ab "
TEXTS = ["".join(chars) for length in range(6) for chars in itertools.product(LETTERS, repeat=length)]
SENTENCES = (
    "must contain {text}",
    "must not contain {text}",
    "must mention {word}",
    "must not mention {word}",
    "must not mention any of [{word}, {other}]",
    "must start with {text}",
    "must not end with {text}",
    "must have at most {few} words",
    "must have at least {few} words",
    "must have at most {more} characters",
    "must not match /{letter}*/",
    "should contain {text}",
    "should have at most {more} characters",
)


def random_policy(seed: int) -> str:
    draw = random.Random(seed)
    rules = []
    for number in range(draw.randint(3, 6)):
        sentence = draw.choice(SENTENCES).format(
            text=json.dumps("".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 2))).strip() or "a"),
            word=json.dumps(draw.choice(["a", "b", "ab", "ba"])),
            other=json.dumps(draw.choice(["aa", "bb"])),
            letter=draw.choice("ab"),
            few=draw.randint(1, 3),
            more=draw.randint(1, 5),
        )
        condition = draw.choice(["", "", 'when meta.kind == "x" ', 'when meta.kind == "y" '])
        rules.append(f"rule r{number} at {draw.choice(['top', 'low'])} {{ {condition}{sentence} }}")
    return "levels top > low\n" + "\n".join(rules) + "\n"


def compiled(text: str, **options: object) -> Compiled:
    return compile_source(Source("random.bylaw", text), None, True, **options)  # type: ignore[arg-type]


def demands_by_line(found: Compiled) -> dict[int, Demand]:
    """Of the program before and after settlement the demands are the same; only where they are in force differs."""
    assert found.draft is not None
    terms = [term for term in found.draft.terms if term.kind in ("hard", "soft")]
    return {found.source.position(term.extent.start)[0]: Demand.of(term) for term in terms}


@pytest.mark.parametrize("seed", range(120))
def test_what_is_found_is_true_of_all_short_texts(seed: int) -> None:
    found = compiled(random_policy(seed))
    if found.draft is None:
        return
    demands = demands_by_line(found)
    for diagnostic in found.diagnostics:
        if diagnostic.code not in ("P401", "P403", "P409", "P410"):
            continue
        marked = [demands[found.source.position(diagnostic.primary.span.start)[0]]]
        others = [demands[found.source.position(mark.span.start)[0]] for mark in diagnostic.secondary]
        for text in TEXTS:
            own, rest = is_true_of(marked[0].obeyed, text), all(is_true_of(o.obeyed, text) for o in others)
            if diagnostic.code in ("P401", "P403"):
                assert not (own and rest), (text, diagnostic.message)
            elif diagnostic.code == "P409":
                assert own or not rest, (text, diagnostic.message)
            else:
                assert own == rest, (text, diagnostic.message)


@pytest.mark.parametrize("seed", range(120))
def test_what_is_not_found_is_not_there(seed: int) -> None:
    found = compiled(random_policy(seed))
    if found.draft is None or any(diagnostic.is_error for diagnostic in found.diagnostics):
        return
    told = {found.source.position(d.primary.span.start)[0] for d in found.diagnostics if d.code in PROVED | {"P403"}}
    demands = demands_by_line(found)
    rank = {level: place for place, level in enumerate(found.draft.levels)}
    witnesses = Witnesses()
    for line, demand in demands.items():
        if line in told or demand.is_dead:
            continue
        others = [
            other
            for place, other in demands.items()
            if other.term.kind == "hard"
            and place not in told | {line}
            and other.is_in_force_with(demand)
            and rank[other.term.level] <= rank[demand.term.level]
        ]
        languages = [witnesses.language(each.obeyed) for each in (*others, demand.broken())]
        assert None not in languages
        assert any_witness(languages) is not None  # type: ignore[arg-type]


def test_a_contradiction_is_a_smallest_one() -> None:
    parts = 0
    for seed in range(200):
        found = compiled(random_policy(seed))
        if found.draft is None:
            continue
        hard = [demand for demand in demands_by_line(found).values() if demand.term.kind == "hard"]
        clash = contradiction(hard, Witnesses())
        if not isinstance(clash, Contradiction):
            continue
        parts += 1
        for left_out in clash.members:
            rest = [hard[number] for number in clash.members if number != left_out]
            assert not isinstance(contradiction(rest, Witnesses()), Contradiction)
    assert parts > 20


# ------------------------------------------------------------------------------------------------------------ memory
def many_rules(changed: bool = False) -> str:
    words = [f"word{number}" for number in range(40)]
    rules = [f'rule r{n} at user {{ must not mention "{word}" }}' for n, word in enumerate(words)]
    rules[7] = 'rule r7 at user { must not mention any of ["word8", "word9"] }'
    if changed:
        rules[20] = 'rule r20 at user { must not mention any of ["word21", "other"] }'
    return "\n".join([*rules, "rule brief at user { should have at most 30 words }"]) + "\n"


def test_what_was_found_once_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LONG", 0.0)
    memory = tmp_path / "proofs" / "one.json"
    cold = compiled(many_rules(), memory=memory)
    assert {each.code for each in cold.diagnostics} == {"P409"}
    known = load(memory)
    assert known is not None
    assert len(known.tried) >= 41
    built: list[str] = []
    monkeypatch.setattr(Witnesses, "language", lambda self, statement, key=None: built.append(key))
    assert compiled(many_rules(), memory=memory).diagnostics == cold.diagnostics
    assert built == []


def test_after_an_edit_the_findings_are_those_of_a_fresh_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LONG", 0.0)
    memory = tmp_path / "one.json"
    compiled(many_rules(), memory=memory)
    edited = compiled(many_rules(changed=True), memory=memory)
    fresh = compiled(many_rules(changed=True))
    assert [(each.code, each.message) for each in edited.diagnostics] == [
        (each.code, each.message) for each in fresh.diagnostics
    ]
    assert len(fresh.diagnostics) == 3


@pytest.mark.parametrize("damage", [lambda text: text[:-3], lambda text: text.replace("word1", "word2"), lambda _: ""])
def test_a_damaged_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: object) -> None:
    monkeypatch.setattr(pipeline, "LONG", 0.0)
    memory = tmp_path / "one.json"
    cold = compiled(many_rules(), memory=memory)
    memory.write_text(damage(memory.read_text(encoding="utf-8")), encoding="utf-8")  # type: ignore[operator]
    assert load(memory) is None
    assert compiled(many_rules(), memory=memory).diagnostics == cold.diagnostics
    assert load(memory) is not None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LONG", 0.0)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert compiled(many_rules(), memory=tmp_path / "file" / "one.json").diagnostics


# ------------------------------------------------------------------------------------------------------------- limits
def test_what_there_is_no_time_for_is_counted() -> None:
    found = compiled(many_rules())
    assert found.regulators is not None
    assert found.draft is not None
    left = [
        each
        for each in prove(found.module, found.regulators, found.draft, Witnesses(is_thorough=True), seconds=0.0)
        if isinstance(each, Undecided)
    ]
    assert sum(each.count for each in left) >= 1


def test_the_codes_of_the_analyses_are_those_that_need_them() -> None:
    found = {code for name in analyses() for code in __import__(f"bylaw.compiler.proofs.{name}", fromlist=["x"]).CODES}
    assert found == PROVED
    assert set(CODES) >= PROVED


def test_an_allowance_for_what_nobody_looked_for_is_not_too_much() -> None:
    text = (
        'rule a at user { must not mention "x" }\n'
        '# bylaw: allow P410 because "two laws ask for it"\n'
        'rule b at user { must not mention "x" }\n'
    )
    assert compile_source(Source("x.bylaw", text)).diagnostics == ()
    assert compile_source(Source("x.bylaw", text), proofs=True).diagnostics == ()


def test_the_letters_of_a_policy() -> None:
    assert letters_of('rule a at user { must mention "Käse" }') == ""
    assert letters_of('rule a at user { must mention "γάτα" }')[0] == "α" or "γ" in letters_of('"γάτα"')
    assert letters_of('rule a at user { must mention "cat" }') == ""


# ---------------------------------------------------------------------------------------------------------- conflicts
def conflicts(tmp_path: Path, text: str, *options: str) -> tuple[int, str]:
    path = tmp_path / "rules.bylaw"
    path.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(main, ["conflicts", str(path), "--no-cache", *options])
    return done.exit_code, done.output


POLICY = """levels top > low
rule brief at top { must have at most 3 words }
rule long at low { must have at least 5 words }
rule pets at low { must not mention any of ["cat", "dog"] }
rule cats at low { must not mention "cat" }
rule cat at low { when meta.kind == "x" must mention "cat" }
rule other at low { when meta.kind == "y" must mention "dog" }
rule asks at low { must contain meta.name }
"""


def test_the_matrix_of_conflicts(tmp_path: Path) -> None:
    code, output = conflicts(tmp_path, POLICY, "--format", "json")
    assert code == 0
    data = json.loads(output)
    relations = {(pair["first"], pair["second"]): pair for pair in data["pairs"]}
    assert relations["brief", "long"]["relation"] == "contradict"
    assert relations["brief", "long"]["winner"] == "brief"
    assert relations["pets", "cats"]["relation"] == "implies"
    assert relations["pets", "cat"]["relation"] == "contradict"
    assert "winner" not in relations["pets", "cat"]
    assert relations["cat", "other"]["relation"] == "apart"
    assert relations["brief", "cats"]["relation"] == "free"
    assert data["left_out"] == ["asks"]
    assert data["counts"]["contradict"] == 4
    assert len(data["pairs"]) == 6 * 5 // 2


def test_the_matrix_as_text_is_a_triangle(tmp_path: Path) -> None:
    code, output = conflicts(tmp_path, POLICY)
    assert code == 0
    rows = [
        "             1 2 3 4 5 6",
        "1 brief top",
        "2 long  low  x",
        "3 pets  low  . .",
        "4 cats  low  . . <",
        "5 cat   low  . . x x",
        "6 other low  . . x .",
    ]
    assert output.splitlines()[: len(rows)] == rows
    assert "6 sentences, 15 pairs: 4 contradict each other" in output
    assert "`asks`" in output


def test_the_gate_fails_on_conflicts_of_one_level(tmp_path: Path) -> None:
    assert conflicts(tmp_path, POLICY, "--gate")[0] == 4
    assert conflicts(tmp_path, 'rule a at user { must mention "x" }\n', "--gate")[0] == 0


def test_a_rule_that_is_not_there(tmp_path: Path) -> None:
    code, output = conflicts(tmp_path, POLICY, "--rule", "breif")
    assert code == 2
    assert "did you mean `brief`" in output
