"""The conformance suite: cases as YAML under tests/conformance, which another implementation can run as well.

The format is described in tests/conformance/README.md. A file that breaks it fails here, loudly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate, evaluate_term
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardProgram, to_data
from bylaw.compiler.verdicts import rule_verdict
from bylaw.spec.errors import CODES, Severity
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace, tool_call

FOLDER = Path(__file__).parent / "conformance"
VERDICTS = ("violates", "unscored", "complies", "waived", "skips")
MEASURED = {Verdict.SATISFIED: "complies", Verdict.UNSCORED: "unscored", Verdict.NOT_APPLICABLE: "skips"}
TYPES = 25
CASES_A_TYPE = 30
OTHER_CASES = 350

Case = Mapping[str, Any]


class Malformed(AssertionError):
    """A case file does not follow the format of README.md."""


# ------------------------------------------------------------------------------------------------------- reading files
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the one in C, where there is it
    """YAML as JSON has it: no dates, no `yes` for true, and no key twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    again = [key for key, number in Counter(keys).items() if number > 1]
    if again:
        raise Malformed(f"`{again[0]}` stands twice at line {node.start_mark.line + 1}")
    return dict(zip(keys, [loader.construct_object(v, deep=True) for _, v in node.value], strict=True))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.endswith((":int", ":float", ":null")) or (tag.endswith(":bool") and first in "tf")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

FILE_KEYS = {"ifeval": {"type", "summary", "cases"}, "language": {"group", "summary", "cases"}}
MESSAGES = ({"role", "content"}, {"role", "call"}, {"role", "call", "arguments"}, {"tool", "returns"})
POLICY_KEYS = {"policy", "rule", "declarations", "literate", "note"}
ALLOWED: Mapping[str, tuple[set[str], set[str]]] = {  # form -> (needed, may be there)
    "ifeval": (
        {"id", "rule", "response", "expect"},
        {"declarations", "prompt", "facts", "note", "reference", "difference"},
    ),
    "verdicts": ({"id", "expect"}, {*POLICY_KEYS, "conversation", "prompt", "response", "facts", "scores", "values"}),
    "diagnostics": ({"id", "diagnostics"}, POLICY_KEYS),
    "program": ({"id", "program"}, POLICY_KEYS),
}


def read(path: Path) -> dict[str, Any]:
    """One file of cases, checked against the format. Raises Malformed."""
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    kind = path.parent.name
    _keys(data, FILE_KEYS[kind], set(), path.name)
    if not isinstance(data["cases"], list) or not data["cases"]:
        raise Malformed(f"{path.name}: there are no cases")
    for case in data["cases"]:
        where = f"{path.name}: {case.get('id')}"
        form = _form(case, kind, where)
        _keys(case, *ALLOWED[form], where)
        if not re.fullmatch(rf"{re.escape(path.stem)}-[0-9]{{2,3}}", str(case["id"])):
            raise Malformed(f"{where}: an id is the name of its file, a hyphen and two or three digits")
        _check(case, form, where)
    return dict(data)


def _keys(found: Any, needed: set[str], optional: set[str], where: str) -> None:
    if not isinstance(found, dict):
        raise Malformed(f"{where}: this is not a mapping")
    if missing := needed - set(found):
        raise Malformed(f"{where}: {', '.join(sorted(missing))} is missing")
    if unknown := set(found) - needed - optional:
        raise Malformed(f"{where}: {', '.join(sorted(map(str, unknown)))} is not known")


def _form(case: Any, kind: str, where: str) -> str:
    if kind == "ifeval":
        return "ifeval"
    forms = [form for form, key in (("verdicts", "expect"), ("diagnostics",) * 2, ("program",) * 2) if key in case]
    if len(forms) != 1:
        raise Malformed(f"{where}: a case has one of `expect`, `diagnostics` and `program`")
    return forms[0]


def _check(case: Case, form: str, where: str) -> None:
    for key in ("rule", "policy", "declarations", "prompt", "response", "note", "difference"):
        may_be_empty = key in ("prompt", "response") or form == "diagnostics"
        if key in case and not (isinstance(case[key], str) and (case[key].strip() or may_be_empty)):
            raise Malformed(f"{where}: `{key}` is not a text")
    if form == "ifeval":
        _check_verdict(case["expect"], where)
        if ("reference" in case) is not ("difference" in case):
            raise Malformed(f"{where}: `reference` and `difference` belong together")
        if case.get("reference", "complies") not in ("complies", "violates") or case.get("reference") == case["expect"]:
            raise Malformed(f"{where}: `reference` is given where it differs")
        return
    if ("rule" in case) is ("policy" in case):
        raise Malformed(f"{where}: a case has a `rule` or a `policy`")
    if "declarations" in case and "rule" not in case:
        raise Malformed(f"{where}: `declarations` stand before a `rule`")
    if case.get("literate", True) is not True or ("literate" in case and "rule" in case):
        raise Malformed(f"{where}: `literate` is true, and is said of a `policy`")
    if form == "verdicts":
        _check_conversation(case, where)
    elif form == "diagnostics":
        if not isinstance(case["diagnostics"], list) or not set(case["diagnostics"]) <= set(CODES):
            raise Malformed(f"{where}: `diagnostics` is a list of codes")
    elif not isinstance(case["program"], list) or not case["program"] or not all(case["program"]):
        raise Malformed(f"{where}: `program` is a list of terms")


def _check_conversation(case: Case, where: str) -> None:
    if ("conversation" in case) is ("response" in case) or ("conversation" in case and "prompt" in case):
        raise Malformed(f"{where}: a case has a `response`, perhaps with a `prompt`, or a `conversation`")
    for message in case.get("conversation", []):
        if set(message) not in MESSAGES:
            raise Malformed(f"{where}: {message} is not a message")
        if message.get("role", "tool") not in ("system", "developer", "user", "assistant", "tool"):
            raise Malformed(f"{where}: nobody is called `{message['role']}`")
    for score in case.get("scores", []):
        _keys(score, {"concept", "text", "score"}, set(), where)
    expected = case["expect"]
    if isinstance(expected, dict):
        if not expected or "rule" in case:
            raise Malformed(f"{where}: `expect` is one verdict for a `rule`, and one for each rule of a `policy`")
        for verdict in expected.values():
            _check_verdict(verdict, where)
    else:
        _check_verdict(expected, where)
        if "rule" not in case:
            raise Malformed(f"{where}: say which rule this is expected of")


def _check_verdict(verdict: Any, where: str) -> None:
    if verdict not in VERDICTS:
        raise Malformed(f"{where}: `{verdict}` is not a verdict")


def all_cases() -> list[tuple[str, Case, Mapping[str, Any]]]:
    """(id, case, file) of every file, in order. Raises Malformed."""
    found: list[tuple[str, Case, Mapping[str, Any]]] = []
    for path in sorted(FOLDER.rglob("*.yaml")):
        file = read(path)
        found += [(str(case["id"]), case, file) for case in file["cases"]]
    again = [name for name, number in Counter(name for name, _, _ in found).items() if number > 1]
    if again:
        raise Malformed(f"two cases are called {', '.join(again)}")
    return found


CASES = all_cases()


# ------------------------------------------------------------------------------------------------------- running cases
@cache
def compile_policy(policy: str, name: str) -> Compiled:
    return compile_source(Source.of(name, policy))


def compiled(case: Case) -> Compiled:
    declared = case.get("declarations", "")
    policy = f"{declared}\nrule r at user {{\n{case['rule']}\n}}\n" if "rule" in case else case["policy"]
    return compile_policy(policy, "case.bylaw.md" if "literate" in case else "case.bylaw")


def trace_of(case: Case) -> Trace:
    facts = {name: float(v) if type(v) is int else v for name, v in case.get("facts", {}).items()}
    scores = {(each["concept"], each["text"]): each["score"] for each in case.get("scores", [])}
    if "conversation" in case:
        return Trace(tuple(_message(message) for message in case["conversation"]), facts, scores=scores)
    return Trace((Message("user", case.get("prompt", "")),), facts, scores=scores).answered(case["response"])


def _message(message: Mapping[str, Any]) -> Message:
    if "tool" in message:
        return Message("tool", message["returns"], message["tool"])
    if "call" in message:
        given = message.get("arguments", {})
        return tool_call(message["call"], {k: float(v) if type(v) is int else v for k, v in given.items()})
    return Message(message["role"], message["content"])


def verdict_of(rule: str, program: RewardProgram, trace: Trace) -> str:
    """What a rule says; one of quantities only, which decides nothing, complies where it can be measured."""
    terms = [term for term in program.terms if term.rule == rule]
    assert terms, f"there is no rule `{rule}`"
    if any(term.holds is not None for term in terms):
        return rule_verdict(terms, trace).verdict
    found = {MEASURED[evaluate_term(term, trace).verdict] for term in terms}
    return next(verdict for verdict in VERDICTS if verdict in found)


def outcome(case: Case) -> tuple[Any, Any]:
    """(what was expected, what came out) of a case."""
    found = compiled(case)
    if "diagnostics" in case:
        codes = [d.code for d in found.diagnostics if d.severity is not Severity.NOTE]
        return case["diagnostics"], codes
    if not found.ok:
        return case.get("expect", "a program"), [f"{d.code} {d.message}" for d in found.diagnostics]
    program = found.require()
    if "program" in case:
        terms = to_data(program)["terms"]
        shown = [{key: term.get(key) for key in wanted} for wanted, term in zip(case["program"], terms, strict=False)]
        return case["program"], shown + ["more terms"] * (len(terms) - len(shown))
    trace = trace_of(case)
    score = evaluate(program, trace)
    wanted = case["expect"] if isinstance(case["expect"], dict) else {"r": case["expect"]}
    seen: dict[str, Any] = {rule: verdict_of(rule, program, trace) for rule in wanted}
    values = case.get("values", {})
    return {**wanted, **values}, {**seen, **{name: _value(score.term(name)) for name in values}}


def _value(term: TermScore) -> float | None:
    return None if term.value is None else round(term.value, 6)


# --------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("name", sorted({name.rpartition("-")[0] for name, _, _ in CASES}))
def test_cases_of_a_file(name: str) -> None:
    """All cases of a file, with each that comes out otherwise: to look at one of them, see its id."""
    wrong = []
    for case in (case for each, case, _ in CASES if each.rpartition("-")[0] == name):
        expected, found = outcome(case)
        if found != expected:
            wrong.append((case["id"], {"expected": expected, "found": found}, case.get("note", "")))
    assert wrong == []


def test_every_case_belongs_to_one_file() -> None:
    files = {str(case["id"]): file for _, case, file in CASES}
    assert len(files) == len(CASES) == sum(len(read(path)["cases"]) for path in FOLDER.rglob("*.yaml"))


def test_every_type_and_the_language_are_covered() -> None:
    counts = Counter(file["type"] for _, _, file in CASES if "type" in file)
    assert len(counts) == TYPES
    assert {name: number for name, number in counts.items() if number < CASES_A_TYPE} == {}
    assert sum("group" in file for _, _, file in CASES) >= OTHER_CASES


def test_both_verdicts_are_expected_of_every_type() -> None:
    expected: dict[str, set[str]] = {}
    for _, case, file in CASES:
        if "type" in file:
            expected.setdefault(file["type"], set()).add(case["expect"])
    assert all({"complies", "violates"} <= verdicts for verdicts in expected.values())


def test_the_table_of_differences_is_complete() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    missing = [name for name, case, _ in CASES if "reference" in case and f"`{name}`" not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ("", "cases is missing"),
        ("cases: []", "no cases"),
        ("cases: [{id: x-01, rule: r, response: '', expect: passes}]", "not a verdict"),
        ("cases: [{id: x-01, rule: r, response: ''}]", "expect is missing"),
        ("cases: [{id: y-01, rule: r, response: '', expect: complies}]", "an id is"),
        ("cases: [{id: x-01, rule: r, response: '', expect: complies, why: x}]", "why is not"),
        ("cases: [{id: x-01, rule: r, response: '', expect: complies, reference: violates}]", "belong together"),
        ("cases: [{id: x-01, id: x-02}]", "stands twice"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, cases: str, says: str) -> None:
    (tmp_path / "ifeval").mkdir()
    path = tmp_path / "ifeval" / "x.yaml"
    path.write_text(f"type: a\nsummary: b\n{cases}\n", encoding="utf-8")
    with pytest.raises(Malformed, match=says):
        read(path)
