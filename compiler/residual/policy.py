"""What is left of a policy once some facts, or the prompt, are known: as a policy again, in its author's words.

Rules stay where they are in the text, and only conditions are worked on, as syntax: a statement that the given facts
decide drops out, and everything open stays as it was written. So names, levels, exceptions, permissions and overrides
keep their meaning, and a reader recognises the policy. Obligations stay as they are: facts in them are still given
wherever the residual policy is used. Which rules are gone is decided on the settled program (residual_rules), and the
printed text is compiled again and held against the original, sentence by sentence (residual_check): a residual policy
that says something else is an error, never a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from bylaw.compiler.defeat import PERMISSIONS
from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.residual.check import differences
from bylaw.compiler.residual.conditions import Given, simplified
from bylaw.compiler.residual.inline import cannot_inline, inlined
from bylaw.compiler.residual.rules import Alive, alive
from bylaw.compiler.residual.words import pruned
from bylaw.spec import ast, imports, templates
from bylaw.spec.declarations import Library, build_scope
from bylaw.spec.definitions import Place
from bylaw.spec.formatter import format_text
from bylaw.spec.loader import load
from bylaw.spec.parser import parse
from bylaw.spec.printer import to_text
from bylaw.spec.scope import Messages, Scope
from bylaw.spec.sentences import Sentences
from bylaw.spec.source import Source

Effort = Literal["conditions and applied rules", "conditions", "rules", "nothing"]
_EFFORTS: tuple[Effort, ...] = get_args(Effort)
_WORKS_ON_CONDITIONS = _EFFORTS[:2]
_NORMATIVE = (
    ast.Norm,
    ast.LimitRate,
    ast.LimitAverage,
    ast.PreferHigher,
    ast.PreferLower,
    ast.PreferNear,
    ast.PreferOrder,
)


@dataclass(frozen=True)
class Residual:
    """A residual policy: `text` parses; `rules` are left, `gone` are not, each with the reason.

    `kept_whole` are names of rules that are left as they are although something of them is decided, with the reason.
    `problems` say where the text, compiled again, would not mean the same; it must not be used then.
    """

    text: str
    rules: tuple[str, ...]
    gone: tuple[tuple[str, str], ...]
    kept_whole: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]


def residual(compiled: Compiled, path: Path | None, given: Given) -> Residual:
    """What is left of a sound policy. Raises PolicyError where it is not sound."""
    program = compiled.require()
    assert compiled.regulators is not None
    left = alive(compiled.regulators, program, given)
    names = dict.fromkeys(regulator.rule for regulator in compiled.regulators.regulators)
    rules = tuple(name for name in names if name in left.rules)
    before: tuple[str, ...] = ()
    # Shorter conditions can prove more: that two rules contradict each other, so that one of them gives way.
    for effort in _EFFORTS:
        maker = _Maker(compiled, path, given, left, effort, before)
        text = maker.text()
        problems = differences(compiled, text, path, given, left)
        found = Residual(text, rules, tuple(left.gone.items()), tuple(maker.kept_whole), problems)
        if not problems:
            break
        before = problems
    return found


@dataclass
class _Maker:
    """Makes the text. `effort` says what is worked on: conditions, also those of applied rules, which are then written
    out; only whole rules; or nothing. `problems` is what was wrong with the text that more effort made."""

    compiled: Compiled
    path: Path | None
    given: Given
    left: Alive
    effort: Effort
    problems: tuple[str, ...] = ()
    kept_whole: list[tuple[str, str]] = field(default_factory=list)
    messages: Messages = field(default_factory=Messages)

    def text(self) -> str:
        """The formatted text."""
        main = self.compiled.source.file_at(0)
        loaded = load(parse(Source(main.path, main.slice(main.whole), document=main.document)), self.path)
        module = loaded.main.module
        self.scope = build_scope(loaded.main, self.messages, Library())
        items = tuple(found for item in module.items for found in self._item(item))
        kept = pruned(module.changed(items=items))
        return format_text("residual.bylaw", to_text(kept))

    def _item(self, item: ast.Item) -> Iterator[ast.Item]:
        """What is left of a declaration; words that nothing uses any more are taken out later."""
        match item:
            case ast.RuleDecl() if templates.is_template(item):
                yield item.changed(clauses=_without_examples(item.clauses))
            case ast.RuleDecl():
                if self._stays(item.name.text, self.left.rules):
                    yield item.changed(clauses=self._clauses(item, self.scope))
            case ast.ExceptionDecl():
                if self._stays(item.name.text, self.left.exceptions):
                    yield item.changed(clauses=tuple(self._conditions(item.clauses, self.scope, item.name.text)))
            case ast.ApplyDecl():
                name = templates.name_of(item).text
                if self._stays(name, self.left.rules):
                    yield self._applied(item, name)
            case ast.ImportDecl() if item.is_include:
                yield self._included(item)
            case ast.ExamplesDecl() | ast.TestDecl():
                return
            case _:
                yield item

    # ----------------------------------------------------------------------------------------------------- rules
    def _clauses(self, rule: ast.RuleDecl, scope: Scope, name: str | None = None) -> tuple[ast.Clause, ...]:
        """The clauses of a rule without what is decided, and without permissions that lift nothing any more."""
        name = rule.name.text if name is None else name
        assert self.compiled.regulators is not None
        sentences = [each for each in self.compiled.regulators.regulators if each.rule == name]
        idle = {
            number
            for number, each in enumerate(sentences)
            if each.modality in PERMISSIONS and each.id not in self.left.permissions and self.effort != "nothing"
        }
        said = [clause for clause in rule.clauses if isinstance(clause, _NORMATIVE)]
        unused = {id(clause) for number, clause in enumerate(said) if number in idle}
        kept = [clause for clause in rule.clauses if id(clause) not in unused]
        return tuple(self._conditions(kept, scope, name))

    def _conditions(self, clauses: Sequence[ast.Clause], scope: Scope, name: str) -> Iterator[ast.Clause]:
        """The clauses without what is decided of their conditions, and without names of what is gone."""
        sentences = Sentences(Place(scope), self.messages)
        if self.effort not in _WORKS_ON_CONDITIONS and self._is_decided(clauses, scope):
            self.kept_whole.append((name, self._why_whole()))
        for clause in clauses:
            match clause:
                case ast.When(condition) | ast.Unless(condition) if self.effort in _WORKS_ON_CONDITIONS:
                    left = simplified(condition, sentences, self.given)
                    if not isinstance(left, bool):
                        yield clause.changed(condition=left)
                case ast.Overrides(rules):
                    names = tuple(name for name in rules if self._is_left(name.text))
                    if names:
                        yield clause.changed(rules=names)
                case ast.Example():
                    continue
                case _:
                    yield clause

    def _is_left(self, name: str) -> bool:
        """Whether a rule may still be named; what is gone of an included file can, since the file stays."""
        return name in self.left.rules or "." in name or self.effort == "nothing"

    # --------------------------------------------------------------------------------------- applied and included
    def _applied(self, item: ast.ApplyDecl, name: str) -> ast.Item:
        """An `apply` as it is where nothing of its conditions is decided, else the rule in full."""
        applied = templates.application(item, self.scope, self.messages)
        inner = templates.inner_scope(applied.home, applied.values)
        rule = templates.instance(applied, self.messages)
        if not self._is_decided(rule.clauses, inner):
            return item
        is_written_out = self.effort == _EFFORTS[0]
        reason = cannot_inline(applied) if is_written_out else self._why_whole()
        if reason is not None:
            self.kept_whole.append((name, reason))
            return item
        return inlined(applied, rule.changed(clauses=self._clauses(rule, inner, name)))

    def _why_whole(self) -> str:
        """Why something that is decided stays: what was wrong without it."""
        return f"without what is decided of it, {self.problems[0] if self.problems else 'something would change'}"

    def _stays(self, name: str, left: frozenset[str]) -> bool:
        """Whether a rule or an exception is left, or has to stay although it is gone."""
        if name not in left and self.effort == "nothing":
            self.kept_whole.append((name, f"it is gone, but without it {self.problems[0]}"))
        return name in left or self.effort == "nothing"

    def _is_decided(self, clauses: Sequence[ast.Clause], scope: Scope) -> bool:
        sentences = Sentences(Place(scope), self.messages)
        conditions = [each.condition for each in clauses if isinstance(each, (ast.When, ast.Unless))]
        return any(simplified(each, sentences, self.given) is not each for each in conditions)

    def _included(self, item: ast.ImportDecl) -> ast.Item:
        """An included file is in force as a whole or not at all: its rules have names that cannot be written here."""
        alias = imports.names(item)[0]
        assert self.compiled.regulators is not None
        names = dict.fromkeys(each.rule for each in self.compiled.regulators.regulators)
        own = [name for name in names if name.startswith(f"{alias}.")]
        if not any(name in self.left.rules for name in own):
            return item.changed(is_include=False)
        dead = [name for name in own if name not in self.left.rules]
        self.kept_whole += [(name, f"it is gone, but stays in `{item.name.text}`, which is included") for name in dead]
        decided = self._decided_in(own)
        reason = f"a part of its condition is decided, but it stays in `{item.name.text}`, which is included"
        self.kept_whole += [(name, reason) for name in decided if name not in dead]
        return item

    def _decided_in(self, names: Sequence[str]) -> list[str]:
        """Included rules whose condition could be shorter."""
        assert self.compiled.regulators is not None
        empty = Given({})
        found = {
            each.rule
            for each in self.compiled.regulators.regulators
            if each.rule in names and self.given.left(each.condition) != empty.left(each.condition)
        }
        return [name for name in names if name in found]


def _without_examples(clauses: Sequence[ast.Clause]) -> tuple[ast.Clause, ...]:
    return tuple(clause for clause in clauses if not isinstance(clause, ast.Example))
