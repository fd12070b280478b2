"""Resolving a policy: the files of a policy -> RegulatorSet.

Every name is looked up, every type checked, every definition unfolded. What has no meaning is an error with a span: a
policy is never loaded with a part of it left out.

The rules of the main file and of what it includes are in force. Rules of files that are only imported, and rules with
parameters, come into force where they are applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bylaw.spec import ast, catalog, imports, templates
from bylaw.spec.annotations import check_annotations, warn_of_deprecated
from bylaw.spec.clauses import resolve_rule
from bylaw.spec.declarations import Library, build_scope
from bylaw.spec.errors import Diagnostic, Fix, Label
from bylaw.spec.examples import resolve_examples, resolve_test
from bylaw.spec.exceptions import resolve_exception
from bylaw.spec.loader import File, Loaded
from bylaw.spec.regulator import (
    PolicyExample,
    PolicyException,
    PolicyTest,
    Regulator,
    RegulatorSet,
    Suite,
)
from bylaw.spec.scope import Messages, Scope, Unresolved

EDITION = 1
_FULL = "="
"""Begins a name that is that of the whole policy already; no name in a file begins so."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The policy and what there is to say about it. With an error among the diagnostics the policy must not be used.

    `trials` are the rules with parameters of the main file, for their default values: they are not in force, only their
    examples and tests are checked on them. None where there are none.
    """

    regulators: RegulatorSet
    diagnostics: tuple[Diagnostic, ...]
    trials: RegulatorSet | None = None

    @property
    def ok(self) -> bool:
        """Whether the policy may be used."""
        return not any(diagnostic.is_error for diagnostic in self.diagnostics)


def resolve(loaded: Loaded) -> Resolution:
    """Resolves a policy; goes on after a mistake, so that all independent ones are reported."""
    messages = Messages(found=list(loaded.diagnostics))
    main = loaded.main
    scope = build_scope(main, messages, Library())
    force = _Force(scope.levels)
    force.admit(main, scope, "", messages)
    force.resolve(main, scope, messages)
    module = main.module
    if not any(isinstance(item, ast.RuleDecl | ast.ApplyDecl) or _includes(item) for item in module.items):
        note = 'a rule begins with `rule NAME {` and holds a sentence such as `must not mention "..."`'
        span = module.span if module.header is None else module.header.span
        messages.warning("P601", "this file has no rules", span, notes=(note,))
    trials = _trials(main, scope, force, messages)
    header = module.header
    policy, version = ("unnamed", "0") if header is None else (header.name.text, header.version.value)
    found = (force.made.finished(policy, version, scope), tuple(messages.found))
    return Resolution(*found, None if trials is None else trials.finished(policy, version, scope))


@dataclass
class _Made:
    """What has been resolved so far."""

    regulators: list[Regulator] = field(default_factory=list)
    examples: list[PolicyExample] = field(default_factory=list)
    exceptions: list[PolicyException] = field(default_factory=list)
    tests: list[PolicyTest] = field(default_factory=list)
    suites: list[Suite] = field(default_factory=list)

    def finished(self, policy: str, version: str, scope: Scope) -> RegulatorSet:
        own = {suite.name for suite in self.suites}
        used = dict.fromkeys(each.suite for each in self.regulators if each.suite not in own)
        elsewhere = [replace(suite, name=name) for name in used if name and (suite := scope.suite(name)) is not None]
        return RegulatorSet(
            policy=policy,
            version=version,
            levels=scope.levels,
            regulators=tuple(_priced(each, scope) for each in self.regulators),
            examples=tuple(self.examples),
            exceptions=tuple(self.exceptions),
            tests=tuple(self.tests),
            suites=(*self.suites, *elsewhere),
            concepts=tuple(scope.concepts.values()),
        )


@dataclass
class _Force:
    """Brings files into force at the levels of the main file.

    `prefixes` are what the rules of each file in force are called after, by the identity of its scope; `rules` are all
    rules in force under their full names; `tried` the files that have been looked through.
    """

    levels: tuple[str, ...]
    prefixes: dict[int, str] = field(default_factory=dict)
    rules: dict[str, None] = field(default_factory=dict)
    tried: set[int] = field(default_factory=set)
    made: _Made = field(default_factory=_Made)
    for_trial: list[ast.ExamplesDecl | ast.TestDecl] = field(default_factory=list)

    # --------------------------------------------------------------------------------------- what is in force
    def admit(self, file: File, scope: Scope, prefix: str, messages: Messages | None) -> None:
        """Notes which files are in force, and their rules. Without `messages`, their levels have been checked."""
        if id(scope) in self.prefixes:
            return
        self.prefixes[id(scope)] = prefix
        for item in file.module.items:
            if isinstance(item, ast.RuleDecl) and not templates.is_template(item):
                self.rules[prefix + item.name.text] = None
            elif isinstance(item, ast.ApplyDecl):
                self.rules[prefix + templates.name_of(item).text] = None
        for item, other in file.imports:
            alias = imports.names(item)[0]
            included = scope.imports.get(alias)
            if not item.is_include or other is None or included is None:
                continue
            if messages is None or imports.check_levels(item, other, self.levels, messages):
                self.admit(other, included, f"{prefix}{alias}.", None)

    def full_name(self, name: str, scope: Scope) -> str:
        """What a rule is called in the whole policy; the name itself where it is not in force."""
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            other = scope.imports.get(".".join(parts[:cut]))
            if other is not None:
                return self.full_name(".".join(parts[cut:]), other) if id(other) in self.prefixes else name
        return self.prefixes.get(id(scope), "") + name

    # -------------------------------------------------------------------------------------------------- files
    def resolve(self, file: File, scope: Scope, messages: Messages) -> None:
        """Resolves all of a file that is in force."""
        self.tried.add(id(scope))
        _check_edition(file.module, messages)
        _check_names(file.module, scope, messages)
        begun = _Made()
        for item in file.module.items:
            check_annotations(item, messages)
            if not isinstance(item, ast.ImportDecl):
                self._item(item, scope, begun, messages)
                continue
            self._put_in(begun, scope)
            begun = _Made()
            self._import(item, file, scope, messages)
        begun.suites += [suite for name, suite in scope.suites.items() if "." not in name]
        self._put_in(begun, scope)
        warn_of_deprecated(file.module, scope, messages)

    def _import(self, item: ast.ImportDecl, file: File, scope: Scope, messages: Messages) -> None:
        """Resolves what `include` puts in force; looks through what `import` does not."""
        other = next(each for declared, each in file.imports if declared is item)
        imported = scope.imports.get(imports.names(item)[0])
        if other is None or imported is None or id(imported) in self.tried:
            return
        in_force = id(imported) in self.prefixes
        if not in_force and (item.is_include or other.is_library):
            return
        attempt = messages.child()
        if in_force:
            self.resolve(other, imported, attempt)
        else:
            apart = _Force(imported.levels, tried=self.tried)
            apart.admit(other, imported, "", attempt)
            apart.resolve(other, imported, attempt)
        messages.adopt(attempt, errors_only=True)
        imports.report_unsound(item, attempt, messages)

    def _item(self, item: ast.Item, scope: Scope, made: _Made, messages: Messages) -> None:
        here = scope if scope.levels == self.levels else replace(scope, levels=self.levels)
        match item:
            case ast.RuleDecl() if templates.is_template(item):
                templates.check_template(item, scope, messages)
            case ast.RuleDecl():
                made.regulators += resolve_rule(item, here, messages)
                own = (clause for clause in item.clauses if isinstance(clause, ast.Example))
                made.examples += resolve_examples(item.name.text, own, here, messages)
            case ast.ApplyDecl():
                made.regulators += self._applied(item, scope, messages)
            case ast.ExamplesDecl():
                self._examples(item, here, made, messages)
            case ast.ExceptionDecl():
                made.exceptions.append(resolve_exception(item, here, messages))
            case ast.TestDecl():
                if _is_about_templates(item, scope):
                    self.for_trial.append(item)
                    return
                test = resolve_test(item, here, messages)
                made.tests += [] if test is None else [test]

    def _applied(self, item: ast.ApplyDecl, scope: Scope, messages: Messages) -> list[Regulator]:
        try:
            applied = templates.application(item, scope, messages)
        except Unresolved:
            return []
        if not templates.is_template(applied.rule) and id(applied.home) in self.prefixes:
            where = (Label(applied.rule.name.span, "declared here"),)
            note = "only rules with parameters, and rules of imported files, are applied"
            message = f"`{item.template.text}` is in force already"
            messages.error("P118", message, item.template.span, secondary=where, notes=(note,))
            return []
        made = templates.resolve_application(applied, self.levels, messages)
        # A template names rules as its own file does.
        return [replace(each, overrides=self._named_at_home(each.overrides, applied.home)) for each in made]

    def _named_at_home(self, names: tuple[str, ...], home: Scope) -> tuple[str, ...]:
        full = tuple(self.full_name(name, home) for name in names)
        known = id(home) in self.prefixes
        return tuple(_FULL + (name if known else f"{home.origin}.{name}") for name in full)

    def _examples(self, item: ast.ExamplesDecl, scope: Scope, made: _Made, messages: Messages) -> None:
        name = item.rule.text
        if self.full_name(name, scope) in self.rules:
            made.examples += resolve_examples(name, item.examples, scope, messages)
            return
        template = scope.declared.get(name)
        if isinstance(template, ast.RuleDecl) and templates.is_template(template):
            missing = [each.name.text for each in template.parameters or () if each.default is None]
            if not missing:
                self.for_trial.append(item)
                return
            note = f"`apply {name}(...) as NAME` makes a rule; then write `examples for NAME`"
            message = f"`{name}` has no default value for `{missing[0]}`, so there is nothing to check"
            messages.error("P118", message, item.rule.span, notes=(note,))
            return
        nearest = catalog.nearest(name, tuple(self.rules))
        fix = None if nearest is None else Fix(f"write `{nearest}`", item.rule.span, nearest)
        messages.error("P101", f"there is no rule called `{name}`", item.rule.span, fix=fix)

    def _put_in(self, made: _Made, scope: Scope) -> None:
        """Adds what was resolved in one file, under the names that it has in the whole policy."""
        prefix = self.prefixes.get(id(scope), "")

        def full(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(n.removeprefix(_FULL) if n.startswith(_FULL) else self.full_name(n, scope) for n in names)

        self.made.regulators += [
            replace(
                each,
                id=prefix + each.id,
                rule=prefix + each.rule,
                overrides=full(each.overrides),
                suite=None if each.suite is None else prefix + each.suite,
            )
            for each in made.regulators
        ]
        self.made.examples += [replace(each, rule=self.full_name(each.rule, scope)) for each in made.examples]
        self.made.exceptions += [
            replace(each, name=prefix + each.name, target=self.full_name(each.target, scope))
            for each in made.exceptions
        ]
        self.made.tests += [
            replace(each, expectations=tuple(replace(e, rules=full(e.rules)) for e in each.expectations))
            for each in made.tests
        ]
        self.made.suites += [replace(each, name=prefix + each.name) for each in made.suites]


def _priced(regulator: Regulator, scope: Scope) -> Regulator:
    """A limit without a price of its own has that of its level, unless it leaves no room for one."""
    if regulator.modality != "limit" or regulator.price is not None or regulator.is_hard_limit:
        return regulator
    return replace(regulator, price=scope.prices.get(regulator.level))


def _includes(item: ast.Item) -> bool:
    return isinstance(item, ast.ImportDecl) and item.is_include


def _check_edition(module: ast.Module, messages: Messages) -> None:
    header = module.header
    if header is not None and header.edition is not None and header.edition.value != EDITION:
        note = f"this version of bylaw knows edition {EDITION}"
        message = f"there is no edition {header.edition.value}"
        messages.error("P111", message, header.edition.span, notes=(note,))


def _check_names(module: ast.Module, scope: Scope, messages: Messages) -> None:
    """Records P104 for rules made by `apply`, and for exceptions, whose names are taken."""
    taken = {name: item.name for name, item in scope.declared.items()}
    for item in module.items:
        if isinstance(item, ast.ApplyDecl | ast.ExceptionDecl):
            name = templates.name_of(item) if isinstance(item, ast.ApplyDecl) else item.name
            if name.text in taken:
                note = "give it a name of its own: `apply ... as NAME`"
                first = Label(taken[name.text].span, "first here")
                notes = (note,) if isinstance(item, ast.ApplyDecl) else ()
                message = f"`{name.text}` is declared twice"
                messages.error("P104", message, name.span, secondary=(first,), notes=notes)
            taken.setdefault(name.text, name)


# --------------------------------------------------------------------------------------------- examples of templates
def _is_about_templates(item: ast.TestDecl, scope: Scope) -> bool:
    """Whether a test names rules with parameters, and nothing else."""
    names = [name.text for step in item.steps if isinstance(step, ast.Expect) for name in step.rules]
    return bool(names) and all(_is_template(name, scope) for name in names)


def _is_template(name: str, scope: Scope) -> bool:
    found = scope.declared.get(name)
    return isinstance(found, ast.RuleDecl) and templates.is_template(found)


def _trials(file: File, scope: Scope, force: _Force, messages: Messages) -> _Made | None:
    """The rules with parameters for their default values, with their examples and tests; None without any of these."""
    made = _Made(suites=list(force.made.suites))
    unheard = Messages()  # what is wrong with a template has been said where it was checked
    for item in file.module.items:
        if not isinstance(item, ast.RuleDecl) or not templates.is_template(item):
            continue
        try:
            values = templates.defaults(item, scope, unheard)
        except Unresolved:
            continue
        if values is not None:
            made.regulators += templates.with_defaults(item, scope, values, unheard)
            own = (clause for clause in item.clauses if isinstance(clause, ast.Example))
            made.examples += resolve_examples(item.name.text, own, scope, messages)
    for trial in force.for_trial:
        if isinstance(trial, ast.ExamplesDecl):
            made.examples += resolve_examples(trial.rule.text, trial.examples, scope, messages)
        elif (test := resolve_test(trial, scope, messages)) is not None:
            made.tests.append(test)
    return made if made.examples or made.tests else None
