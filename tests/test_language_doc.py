"""LANGUAGE.md and IR.md are kept true: every block is run, every table is compared with what it is about."""

import json
import re
from pathlib import Path

import pytest

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm, from_json, to_json
from bylaw.spec import catalog
from bylaw.spec.errors import CODES, render
from bylaw.spec.source import Source

ROOT = Path(__file__).parents[1]
LANGUAGE = (ROOT / "spec" / "LANGUAGE.md").read_text(encoding="utf-8")
IR = (ROOT / "compiler" / "IR.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bylaw(?: error=(P\d+))?\n(.*?)^```$", LANGUAGE, re.MULTILINE | re.DOTALL)
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    for row in re.findall(r"^\|.*\|$", LANGUAGE, re.MULTILINE)
]


@pytest.mark.parametrize(("code", "text"), BLOCKS)
def test_block(code: str, text: str) -> None:
    source = Source.of("LANGUAGE.bylaw", text)
    compiled = compile_source(source)
    shown = "\n".join(render(diagnostic, source) for diagnostic in compiled.diagnostics)
    assert {diagnostic.code for diagnostic in compiled.diagnostics} == ({code} if code else set()), shown
    assert compiled.ok is not bool(code)


def test_every_fence_is_run() -> None:
    assert LANGUAGE.count("```bylaw") == len(BLOCKS) > 10


@pytest.mark.parametrize("name", catalog.names("units"))
def test_unit_is_in_the_table(name: str) -> None:
    assert [f"`{name}`", catalog.unit(name).summary.replace("|", "\\|")] in ROWS


@pytest.mark.parametrize("name", catalog.names("predicates"))
def test_predicate_is_in_the_table(name: str) -> None:
    assert [catalog.predicate(name).summary] == [row[2] for row in ROWS if row[0] == f"`{name}`"]


def test_tables_name_nothing_else() -> None:
    named = {row[0].strip("`") for row in ROWS if re.fullmatch(r"`[a-z_]+`", row[0])}
    assert named <= {*catalog.names("units"), *catalog.names("predicates"), "may"}
    assert {row[0]: row[1] for row in ROWS if re.fullmatch(r"P\d+", row[0])} == dict(CODES)


# --------------------------------------------------------------------------------------------------------------- IR
def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", IR, re.MULTILINE | re.DOTALL)


def test_the_program_in_ir_md_is_the_program_of_its_policy() -> None:
    (policy,), (program,) = blocks("bylaw"), blocks("json")
    compiled = compile_source(Source.of("IR.bylaw", policy)).require()
    assert json.loads(program) == json.loads(to_json(compiled))
    assert from_json(program) == compiled


@pytest.mark.parametrize("kind", [RewardProgram, RewardTerm])
def test_ir_md_describes_every_field(kind: type) -> None:
    for name in kind.__dataclass_fields__:  # type: ignore[attr-defined]
        assert f"| `{name}` |" in IR


def test_ir_md_names_every_operation() -> None:
    from bylaw.spec import expression

    operations = {
        node.__dataclass_fields__["op"].default
        for node in vars(expression).values()
        if isinstance(node, type) and "op" in getattr(node, "__dataclass_fields__", {})
    }
    assert operations - {name for name in operations if f"`{name}`" in IR} == set()
