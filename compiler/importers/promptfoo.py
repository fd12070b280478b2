"""A promptfoo configuration (YAML): its assertions as rules, its prompts and variables as a suite.

Each test becomes a rule. Its condition is the prompt, where all prompts stand in the file and only `{{variables}}` are
filled in; otherwise the variables, as facts (`meta.topic` for `topic`). The assertions of `defaultTest` become one rule
without a condition. A test passes when each of its assertions does, whatever their weights, so they are written with
`must`; with a `threshold` of its own a share of them is enough, which a policy cannot say: then with `should`. An
assertion of weight 0 does not count and is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bylaw.compiler.importers import _writing as write
from bylaw.compiler.importers._promptfoo_assertions import CannotSay, Said, said
from bylaw.compiler.importers._templates import Template, TemplateError, conditions, filled, holes
from bylaw.compiler.importers.interface import AccountLine, Imported, Importer, ImportFailure, Naming, Outcome

_KNOWN = {"description", "prompts", "tests", "defaultTest"}
_RUN_ONLY = {"providers", "targets", "outputPath", "sharing", "evaluateOptions", "commandLineOptions", "tags", "env"}
_TEST_KEYS = {"description", "vars", "assert", "threshold"}
_ASSERTION_KEYS = {"type", "value", "threshold", "weight", "metric"}
_TRANSFORMS = ("transform", "postprocess", "transformVars")
_DEFAULT_TEST = "defaultTest"


_Placed: TypeAlias = tuple[str, dict[str, Any]]
"""An assertion with its place."""


@dataclass(frozen=True, slots=True)
class _Test:
    """What the assertions of one test share."""

    name: str
    variables: Mapping[str, Any]
    threshold: Any
    is_transformed: bool


@dataclass(slots=True)
class _Work:
    """A configuration on its way: the prompts, the declarations written so far, and the account."""

    prompts: tuple[Template, ...] | None
    parts: list[str] = field(default_factory=list)
    suite: list[str] = field(default_factory=list)
    account: list[AccountLine] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    defaults: list[_Placed] = field(default_factory=list)

    def say(self, place: str, what: str, outcome: Outcome, reason: str = "") -> None:
        self.account.append(AccountLine(place, what, outcome, reason))


def read(text: str, naming: Naming) -> Imported:
    """The policy of a configuration.

    Raises:
        ImportFailure: the text is not YAML, or has no assertion that can be written.
    """
    data = _loaded(text)
    work = _Work(None)
    work.prompts = _prompts(data.get("prompts"), work)
    for name in data:
        if name in _KNOWN:
            continue
        reason = "it is about how the evaluation runs" if name in _RUN_ONLY else "it has no counterpart"
        work.say(str(name), f"`{name}`", "skipped", reason)
    default = data.get(_DEFAULT_TEST) or {}
    if isinstance(default, dict):
        _default_test(work, default)
    elif default:
        work.say(_DEFAULT_TEST, "test", "skipped", "it stands in another file")
    tests = data.get("tests") or []
    if not isinstance(tests, list):
        work.say("tests", "tests", "skipped", "they stand in another file, or are made by a program")
        tests = []
    for number, test in enumerate(tests):
        start = len(work.account)
        _test(work, f"tests[{number}]", test, default if isinstance(default, dict) else {}, f"test_{number + 1}")
        work.account[start:] = sorted(work.account[start:], key=_in_order)
    told = {line.place for line in work.account}
    for place, assertion in work.defaults:
        if place not in told:
            work.say(place, f"assertion {assertion['type']}", "skipped", "no test here fills in its variables")
    if not any(part.startswith("rule ") for part in work.parts):
        raise ImportFailure("", "it has no assertion that a policy can say")
    suite = []
    if naming.suite is not None and work.suite:
        suite = [f'suite prompts "the prompts of the tests" = file {write.quoted(naming.suite)}']
    whole = "\n\n".join(["# Imported.", write.header(naming.policy), *suite, *work.parts])
    return Imported(write.laid_out(whole, ".bylaw"), tuple(work.account), "".join(f"{row}\n" for row in work.suite))


def _loaded(text: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ImportFailure("", f"this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ImportFailure("", "this is not a configuration: it has no names at its top level")
    return data


def _prompts(value: Any, work: _Work) -> tuple[Template, ...] | None:
    """The prompts as templates; None when one of them cannot be read, so that no prompt is known for sure."""
    if value is None:
        return None
    found: list[Template] = []
    is_whole = True
    for number, prompt in enumerate(value if isinstance(value, list) else [value]):
        place = f"prompts[{number}]"
        raw = prompt.get("raw") if isinstance(prompt, dict) else prompt
        try:
            if not isinstance(raw, str) or not raw.strip():
                raise TemplateError("it is not a text")
            if raw.startswith(("file://", "exec:")) or (
                " " not in raw and raw.endswith((".txt", ".json", ".js", ".py"))
            ):
                raise TemplateError("it stands in another file")
            if raw.lstrip().startswith(("[", '{"')):
                raise TemplateError("it is a list of messages")
            found.append(holes(raw))
            work.say(place, "prompt", "imported")
        except TemplateError as error:
            is_whole = False
            work.say(place, "prompt", "skipped", f"{error}; tests are told apart by their variables")
    return tuple(found) if is_whole else None


def _default_test(work: _Work, default: dict[str, Any]) -> None:
    """Writes one rule for every answer. What depends on the variables of a test is kept for the tests."""
    _unknown(work, _DEFAULT_TEST, default)
    here: list[_Placed] = []
    for placed in _flat(f"{_DEFAULT_TEST}.assert", default.get("assert"), work):
        (work.defaults if _has_holes(placed[1].get("value")) else here).append(placed)
    shared = _Test("every_answer", {}, default.get("threshold"), _is_transformed(default))
    lines = [line for spot, one in here for line in _assertion(work, spot, one, shared)]
    if lines:
        _write(work, shared.name, default.get("description"), _DEFAULT_TEST, "", lines)


def _test(work: _Work, place: str, test: Any, default: Mapping[str, Any], name: str) -> None:
    """Writes the rule of a test, and its prompts; the account says what became of it."""
    if not isinstance(test, dict):
        work.say(place, "test", "skipped", "it stands in another file")
        return
    _unknown(work, place, test)
    variables: dict[str, Any] = {}
    for values in (default.get("vars") or {}, test.get("vars") or {}):
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            work.say(place, "test", "skipped", "its variables stand in another file")
            return
        variables |= values
    try:
        condition, rows = conditions(work.prompts, variables)
    except TemplateError as error:
        work.say(place, "test", "skipped", str(error))
        return
    work.suite += [json.dumps(row) for row in rows]
    threshold = test.get("threshold", default.get("threshold"))
    shared = _Test(name, variables, threshold, _is_transformed(default) or _is_transformed(test))
    assertions = [*work.defaults, *_flat(f"{place}.assert", test.get("assert"), work)]
    lines = [line for spot, one in assertions for line in _assertion(work, spot, one, shared)]
    if lines:
        _write(work, name, test.get("description"), place, condition, lines)
    else:
        work.say(place, "test", "skipped", "it asks for nothing that can be checked; its prompts are in the suite")


def _write(work: _Work, name: str, title: Any, place: str, condition: str, lines: list[str]) -> None:
    head = f"rule {write.unused(name, work.taken)}{f' {write.prose(title)}' if isinstance(title, str) else ''}"
    body = [f"source {write.prose('promptfoo ' + place)}", *([f"when {condition}"] if condition else []), *lines]
    work.parts.append("\n".join([f"{head} at developer {{", *(f"  {line}" for line in body), "}"]))


def _unknown(work: _Work, place: str, test: dict[str, Any]) -> None:
    for key in test:
        if key not in _TEST_KEYS:
            work.say(f"{place}.{key}", f"`{key}`", "skipped", "it has no counterpart")


def _is_transformed(test: Mapping[str, Any]) -> bool:
    """Whether a program changes the answer before the assertions of a test look at it."""
    options = test.get("options")
    return isinstance(options, dict) and any(options.get(key) for key in _TRANSFORMS)


def _in_order(line: AccountLine) -> list[str | int]:
    """A key that sorts places as they follow each other in the file."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", line.place)]


def _has_holes(value: Any) -> bool:
    return any(isinstance(item, str) and "{{" in item for item in (value if isinstance(value, list) else [value]))


def _flat(place: str, value: Any, work: _Work, is_set: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """The assertions of a list, those of sets that ask for all of theirs included."""
    if value is None:
        return []
    if not isinstance(value, list):
        work.say(place, "assertions", "skipped", "they stand in another file, or are made by a program")
        return []
    found: list[tuple[str, dict[str, Any]]] = []
    for number, entry in enumerate(value):
        spot = f"{place}[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            work.say(spot, "assertion", "unreadable", "it has no `type`")
        elif entry["type"] != "assert-set":
            found.append((spot, entry))
        elif is_set:
            work.say(spot, "assertion assert-set", "skipped", "a set stands inside a set")
        elif entry.get("threshold") in (None, 1) and entry.get("weight") != 0:
            found += _flat(f"{spot}.assert", entry.get("assert"), work, is_set=True)
        else:
            work.say(spot, "assertion assert-set", "skipped", "only a share of its assertions has to pass")
    return found


def _assertion(work: _Work, place: str, assertion: dict[str, Any], test: _Test) -> list[str]:
    """The sentence of an assertion, or none."""
    kind = assertion["type"]
    what = f"assertion {kind}"
    if assertion.get("weight") == 0:
        work.say(place, what, "skipped", "its weight is 0, so it does not count")
        return []
    if test.is_transformed or any(assertion.get(key) for key in _TRANSFORMS):
        work.say(place, what, "skipped", "it looks at the answer after a program has changed it")
        return []
    try:
        value = filled(assertion.get("value"), test.variables)
        modality, verb = said(kind, {**assertion, "value": value})
    except (CannotSay, TemplateError) as error:
        work.say(place, what, "skipped", str(error))
        return []
    threshold = test.threshold
    is_share = isinstance(threshold, (int, float)) and threshold < 1
    differs = [verb.differs] if verb.differs else []
    if is_share:
        modality = modality.replace("must", "should")
        differs.append(f"the test asks for a share of {threshold}, the rule for each")
    notes = [f"`{key}` means nothing here" for key in sorted(assertion.keys() - _ASSERTION_KEYS - {"provider"})]
    notes += ["the judge is the one that you choose, not its `provider`"] if "provider" in assertion else []
    notes += [f"the metric `{assertion['metric']}` is not kept"] if "metric" in assertion else []
    notes += ["its weight is not kept"] if assertion.get("weight") not in (None, 1) else []
    work.say(place, what, "changed" if differs else "imported", "; ".join([*differs, *notes]))
    if not verb.rubric:
        return [f"{modality} {verb.verb}"]
    return [f"{modality} express {_concept(work, test.name, verb)}"]


def _concept(work: _Work, name: str, verb: Said) -> str:
    """Declares the concept of a rubric; returns its name."""
    concept = write.unused(f"{name}_rubric", work.taken)
    body = [
        "  scored by judge",
        *([f"  threshold {write.number(verb.threshold)}"] if verb.threshold is not None else []),
    ]
    work.parts.append("\n".join([f"concept {concept} means {write.prose(verb.rubric)} {{", *body, "}"]))
    return concept


IMPORTER = Importer(
    summary="a promptfoo configuration in YAML: one rule for each test, by its assertions",
    suffix=".bylaw",
    read=read,
    has_suite=True,
)
