"""One way through the house: text -> Module -> RegulatorSet -> RewardProgram, with everything there is to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bylaw.compiler.analysis import analyse
from bylaw.compiler.defeat import settle
from bylaw.compiler.lower import lower
from bylaw.compiler.outrank import settle_conflicts
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.verify import verify
from bylaw.spec.ast import Module
from bylaw.spec.errors import Diagnostic, PolicyError
from bylaw.spec.lints import lint
from bylaw.spec.lints_silence import silence
from bylaw.spec.literate import check_headings
from bylaw.spec.loader import load
from bylaw.spec.parser import parse
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy file and all its stages. With an error among the diagnostics, `program` is None: nothing runs on it.

    `draft` is the program even where examples or tests fail, for tools that show them; None where there is none.
    """

    source: Source
    module: Module
    regulators: RegulatorSet | None
    program: RewardProgram | None
    diagnostics: tuple[Diagnostic, ...]
    draft: RewardProgram | None = None

    @property
    def ok(self) -> bool:
        return self.program is not None

    def require(self) -> RewardProgram:
        """The program. Raises PolicyError with every diagnostic when there is none."""
        if self.program is None:
            raise PolicyError(self.diagnostics, self.source)
        return self.program


def compile_file(path: str | Path) -> Compiled:
    """Compiles a policy file and what it imports. Raises SourceError when it cannot be read."""
    return compile_source(Source.read(path), Path(path))


def compile_source(source: Source, path: Path | None = None) -> Compiled:
    """Compiles a policy text; later stages run only when the earlier ones found no error.

    `path` is the file that the text is in, where there is one: imports and other files are looked for beside it.
    """
    compiled = _compile(source, path)
    diagnostics = silence((*compiled.diagnostics, *_remarks(compiled)), compiled.source)
    sound = None if _has_error(diagnostics) else compiled.program
    return replace(compiled, program=sound, diagnostics=_sorted(diagnostics))


def _remarks(compiled: Compiled) -> Iterator[Diagnostic]:
    """What is to be said of the text itself, once its names are known."""
    if compiled.regulators is None:
        return
    yield from lint(compiled.module)
    if compiled.source.document is not None:
        yield from check_headings(compiled.source.document, compiled.module, compiled.regulators.regulators)


def _compile(source: Source, path: Path | None) -> Compiled:
    """Everything but what is only a remark."""
    parsed = parse(source)
    diagnostics = list(parsed.diagnostics)
    if _has_error(diagnostics):
        return Compiled(source, parsed.module, None, None, tuple(diagnostics))
    loaded = load(parsed, path)
    source = loaded.source
    resolution = resolve(loaded)
    diagnostics += resolution.diagnostics
    if not resolution.ok:
        return Compiled(source, parsed.module, resolution.regulators, None, _sorted(diagnostics))
    settled = settle(resolution.regulators)
    diagnostics += settled.diagnostics
    if _has_error(diagnostics):
        return Compiled(source, parsed.module, resolution.regulators, None, _sorted(diagnostics))
    said = [example.messages[-1].content for example in resolution.regulators.examples]
    program, conflicts = settle_conflicts(verify(lower(resolution.regulators, settled)), said)
    diagnostics += (*conflicts, *analyse(resolution.regulators, verify(program)))
    diagnostics += () if resolution.trials is None else _try_out(resolution.trials)
    sound = None if _has_error(diagnostics) else program
    return Compiled(source, parsed.module, resolution.regulators, sound, _sorted(diagnostics), program)


def _try_out(trials: RegulatorSet) -> tuple[Diagnostic, ...]:
    """What the examples and tests of rules with parameters say of them; such rules are not in the program."""
    return analyse(trials, verify(lower(trials, settle(trials))))


def _has_error(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.is_error for diagnostic in diagnostics)


def _sorted(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In the order of the file, each once: a definition is looked at where it is made and wherever it is used."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda diagnostic: diagnostic.primary.span.start))
