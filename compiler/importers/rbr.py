"""Rule-based rewards in YAML: propositions about an answer, the completion classes that they make, and their order.

Each simple proposition becomes a concept, whose meaning is the question that its prompt asks, with the answers that are
quoted in the question as its examples; each derived one and each class a definition; the order becomes `prefer BEST
over ... over WORST`. A class says for each type of response which propositions are true and which false; the type is a
fact of the conversation, `meta.response_type`.

The order has one weight. What the best class asks of each type of response is written as rules besides, one for each
proposition, so that `bylaw fit` can say what each of them is worth. The input says which propositions an ideal answer
has, not how much each matters: so these rules are proposed, and the account says so.

Format: github.com/openai/safety-rbr-code-and-data (`proposition_prompts.yaml`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bylaw.compiler.importers import _writing as write
from bylaw.compiler.importers._rbr_examples import examples_in
from bylaw.compiler.importers.interface import AccountLine, Imported, Importer, ImportFailure, Naming, Outcome

FACT = "meta.response_type"
_SIMPLE, _DERIVED, _CLASSES, _ORDER = (
    "simple_propositions",
    "derived_propositions",
    "completion_classes",
    "completion_class_order",
)
_RUN_ONLY = {"prompt_template": "it is how a model is asked; who scores the concepts decides that"}
_MOST_CASES = 2_000
"""Cases that are split before it is left open whether two classes exclude each other."""
_MOST_COMPARED = 40
"""Classes of one type of response that are compared with each other."""
_MOST = 1_000
"""Propositions, and classes times types of response."""

_Parts = dict[str, bool]
"""Which propositions are true, and which false."""


@dataclass(slots=True)
class _Work:
    """A configuration on its way. `names` are the names in the policy by those of the input."""

    names: dict[str, str] = field(default_factory=dict)
    derived: dict[str, _Parts] = field(default_factory=dict)
    simple: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    classes: dict[str, dict[str, _Parts]] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    account: list[AccountLine] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def say(self, place: str, what: str, outcome: Outcome, reason: str = "") -> None:
        self.account.append(AccountLine(place, what, outcome, reason))


def read(text: str, naming: Naming) -> Imported:
    """The policy of a configuration.

    Raises:
        ImportFailure: the text is not YAML, has no propositions or classes, or names what it does not define.
    """
    data = _loaded(text)
    work = _Work()
    for key in data:
        if key not in (_SIMPLE, _DERIVED, _CLASSES, _ORDER):
            work.say(str(key), f"`{key}`", "skipped", _RUN_ONLY.get(key, "it has no counterpart"))
    _simple(work, _table(data, _SIMPLE))
    _derived(work, _table(data, _DERIVED) if data.get(_DERIVED) not in (None, {}) else {})
    order = _order(data, _table(data, _CLASSES))
    _classes(work, _table(data, _CLASSES), order)
    _preference(work, order)
    _asked_of_the_best(work, order[0])
    opening = write.comment(
        f"Imported: {len(work.simple)} propositions, {len(work.derived)} derived from them, {len(order)} classes."
    )
    levels = "levels root > system > developer > user > guideline"
    whole = "\n\n".join([opening, write.header(naming.policy), levels, *work.parts])
    return Imported(write.laid_out(whole, ".bylaw"), tuple(work.account))


def _loaded(text: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ImportFailure("", f"this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ImportFailure("", "this is not a configuration: it has no names at its top level")
    return data


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table of the input. Raises ImportFailure where it is missing, or is no table of names."""
    found = data.get(name)
    if not isinstance(found, dict) or not found:
        raise ImportFailure(name, "it is missing, or has no names in it")
    if not all(isinstance(key, str) and key.strip() for key in found):
        raise ImportFailure(name, "a name in it is not a text; put it in quotes")
    if len(found) > _MOST:
        raise ImportFailure(name, f"it has more than {_MOST:,} entries")
    return found


# ------------------------------------------------------------------------------------------------------ propositions
def _simple(work: _Work, table: Mapping[str, Any]) -> None:
    for name, entry in table.items():
        place = f"{_SIMPLE}.{name}"
        prompt = entry.get("prompt") if isinstance(entry, dict) else entry
        if not isinstance(prompt, str) or not prompt.strip():
            raise ImportFailure(place, "it has no `prompt` that says what it means")
        _named(work, name, "proposition")
        work.simple[name] = prompt.strip()
        notes = [f"`{key}` means nothing here" for key in entry if key != "prompt"] if isinstance(entry, dict) else []
        work.say(place, f"proposition `{name}`", "changed" if notes else "imported", "; ".join(notes))
    if any("\n" in prompt for prompt in work.simple.values()):
        reason = "in what a concept means, a line break is a blank"
        work.say(_SIMPLE, "prompts of several lines", "changed", reason)


def _derived(work: _Work, table: Mapping[str, Any]) -> None:
    for name, entry in table.items():
        place = f"{_DERIVED}.{name}"
        if name in work.names:
            raise ImportFailure(place, "there is a simple proposition of this name")
        work.derived[name] = _conditions(work, place, entry)
        _named(work, name, "proposition")
        work.say(place, f"derived proposition `{name}`", "imported")


def _declarations(work: _Work) -> Iterator[str]:
    """The concepts and definitions. What no class asks about is declared all the same, as it is in the input."""
    used: set[str] = set()
    waiting = [name for types in work.classes.values() for parts in types.values() for name in parts]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += work.derived.get(name, ())
    allowed = '# bylaw: allow P605 because "the input declares it, and no class asks about it"\n'
    for name, prompt in work.simple.items():
        clauses = "".join(f"  {kind} {write.quoted(text)}\n" for kind, text in _examples(work, name))
        said = f"concept {work.names[name]} means {write.quoted(prompt)} {{\n{clauses}  scored by judge\n}}"
        yield said if name in used else allowed + said
    for name, parts in work.derived.items():
        said = f"define {work.names[name]} as {_all_of(work, parts)}"
        yield said if name in used else allowed + said


def _examples(work: _Work, name: str) -> Iterator[tuple[str, str]]:
    """`like` or `unlike`, with the text, for each answer that the question of a proposition quotes."""
    like, unlike = examples_in(work.simple[name])
    if like or unlike:
        reason = f"{len(like)} that express it and {len(unlike)} that do not, in every conversation"
        work.say(f"{_SIMPLE}.{name}", "answers quoted in the question", "proposed", reason)
    for kind, texts in (("like", like), ("unlike", unlike)):
        yield from ((kind, text) for text in texts)


def _named(work: _Work, name: str, fallback: str) -> str:
    work.names[name] = write.unused(write.identifier(name, fallback), work.taken)
    return work.names[name]


def _conditions(work: _Work, place: str, entry: Any) -> _Parts:
    """Which propositions an entry asks to be true or false; each has to be known by then, so there are no circles."""
    if not isinstance(entry, dict) or not entry:
        raise ImportFailure(place, "it does not say which propositions are true, and which false")
    for name, value in entry.items():
        if name not in work.names:
            raise ImportFailure(place, f"`{name}` is no proposition that is defined above it")
        if not isinstance(value, bool):
            raise ImportFailure(f"{place}.{name}", "it is neither true nor false")
    return dict(entry)


def _all_of(work: _Work, parts: _Parts) -> str:
    return " and ".join(_holds(work, name, value) for name, value in parts.items())


def _holds(work: _Work, name: str, value: bool) -> str:
    """That a proposition is true, or false, of the answer."""
    said = work.names[name] if name in work.derived else f"response expresses {work.names[name]}"
    return said if value else f"not {said}"


# ----------------------------------------------------------------------------------------------------------- classes
def _order(data: Mapping[str, Any], classes: Mapping[str, Any]) -> list[str]:
    order = data.get(_ORDER)
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order) or len(order) < 2:
        raise ImportFailure(_ORDER, "it is missing, or is no list of two classes or more, the best first")
    for number, name in enumerate(order):
        if name not in classes:
            raise ImportFailure(f"{_ORDER}[{number}]", f"`{name}` is not among `{_CLASSES}`")
    if len(set(order)) < len(order):
        raise ImportFailure(_ORDER, "a class stands in it twice")
    return order


def _classes(work: _Work, table: Mapping[str, Any], order: list[str]) -> None:
    for name, types in table.items():
        place = f"{_CLASSES}.{name}"
        if not isinstance(types, dict) or not types or not all(isinstance(each, str) and each for each in types):
            raise ImportFailure(place, "it does not say for each type of response what is asked")
        asked = {kind: _conditions(work, f"{place}.{kind}", entry) for kind, entry in types.items()}
        if name in order:
            work.classes[name] = asked
        else:
            work.say(place, f"class `{name}`", "skipped", "it has no place in the order")
    if sum(map(len, work.classes.values())) > _MOST:
        raise ImportFailure(_CLASSES, f"there are more than {_MOST:,} of them, counted for each type of response")
    work.parts += _declarations(work)
    for kind in dict.fromkeys(kind for types in work.classes.values() for kind in types):
        spellings = list(dict.fromkeys((kind, kind.replace("_", " ").title())))
        work.types[kind] = write.unused(write.identifier(f"is_{kind}", "type"), work.taken)
        said = f"is in {write.listed(spellings)}" if len(spellings) > 1 else f"== {write.quoted(kind)}"
        work.parts.append(f"define {work.types[kind]} as {FACT} {said}")
    for name, types in work.classes.items():
        place = f"{_CLASSES}.{name}"
        if name in work.simple or name in work.derived:
            raise ImportFailure(place, "there is a proposition of this name")
        ours = _named(work, name, "class")
        cases = [f"({work.types[kind]} and {_all_of(work, parts)})" for kind, parts in types.items()]
        work.parts.append(f"define {ours} as {' or '.join(cases)}")
        missing = [kind for kind in work.types if kind not in types]
        reason = f"no answer is of this class where the type is {write.listed(missing)}" if missing else ""
        work.say(place, f"class `{name}`", "imported", reason)
    for kind in work.types:
        _apart(work, kind, [name for name in order if kind in work.classes[name]])


def _apart(work: _Work, kind: str, names: list[str]) -> None:
    """Says where an answer can be of two classes at once, or of none: the input calls them mutually exclusive."""
    if len(names) > _MOST_COMPARED:
        reason = f"there are more than {_MOST_COMPARED}, so it was not looked at whether they exclude each other"
        work.say(f"{_CLASSES}.*.{kind}", f"classes of `{kind}`", "changed", reason)
        return
    asked = {name: work.classes[name][kind] for name in names}
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            where = f"{_CLASSES}.{second}.{kind}"
            both = _can_hold(work, [*asked[first].items(), *asked[second].items()])
            if both is not False:
                what = "can be" if both else "may be (too many cases to tell)"
                reason = f"an answer {what} `{first}` too; the policy takes the better class"
                work.say(where, f"class `{second}`", "changed", reason)
    work.derived |= {f"{kind}\0{name}": asked[name] for name in names}  # no name of the input has this character
    none = _can_hold(work, [(f"{kind}\0{name}", False) for name in names])
    for name in names:
        del work.derived[f"{kind}\0{name}"]
    if none is not False:
        what = "can be" if none else "may be (too many cases to tell)"
        work.say(
            f"{_CLASSES}.*.{kind}", f"classes of `{kind}`", "imported", f"an answer {what} of none; that ranks last"
        )


def _can_hold(work: _Work, wanted: list[tuple[str, bool]]) -> bool | None:
    """Whether propositions can be as wanted at once, found by splitting cases; None after `_MOST_CASES` of them."""
    waiting: list[tuple[list[tuple[str, bool]], list[str], _Parts]] = [(wanted, [], {})]
    for _ in range(_MOST_CASES):
        if not waiting:
            return False
        left, false, known = waiting.pop()
        left, false, known = left.copy(), false.copy(), known.copy()
        if not _follows(work, left, false, known):
            continue
        while false:
            parts = work.derived[false.pop()].items()
            if any(known.get(part, holds) is not holds for part, holds in parts):
                continue  # one of its parts fails already
            waiting += [([(part, not holds)], false, known) for part, holds in parts if part not in known]
            break
        else:
            return True
    return None


def _follows(work: _Work, left: list[tuple[str, bool]], false: list[str], known: _Parts) -> bool:
    """Adds to `known` what follows from propositions, to `false` derived ones that fail; False for a contradiction."""
    while left:
        name, value = left.pop()
        if name in known:
            if known[name] is not value:
                return False
            continue
        known[name] = value
        if name in work.derived and value:
            left += work.derived[name].items()
        elif name in work.derived:
            false.append(name)
    return True


def _preference(work: _Work, order: list[str]) -> None:
    rule = write.unused("completion_class", work.taken)
    ranked = " over ".join(work.names[name] for name in order)
    work.parts.append(f'rule {rule} "The better class of answer" at developer {{\n  prefer {ranked}\n}}')
    work.say(_ORDER, "order of the classes", "imported")


# --------------------------------------------------------------------------------------------- what the best one asks
def _asked_of_the_best(work: _Work, best: str) -> None:
    """One rule for each proposition that the best class asks of a type of response."""
    for kind, parts in work.classes[best].items():
        place = f"{_CLASSES}.{best}.{kind}"
        literals = dict(_literals(work, parts))
        for name, value in literals.items():
            rule = write.unused(write.identifier(f"{kind}__{'' if value else 'no_'}{name}", "rule"), work.taken)
            ours = work.names[name]
            if name not in work.derived:
                asked = f"should {'' if value else 'not '}express {ours}"
            else:
                asked = f"prefer {ours} over not {ours}" if value else f"prefer not {ours} over {ours}"
            work.parts.append(f"rule {rule} at user {{\n  when {work.types[kind]}\n  {asked}\n}}")
        reason = f"{len(literals)} rules say what it asks; `bylaw fit` finds what each is worth"
        work.say(place, f"what `{best}` asks of `{kind}`", "proposed", reason)


def _literals(work: _Work, parts: _Parts) -> Iterator[tuple[str, bool]]:
    """The propositions that all have to be true or false, with what true derived ones are made of in their place.

    A derived one that has to be false stays whole: it is not known which of its parts fails.
    """
    seen: set[tuple[str, bool]] = set()
    waiting = list(reversed(parts.items()))
    while waiting:
        name, value = waiting.pop()
        if (name, value) in seen:
            continue
        seen.add((name, value))
        if value and name in work.derived:
            waiting += reversed(work.derived[name].items())
        else:
            yield name, value


IMPORTER = Importer(
    summary="rule-based rewards in YAML: propositions as concepts, completion classes and their order",
    suffix=".bylaw",
    read=read,
)
