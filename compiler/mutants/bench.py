"""Tries mutants of one policy: compiles each in memory and runs the examples and tests that it could change.

What a mutant shares with the policy is kept: imported files are not read again, only the changed declaration is
parsed, behind all other text, so that no other place moves, and what is known of texts (`compiler/witnesses.py`) is
kept. Every name is resolved anew and every conflict settled anew, since a definition reaches everywhere; examples
and tests run only where a rule that they are about has changed, because the others say what they said before.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from bylaw.compiler.analysis import analyse, terms_by_rule
from bylaw.compiler.conversations import Conversations
from bylaw.compiler.defeat import settle
from bylaw.compiler.lower import lower
from bylaw.compiler.mutants.same import Situated, proved_same, situated
from bylaw.compiler.mutants.telling import Telling, tell_by_conversation, tell_by_text
from bylaw.compiler.mutants.text import Edit
from bylaw.compiler.outrank import settle_conflicts
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.verify import verify
from bylaw.compiler.witnesses import LIKELY_TEXTS, Witnesses
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic
from bylaw.spec.loader import Loaded, load
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source

TEST_CODES = frozenset({"P501", "P502", "P504"})
"""What is said of an example or a test that does not come out."""
MOST_RULES = 6
"""An example is looked for of so many of the rules that a mutant changes."""
_ONLY_WHERE_SEEN = frozenset({"strength", "level"})
"""Operators whose mutants most often change no verdict at all: then they count as not made."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a mutant.

    `status` is `killed` (an example or a test failed), `survived` (none did), `equivalent` (proved to say the same),
    `invalid` (no sound policy, whatever the examples say), `unseen` (a level or a strength that no verdict depends on)
    or `duplicate` (says what an earlier mutant says). `by` is where the example or test begins that failed, `code` what
    is wrong otherwise; `rules` are those that the mutant changed; `telling` is what tells a survivor from the policy.
    `key` is the same for mutants that say the same.
    """

    edit: Edit
    status: str
    code: str = ""
    by: int | None = None
    rules: tuple[str, ...] = ()
    telling: Telling | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class _Made:
    """A policy up to its program; `policy` and `program` are those of rules in force, `trials` of rules to apply."""

    parts: tuple[tuple[RegulatorSet, RewardProgram], ...]

    def rules(self) -> dict[str, tuple[RewardTerm, ...]]:
        return {name: terms for _, program in self.parts for name, terms in terms_by_rule(program).items()}


class Bench:
    """A sound policy whose mutants are tried, one after the other."""

    def __init__(self, source: Source, path: Path | None) -> None:
        """Compile the policy. Raises PolicyError where it is not sound, its own examples and tests included."""
        compiled = compile_source(source, path)
        compiled.require()
        self.source = source
        self.parsed: ParseResult = parse(source, keeps_tokens=True)
        self._loaded: Loaded = load(self.parsed, path)
        self._witnesses = Witnesses()
        examples = () if compiled.regulators is None else compiled.regulators.examples
        for text in (*LIKELY_TEXTS, *(example.messages[-1].content for example in examples)):
            self._witnesses.add(text)
        made = self._make(self._loaded)
        assert isinstance(made, _Made)
        self._rules: Mapping[str, tuple[RewardTerm, ...]] = made.rules()
        self._said = {name: situated(terms) for name, terms in self._rules.items()}
        self._original = made

    def judge(self, edit: Edit) -> Tried:
        """What becomes of one mutant."""
        loaded = self._with(edit)
        made = self._make(loaded) if isinstance(loaded, Loaded) else loaded
        if isinstance(made, Diagnostic):
            return Tried(edit, "invalid", made.code)
        rules = made.rules()
        said = {name: situated(terms) for name, terms in rules.items()}
        changed = tuple(name for name in self._said if said.get(name) != self._said[name])
        if not changed:
            return Tried(edit, "unseen" if edit.operator in _ONLY_WHERE_SEEN else "equivalent")
        key = _key(changed, said)
        failed = _first_failure(made, frozenset(changed))
        if failed is not None:
            return Tried(
                edit, "killed", failed.code, self._written_at(failed.primary.span.start, edit), changed, key=key
            )
        pairs = [(name, self._rules[name], rules.get(name, ())) for name in changed]
        telling = _first(tell_by_text(*pair) for pair in pairs[:MOST_RULES])
        if telling is None and all(proved_same(ours, theirs, self._witnesses) for _, ours, theirs in pairs):
            return Tried(edit, "equivalent", rules=changed, key=key)
        if telling is None:
            telling = _first(tell_by_conversation(*pair, self._original_of(pair[0])) for pair in pairs[:MOST_RULES])
        return Tried(edit, "survived", rules=changed, telling=telling, key=key)

    def _original_of(self, name: str) -> RegulatorSet:
        """The part of the policy that a rule belongs to: what is in force, or what is only tried."""
        for policy, _ in self._original.parts:
            if any(regulator.rule == name for regulator in policy.regulators):
                return policy
        raise KeyError(name)

    # ------------------------------------------------------------------------------------------------- compiling
    def _with(self, edit: Edit) -> Loaded | Diagnostic:
        """The policy with one declaration changed, or what is wrong with its syntax."""
        main, before = self._loaded.main, self._loaded.source.text
        item = main.module.items[edit.item]
        start, own = self._start(edit), self.source.text
        changed = own[start : edit.span.start] + edit.text + own[edit.span.end : item.span.end]
        text = f"{before}\n{changed}\n"
        parsed = parse(Source(self.source.path, text, len(before) + 1))
        wrong = _first_error(parsed.diagnostics)
        if wrong is not None:
            return wrong
        items = main.module.items
        new = (*items[: edit.item], *parsed.module.items, *items[edit.item + 1 :])
        module = ast.Module(main.module.header, new, main.module.span)
        return replace(self._loaded, main=replace(main, module=module))

    def _start(self, edit: Edit) -> int:
        """Where the declaration begins that an edit changes."""
        item = self._loaded.main.module.items[edit.item]
        return min((item.span.start, *(each.span.start for each in item.annotations)))

    def _written_at(self, offset: int, edit: Edit) -> int:
        """Where something stands in the file that stands at this offset while a mutant is tried."""
        behind = offset - len(self._loaded.source.text) - 1
        if behind < 0:
            return offset
        own = behind + self._start(edit)
        return own if own <= edit.span.start else own + edit.span.end - edit.span.start - len(edit.text)

    def _make(self, loaded: Loaded) -> _Made | Diagnostic:
        """As `compile_source`, up to where examples and tests are run; the first error where there is one."""
        resolution = resolve(loaded)
        wrong = _first_error(resolution.diagnostics)
        if wrong is not None:
            return wrong
        settled = settle(resolution.regulators)
        wrong = _first_error(settled.diagnostics)
        if wrong is not None:
            return wrong
        lowered = verify(lower(resolution.regulators, settled))
        known = Conversations.of(resolution.regulators)
        program, conflicts = settle_conflicts(lowered, self._witnesses, known)
        wrong = _first_error(conflicts)
        if wrong is not None:
            return wrong
        parts = [(resolution.regulators, verify(program))]
        if resolution.trials is not None:
            parts.append((resolution.trials, verify(lower(resolution.trials, settle(resolution.trials)))))
        return _Made(tuple(parts))


def _first(found: Iterable[Telling | None]) -> Telling | None:
    """The first that was found: of a definition that many rules read, one of them is enough."""
    return next((each for each in found if each is not None), None)


def _first_error(diagnostics: tuple[Diagnostic, ...]) -> Diagnostic | None:
    return next((each for each in diagnostics if each.is_error), None)


def _first_failure(made: _Made, changed: frozenset[str]) -> Diagnostic | None:
    """What is said of the first example or test that does not come out, among those about rules that changed."""
    for policy, program in made.parts:
        known = {regulator.rule for regulator in policy.regulators}
        examples = tuple(each for each in policy.examples if each.rule in changed)
        tests = tuple(
            replace(test, expectations=expectations)
            for test in policy.tests
            if (expectations := tuple(e for e in test.expectations if not e.rules or not changed.isdisjoint(e.rules)))
        )
        if known.isdisjoint(changed):
            continue
        for diagnostic in analyse(replace(policy, examples=examples, tests=tests), program):
            if diagnostic.is_error:
                return diagnostic
    return None


def _key(changed: tuple[str, ...], said: Mapping[str, tuple[Situated, ...]]) -> str:
    """The same for mutants that change the same rules to say the same."""
    keys: Hashable = tuple((name, said.get(name)) for name in changed)
    return sha256(repr(keys).encode()).hexdigest()
