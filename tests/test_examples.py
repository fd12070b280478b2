"""The example policies: sound, formatted, shown by their own examples, and each `must not` and number of them watched.

A mutant is a policy with one `must not` turned into `must`, or one whole number of a sentence, of an `apply` or of a
parameter moved by one. Shares (`2%`) and scores (`0.6`) are not moved: no single conversation shows a share, and a
text that a concept lists scores 0 or 1.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from bylaw.compiler.cases import Case, cases
from bylaw.compiler.coverage import coverage
from bylaw.compiler.defeat import settle
from bylaw.compiler.lower import lower
from bylaw.compiler.pipeline import Compiled, compile_file
from bylaw.compiler.verify import verify
from bylaw.runtime.cli import main
from bylaw.runtime.report.constitution import constitution, to_html, to_markdown
from bylaw.spec.loader import load
from bylaw.spec.parser import parse
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
AGENTS = EXAMPLES / "agents" / "rules.bylaw"
CONSTITUTION = EXAMPLES / "constitution" / "constitution.bylaw.md"
MANNERS = EXAMPLES / "constitution" / "manners.bylaw"
TRANSCRIPTS = EXAMPLES / "agents" / "transcripts.jsonl"
REPORT = EXAMPLES / "agents" / "expected" / "report.json"
SHOWN = (AGENTS, CONSTITUTION)
COVERED = {AGENTS: 1.0, CONSTITUTION: 1.0}
POLICIES = sorted((*EXAMPLES.glob("*/*.bylaw"), *EXAMPLES.glob("*/*.bylaw.md")))
# Laid out by hand before there was `bylaw fmt`: this set may lose entries and get no new ones.

_SKIPPED = r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|/(?![\s*/])(?:\\.|[^/\\\n])+/|#[^\n]*'
_MUST_NOT = re.compile(rf"(?:{_SKIPPED})|(?P<found>\bmust\s+not\b)", re.DOTALL)
_NUMBER = re.compile(
    rf"(?:{_SKIPPED})|(?:(?:at least|at most|exactly|more than|fewer than|>|>=|<|<=|==|limit:|number =)\s+)"
    r"(?P<found>[0-9]+)(?![0-9.%])",
    re.DOTALL,
)


def name(path: Path) -> str:
    return path.relative_to(EXAMPLES).as_posix()


@cache
def compiled(path: Path) -> Compiled:
    return compile_file(path)


@cache
def all_cases(path: Path) -> tuple[Case, ...]:
    found = compiled(path)
    assert found.regulators is not None
    return cases(found.regulators, found.require())


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    return done.exit_code, done.output


# -------------------------------------------------------------------------------------------------------- all examples
@pytest.mark.parametrize("path", POLICIES, ids=name)
def test_check_has_nothing_to_say(path: Path) -> None:
    assert [(each.code, each.message) for each in compiled(path).diagnostics] == []


@pytest.mark.parametrize("path", POLICIES, ids=name)
def test_layout_is_that_of_fmt(path: Path) -> None:
    code, output = run("fmt", "--check", path)
    assert code == 0, output


# ---------------------------------------------------------------------------------------- their own examples and tests
@pytest.mark.parametrize("path", SHOWN, ids=name)
def test_all_cases_pass(path: Path) -> None:
    assert len(all_cases(path)) >= 40
    assert [case.name for case in all_cases(path) if not case.passed] == []


@pytest.mark.parametrize("path", SHOWN, ids=name)
def test_coverage(path: Path) -> None:
    found = compiled(path)
    assert found.regulators is not None
    assert coverage(found.regulators, found.require(), all_cases(path)).share >= COVERED[path]


# ----------------------------------------------------------------------------------------------------------- documents
@pytest.mark.parametrize("path", SHOWN, ids=name)
def test_doc_names_every_rule(path: Path) -> None:
    rules = sorted({term.rule for term in compiled(path).require().terms})
    assert len(rules) >= 12
    document = constitution(compiled(path))
    for text in (to_markdown(document), to_html(document)):
        assert [rule for rule in rules if rule not in text] == []


# --------------------------------------------------------------------------------------------------------------- audit
def test_audit_of_the_transcripts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What the command in the first line of the policy measures, rule by rule, and in which transcripts."""
    monkeypatch.chdir(ROOT)
    command = AGENTS.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# bylaw ").split()
    assert command == ["audit", AGENTS.relative_to(ROOT).as_posix(), TRANSCRIPTS.relative_to(ROOT).as_posix()]
    code, output = run(*command, "--out", tmp_path)
    assert code == 0, output
    if request.config.getoption("--update-golden"):
        REPORT.parent.mkdir(exist_ok=True)
        for each in ("report.json", "rates.svg"):
            shutil.copy(tmp_path / each, REPORT.with_name(each))
    expected, found = (json.loads(path.read_text(encoding="utf-8")) for path in (REPORT, tmp_path / "report.json"))
    assert measured(found) == measured(expected)


def measured(report: dict[str, object]) -> object:
    counts = ("term", "applicable", "violated", "unscored", "not_applicable", "reasons")
    terms = report["terms"]
    assert isinstance(terms, list)
    rows = [[*(term[key] for key in counts), [each["source"] for each in term["findings"]]] for term in terms]
    return report["transcripts"], report["problems"], rows


def test_transcripts_break_rules_and_keep_them() -> None:
    terms = json.loads(REPORT.read_text(encoding="utf-8"))["terms"]
    assert sum(term["violated"] > 0 for term in terms) >= 8
    assert all(term["violated"] < term["applicable"] + term["not_applicable"] for term in terms)


# ------------------------------------------------------------------------------------------------------------- mutants
@dataclass(frozen=True)
class Mutant:
    """`main` is checked with `path` (itself or a file that it includes) where `text[start:end]` is replaced."""

    main: Path
    path: Path
    start: int
    end: int
    replacement: str

    def __str__(self) -> str:
        source = Source.read(self.path)
        line, column = source.position(self.start)
        return f"{self.path.name}:{line}:{column} {source.text[self.start : self.end]} -> {self.replacement}"


def mutants(main: Path, path: Path) -> Iterator[Mutant]:
    text = Source.read(path).text
    for match in _MUST_NOT.finditer(text):
        if match["found"]:
            yield Mutant(main, path, *match.span("found"), "must")
    for match in _NUMBER.finditer(text):
        if match["found"]:
            for step in (-1, 1):
                yield Mutant(main, path, *match.span("found"), str(int(match["found"]) + step))


MUTANTS = [*mutants(AGENTS, AGENTS), *mutants(CONSTITUTION, CONSTITUTION), *mutants(CONSTITUTION, MANNERS)]


def failing(main: Path) -> list[str]:
    """The cases that fail, also where the policy is refused for other reasons (a permission that lifts nothing)."""
    loaded = load(parse(Source.read(main)), main)
    regulators = resolve(loaded).regulators
    assert regulators is not None
    return [each.name for each in cases(regulators, verify(lower(regulators, settle(regulators)))) if not each.passed]


def test_unchanged_policies_fail_no_case() -> None:
    assert [failing(path) for path in SHOWN] == [[], []]


def test_there_are_mutants_of_every_kind() -> None:
    flipped = Counter(each.path for each in MUTANTS if each.replacement == "must")
    moved = Counter(each.path for each in MUTANTS if each.replacement != "must")
    assert flipped == {AGENTS: 5, CONSTITUTION: 5}
    assert moved == {AGENTS: 6, CONSTITUTION: 6, MANNERS: 2}


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_no_mutant_survives(mutant: Mutant, tmp_path: Path) -> None:
    folder = shutil.copytree(mutant.main.parent, tmp_path / "policy")
    text = mutant.path.read_text(encoding="utf-8")
    changed = text[: mutant.start] + mutant.replacement + text[mutant.end :]
    (folder / mutant.path.name).write_text(changed, encoding="utf-8")
    assert failing(folder / mutant.main.name) != []
