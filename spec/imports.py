"""What an import brings: under which names, of which version, with which values for parameters, at which levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix, Label
from bylaw.spec.loader import File, unsound
from bylaw.spec.parameters import parameter_value
from bylaw.spec.scope import DEFAULT_LEVELS, FACT_ROOTS, SUBJECTS, Messages, ParameterValue, Scope

_TAKEN = frozenset({*FACT_ROOTS, *SUBJECTS, "it"})
"""First parts of names that mean something in every policy."""


def names(item: ast.ImportDecl) -> tuple[str, ...]:
    """What the imported file is called in the importing one; the first is what its rules are called after."""
    if item.alias is not None:
        return (item.alias.text,)
    return tuple(dict.fromkeys((item.name.text.rpartition(".")[2], item.name.text)))


def check_names(item: ast.ImportDecl, file: File, messages: Messages) -> None:
    """Records P104 for a name that another import has already, or that means something else, P014 for one with dots."""
    said = item.alias or item.name
    alias = names(item)[0]
    if "." in alias:
        messages.error("P014", "the name of an import has no dots", said.span)
    note = f"give the import a name of its own: `import {item.name.text} as ...`"
    if alias in _TAKEN:
        messages.error("P104", f"`{alias}` already means something in every policy", said.span, notes=(note,))
    for other, _ in file.imports:
        if other is item:
            return
        if names(other)[0] == alias:
            first = Label((other.alias or other.name).span, "first here")
            message = f"two imports are called `{alias}`"
            messages.error("P104", message, said.span, secondary=(first,), notes=(note,))


def check_version(item: ast.ImportDecl, file: File, messages: Messages) -> None:
    """Raises Unresolved (P116) where a file does not have the version that its import asks for."""
    if item.version is None:
        return
    wanted = item.version.value
    header = file.module.header
    if header is None:
        message = f"`{item.name.text}` does not say which version it is"
        note = f'it would begin with `policy {item.name.text} version "{wanted}"`'
        raise messages.failure("P116", message, item.version.span, notes=(note,))
    has = header.version.value.split(".")
    if has[: len(wanted.split("."))] != wanted.split("."):
        raise messages.failure(
            "P116",
            f"`{item.name.text}` is not of version {wanted}",
            item.version.span,
            "asked for here",
            secondary=(Label(header.version.span, "the version of the file"),),
            notes=('`version "1.2"` takes 1.2 and whatever begins with 1.2, such as 1.2.7, but not 1.20',),
        )


def bindings(item: ast.ImportDecl, file: File, scope: Scope, messages: Messages) -> Mapping[str, ParameterValue]:
    """The values that an import gives to parameters. Raises Unresolved (P101, P104, P105, P112)."""
    known = {each.name.text: each for each in file.module.items if isinstance(each, ast.ParamDecl)}
    found: dict[str, ParameterValue] = {}
    for binding in item.bindings:
        name = binding.name.text
        if name in found:
            raise messages.failure("P104", f"`{name}` is given twice", binding.name.span)
        if name not in known:
            nearest = catalog.nearest(name, tuple(known))
            raise messages.failure(
                "P101",
                f"`{item.name.text}` has no parameter called `{name}`",
                binding.name.span,
                notes=(f"its parameters: {', '.join(f'`{each}`' for each in known) or 'none'}",),
                fix=None if nearest is None else Fix(f"write `{nearest}`", binding.name.span, nearest),
            )
        found[name] = parameter_value(known[name], binding.value, scope, messages)
    return found


def report_unsound(item: ast.ImportDecl, attempt: Messages | None, messages: Messages) -> bool:
    """Whether a file is sound. Records P115 where it is not; None is one that has been found wanting before."""
    wrong = [] if attempt is None else [each for each in attempt.found if each.is_error]
    if attempt is not None and not wrong:
        return True
    messages.found.append(unsound(item, wrong[0] if wrong else None))
    return False


# -------------------------------------------------------------------------------------------------------- levels
def check_levels(item: ast.ImportDecl, file: File, levels: tuple[str, ...], messages: Messages) -> bool:
    """Whether the rules that `include` puts in force stand at levels of this policy, in the same order.

    Records P106 with both chains where they do not.
    """
    used = {name.text: name for each in _included(file) for name in _levels_used(each)}
    theirs = _chain(file)
    notes = (f"the levels here are {' > '.join(levels)}", f"the levels there are {' > '.join(theirs)}")
    for text, name in used.items():
        if text not in levels:
            message = f"`{item.name.text}` has rules at level `{text}`, which is not a level of this policy"
            where = (Label(name.span, "used here"),)
            messages.error("P106", message, item.name.span, secondary=where, notes=notes)
            return False
    order = [each for each in theirs if each in used]
    if sorted(order, key=levels.index) != order:
        message = f"the levels of `{item.name.text}` stand in another order"
        messages.error("P106", message, item.name.span, notes=notes)
        return False
    return True


def _included(file: File) -> tuple[File, ...]:
    """A file and all that come into force with it, each once."""
    found = {file.key: file}
    waiting = [file]
    while waiting:
        for item, other in waiting.pop().imports:
            if item.is_include and other is not None and other.key not in found:
                found[other.key] = other
                waiting.append(other)
    return tuple(found.values())


def _levels_used(file: File) -> Iterator[ast.Name]:
    for item in file.module.items:
        is_template = isinstance(item, ast.RuleDecl) and item.parameters is not None
        if isinstance(item, ast.RuleDecl | ast.ExceptionDecl | ast.ApplyDecl) and not is_template:
            yield from () if item.level is None else (item.level,)
        if isinstance(item, ast.RuleDecl | ast.ExceptionDecl) and not is_template:
            for clause in item.clauses:
                yield from clause.levels if isinstance(clause, ast.WaivableBy) else ()


def _chain(file: File) -> tuple[str, ...]:
    for item in file.module.items:
        if isinstance(item, ast.LevelsDecl):
            return tuple(name.text for name in item.levels)
    return DEFAULT_LEVELS
