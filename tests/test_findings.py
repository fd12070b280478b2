"""What the analyses find: a policy and the exact messages for it, one pair of files a case."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Golden

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.proofs import analyses
from bylaw.spec.errors import CODES, render
from bylaw.spec.source import Source

FOLDER = Path(__file__).parent / "golden" / "findings"
CASES = sorted(path.stem for path in FOLDER.glob("*.bylaw"))
ROOT = Path(__file__).parent.parent
OURS = sorted([*(ROOT / "spec" / "std").glob("*.bylaw"), *(ROOT / "examples").glob("*/rules.bylaw")])


@pytest.mark.parametrize("name", CASES)
def test_findings_are_as_expected(name: str, golden: Golden) -> None:
    source = Source(f"{name}.bylaw", (FOLDER / f"{name}.bylaw").read_text(encoding="utf-8"))
    found = compile_source(source, proofs=True).diagnostics
    assert name[:4] in {diagnostic.code for diagnostic in found}
    golden.check(f"findings/{name}.txt", "\n".join(render(diagnostic, source) for diagnostic in found))


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60
    for name in analyses():
        module = __import__(f"bylaw.compiler.proofs.{name}", fromlist=["CODES"])
        for code in module.CODES:
            assert code in CODES
            assert any(case.startswith(code) for case in CASES), f"no golden finding for {code}"


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_is_found_in_our_own_policies(path: Path) -> None:
    from bylaw.compiler.pipeline import compile_file

    assert compile_file(path, proofs=True).diagnostics == ()
