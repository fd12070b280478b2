"""One way through the house: text -> Module -> RegulatorSet -> RewardProgram, with everything there is to say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bylaw.compiler.analysis import analyse
from bylaw.compiler.conversations import Conversations
from bylaw.compiler.defeat import settle
from bylaw.compiler.lower import lower
from bylaw.compiler.outrank import settle_conflicts
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.verify import verify
from bylaw.compiler.witnesses import LIKELY_TEXTS, Witnesses, letters_of
from bylaw.spec.ast import Module
from bylaw.spec.errors import PROVED, Diagnostic, PolicyError
from bylaw.spec.lints import lint
from bylaw.spec.lints_silence import silence
from bylaw.spec.literate import check_headings
from bylaw.spec.loader import load
from bylaw.spec.parser import parse
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source

if TYPE_CHECKING:  # only where they are asked for
    from bylaw.compiler.proofs.interface import Undecided


LONG = 0.5
"""Seconds; what took longer is kept for the next time."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy file and all its stages. With an error among the diagnostics, `program` is None: nothing runs on it.

    `draft` is the program even where examples or tests fail, for tools that show them; None where there is none.
    `undecided` are the questions that the analyses had to leave open.
    """

    source: Source
    module: Module
    regulators: RegulatorSet | None
    program: RewardProgram | None
    diagnostics: tuple[Diagnostic, ...]
    draft: RewardProgram | None = None
    undecided: tuple[Undecided, ...] = ()

    @property
    def ok(self) -> bool:
        return self.program is not None

    def require(self) -> RewardProgram:
        """The program. Raises PolicyError with every diagnostic when there is none."""
        if self.program is None:
            raise PolicyError(self.diagnostics, self.source)
        return self.program


def compile_file(path: str | Path, proofs: bool = False, memory: Path | None = None) -> Compiled:
    """Compiles a policy file and what it imports, as `compile_source`. Raises SourceError when it cannot be read."""
    return compile_source(Source.read(path), Path(path), proofs, memory)


def compile_source(
    source: Source, path: Path | None = None, proofs: bool = False, memory: Path | None = None
) -> Compiled:
    """Compiles a policy text; later stages run only when the earlier ones found no error.

    `path` is the file that the text is in, where there is one: imports and other files are looked for beside it.
    With `proofs`, the analyses of compiler/proofs look for what an author should know besides: they change nothing
    about what the policy means, unless they prove that it cannot mean anything. `memory` is a file that keeps what was
    found out for the next time, where that took long.
    """
    began = time.monotonic()
    compiled, witnesses = _compile(source, path, memory if proofs else None)
    found = (*compiled.diagnostics, *_remarks(compiled))
    proved, undecided = _proved(compiled, witnesses, path) if proofs else ((), ())
    # Examples that contradict each other are told as that, and not as a failed example too.
    told = {mark.span for each in proved if each.code == "P506" for mark in (each.primary, *each.secondary)}
    found = tuple(each for each in found if each.code not in ("P501", "P504") or each.primary.span not in told)
    diagnostics = silence((*found, *proved), compiled.source, frozenset() if proofs else PROVED | {"P401", "P403"})
    if proofs and memory is not None and time.monotonic() - began > LONG:
        with suppress(OSError):  # it only saves time
            from bylaw.compiler.proof_memory import save

            save(memory, witnesses)
    sound = None if _has_error(diagnostics) else compiled.program
    return replace(compiled, program=sound, diagnostics=_sorted(diagnostics), undecided=undecided)


def _proved(
    compiled: Compiled, witnesses: Witnesses, path: Path | None
) -> tuple[tuple[Diagnostic, ...], tuple[Undecided, ...]]:
    """What the analyses find, and the questions that they leave open."""
    if compiled.regulators is None or compiled.draft is None:
        return (), ()
    from bylaw.compiler.proofs import prove
    from bylaw.compiler.proofs.interface import Undecided

    witnesses.is_thorough = True
    found = tuple(prove(compiled.module, compiled.regulators, compiled.draft, witnesses, path=path))
    return (
        tuple(each for each in found if isinstance(each, Diagnostic)),
        tuple(each for each in found if isinstance(each, Undecided)),
    )


def _remarks(compiled: Compiled) -> Iterator[Diagnostic]:
    """What is to be said of the text itself, once its names are known."""
    if compiled.regulators is None:
        return
    yield from lint(compiled.module)
    if compiled.source.document is not None:
        yield from check_headings(compiled.source.document, compiled.module, compiled.regulators.regulators)


def _compile(source: Source, path: Path | None, memory: Path | None) -> tuple[Compiled, Witnesses]:
    """Everything but what is only a remark, and the texts that were found on the way."""
    parsed = parse(source)
    diagnostics = list(parsed.diagnostics)
    if _has_error(diagnostics):
        return Compiled(source, parsed.module, None, None, tuple(diagnostics)), Witnesses()
    loaded = load(parsed, path)
    source = loaded.source
    resolution = resolve(loaded)
    diagnostics += resolution.diagnostics
    if not resolution.ok:
        return Compiled(source, parsed.module, resolution.regulators, None, _sorted(diagnostics)), Witnesses()
    settled = settle(resolution.regulators)
    diagnostics += settled.diagnostics
    if _has_error(diagnostics):
        return Compiled(source, parsed.module, resolution.regulators, None, _sorted(diagnostics)), Witnesses()
    witnesses = _remembered(memory)
    witnesses.letters = letters_of(source.text)
    for text in (*LIKELY_TEXTS, *(example.messages[-1].content for example in resolution.regulators.examples)):
        witnesses.add(text)
    program, conflicts = settle_conflicts(
        verify(lower(resolution.regulators, settled)), witnesses, Conversations.of(resolution.regulators)
    )
    diagnostics += (*conflicts, *analyse(resolution.regulators, verify(program)))
    diagnostics += () if resolution.trials is None else _try_out(resolution.trials)
    sound = None if _has_error(diagnostics) else program
    return Compiled(source, parsed.module, resolution.regulators, sound, _sorted(diagnostics), program), witnesses


def _remembered(memory: Path | None) -> Witnesses:
    if memory is None or not memory.exists():
        return Witnesses()
    from bylaw.compiler.proof_memory import load

    known = load(memory)
    return Witnesses() if known is None else known.witnesses()


def _try_out(trials: RegulatorSet) -> tuple[Diagnostic, ...]:
    """What the examples and tests of rules with parameters say of them; such rules are not in the program."""
    return analyse(trials, verify(lower(trials, settle(trials))))


def _has_error(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.is_error for diagnostic in diagnostics)


def _sorted(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In the order of the file, each once: a definition is looked at where it is made and wherever it is used."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda diagnostic: diagnostic.primary.span.start))
