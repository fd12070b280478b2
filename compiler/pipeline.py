"""One way through the house: text -> Module -> RegulatorSet -> RewardProgram, with everything there is to say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bylaw.compiler.analysis import analyse
from bylaw.compiler.lower import lower
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.verify import verify
from bylaw.spec.ast import Module
from bylaw.spec.errors import Diagnostic, PolicyError
from bylaw.spec.parser import parse
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy file and all its stages. With an error among the diagnostics, `program` is None: nothing runs on it."""

    source: Source
    module: Module
    regulators: RegulatorSet | None
    program: RewardProgram | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return self.program is not None

    def require(self) -> RewardProgram:
        """The program. Raises PolicyError with every diagnostic when there is none."""
        if self.program is None:
            raise PolicyError(self.diagnostics, self.source)
        return self.program


def compile_file(path: str | Path) -> Compiled:
    """Compiles a policy file. Raises SourceError when it cannot be read."""
    return compile_source(Source.read(path))


def compile_source(source: Source) -> Compiled:
    """Compiles a policy text; later stages run only when the earlier ones found no error."""
    parsed = parse(source)
    diagnostics = list(parsed.diagnostics)
    if _has_error(diagnostics):
        return Compiled(source, parsed.module, None, None, tuple(diagnostics))
    resolution = resolve(parsed.module)
    diagnostics += resolution.diagnostics
    if not resolution.ok:
        return Compiled(source, parsed.module, resolution.regulators, None, _sorted(diagnostics))
    program = verify(lower(resolution.regulators))
    diagnostics += analyse(resolution.regulators, program)
    sound = None if _has_error(diagnostics) else program
    return Compiled(source, parsed.module, resolution.regulators, sound, _sorted(diagnostics))


def _has_error(diagnostics: list[Diagnostic]) -> bool:
    return any(diagnostic.is_error for diagnostic in diagnostics)


def _sorted(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In the order of the file, each once: a definition is looked at where it is made and wherever it is used."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda diagnostic: diagnostic.primary.span.start))
