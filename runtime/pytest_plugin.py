"""A pytest plugin: every example and every expectation in a `.bylaw` file is a test of its own.

Nothing is collected unless asked for: with `--bylaw`, or with `bylaw = true` among the ini options of a project.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bylaw.compiler.cases import Case
    from bylaw.compiler.pipeline import Compiled

SUFFIXES = (".bylaw", ".bylaw.md")
SHOWN_BY_CASES = ("P501", "P502", "P504")
"""Codes of examples and tests, each shown by the case that it is about."""


class CaseFailed(Exception):
    """What a failing case prints: the diagnostic of the policy."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bylaw", "policies")
    group.addoption("--bylaw", action="store_true", default=False, help="run the examples and tests of .bylaw files")
    parser.addini("bylaw", "run the examples and tests of .bylaw files", type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    config = parent.config
    if file_path.name.endswith(SUFFIXES) and (config.getoption("--bylaw") or config.getini("bylaw")):
        return PolicyFile.from_parent(parent, path=file_path)
    return None


class PolicyFile(pytest.File):
    """One policy file: first that it is sound, then its cases."""

    def collect(self) -> Iterator[pytest.Item]:
        from bylaw.compiler.cases import cases
        from bylaw.compiler.pipeline import compile_file
        from bylaw.spec.errors import PolicyError

        try:
            compiled = compile_file(self.path)
        except PolicyError as error:
            raise self.CollectError(str(error)) from None
        yield SoundItem.from_parent(self, name="is sound", compiled=compiled)
        if compiled.draft is not None and compiled.regulators is not None:
            for case in cases(compiled.regulators, compiled.draft):
                yield CaseItem.from_parent(self, name=case.name, compiled=compiled, case=case)


class _PolicyItem(pytest.Item):
    """What both kinds of item share: the policy, and how a failure looks."""

    def __init__(self, *, compiled: Compiled, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.compiled = compiled

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))


class SoundItem(_PolicyItem):
    """The file has no error besides those of its cases."""

    def runtest(self) -> None:
        from bylaw.spec.errors import render

        wrong = [d for d in self.compiled.diagnostics if d.is_error and d.code not in SHOWN_BY_CASES]
        if wrong:
            raise CaseFailed("\n".join(render(each, self.compiled.source) for each in wrong))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class CaseItem(_PolicyItem):
    """One example, or one expectation of a test."""

    def __init__(self, *, case: Case, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.case = case

    def runtest(self) -> None:
        from bylaw.spec.errors import render

        if self.case.passed:
            return
        at = self.case.extent.start
        about = [d for d in self.compiled.diagnostics if d.code in SHOWN_BY_CASES and d.primary.span.start == at]
        shown = "\n".join(render(each, self.compiled.source) for each in about)
        found = ", ".join(f"`{rule}` {verdict}" for rule, verdict in self.case.found.items())
        raise CaseFailed(shown or f"{self.case.name}: found {found or 'nothing'}")

    def reportinfo(self) -> tuple[Path, int, str]:
        line, _ = self.compiled.source.position(self.case.extent.start)
        return self.path, line - 1, self.name
