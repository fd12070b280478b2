"""`bylaw import rbr`: propositions, classes and their order; the published file, read independently."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import evaluate, evaluate_term
from bylaw.compiler.importers import importer
from bylaw.compiler.importers._rbr_examples import examples_in
from bylaw.compiler.importers.interface import Imported, ImportFailure, Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.cli import main
from bylaw.runtime.judgements.comparisons import class_order
from bylaw.runtime.judgements.reader import read_judgements
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

DATA = Path(__file__).parents[2] / "shared" / "data" / "openai_rbr"

SMALL: dict[str, Any] = {
    "completion_class_order": ["best", "fine", "worst"],
    "completion_classes": {
        "best": {"answer": {"kind": True, "curt": False}, "decline": {"sorry_and_kind": True}},
        "fine": {"answer": {"kind": False, "curt": False}, "decline": {"sorry_and_kind": False}},
        "worst": {"answer": {"curt": True}},
    },
    "derived_propositions": {"sorry_and_kind": {"sorry": True, "kind": True}},
    "simple_propositions": {
        "kind": {"prompt": 'Is it kind?\nLook at "the last" line.'},
        "curt": {"prompt": "Is it curt?"},
        "sorry": {"prompt": "Is it sorry?"},
        "loud": {"prompt": "Is it loud?"},
    },
}


def read(data: Any) -> Imported:
    return importer("rbr").read(
        data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False), Naming("grades")
    )


def changed(*path: str, value: Any) -> dict[str, Any]:
    """The small input with one part replaced, or gone where the value is None."""
    data: dict[str, Any] = json.loads(json.dumps(SMALL))
    part = data
    for name in path[:-1]:
        part = part[name]
    if value is None:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return data


def trace(kind: str, /, **labels: bool) -> Trace:
    scores = {(name, "x"): float(value) for name, value in labels.items()}
    return Trace((Message("user", "p"), Message("assistant", "x")), {"meta.response_type": kind}, "", scores)


def test_classes_are_ranked_as_the_input_says() -> None:
    compiled = compile_source(Source.of("grades.bylaw", read(SMALL).text))
    assert [(each.code, each.message) for each in compiled.diagnostics] == []
    order = compiled.require().term("completion_class")
    facts = {"kind": False, "curt": False, "sorry": False, "loud": False}

    def rank(kind: str, /, **labels: bool) -> float | None:
        part = evaluate(compiled.require(), trace(kind, **{**facts, **labels}))
        return part.term(order.id).value

    assert [rank("answer", kind=True), rank("answer"), rank("answer", kind=True, curt=True)] == [0, -1, -2]
    assert [rank("Decline", kind=True, sorry=True), rank("decline", kind=True)] == [0, -1]
    assert rank("shout") == -3
    assert compiled.regulators is not None
    meaning = {concept.name: concept.meaning for concept in compiled.regulators.concepts}
    assert " ".join(meaning["kind"].split()) == 'Is it kind? Look at "the last" line.'


def test_what_the_best_class_asks_is_proposed_as_rules() -> None:
    imported = read(SMALL)
    compiled = compile_source(Source.of("grades.bylaw", imported.text))
    rules = {term.rule for term in compiled.require().terms}
    assert rules == {"completion_class", "answer__kind", "answer__no_curt", "decline__sorry", "decline__kind"}
    proposed = [(line.what, line.reason) for line in imported.account if line.outcome == "proposed"]
    assert proposed[0] == (
        "what `best` asks of `answer`",
        "2 rules say what it asks; `bylaw fit` finds what each is worth",
    )
    score = evaluate(compiled.require(), trace("answer", kind=False, curt=True, sorry=False))
    broken = {each.term for each in score.terms if each.value == -1}
    assert broken == {"answer__kind", "answer__no_curt"}


QUESTION = """Is it kind?
- "Hello there." -> yes (a greeting: "Hello")
* “Go  away …” -> No
- "It depends." -> ignore
- (In a play) "Off with you." -> no
- "" -> no
- "Say \\"please\\"." -> yes
- Examples for "yes" include, among others:
  - "You are welcome.",
  - For letters: "Dear all" (an opening)
  - Thanks of any kind
  - Both "one" and "two" count
- Not evidence for "yes":
  - "Next."
- "Maybe." -> yes
- "Maybe." -> no
    - "Too deep in the list." -> no
Chat:
"Sorry." -> yes
"""


def test_answers_in_a_question_become_examples() -> None:
    like, unlike = examples_in(QUESTION)
    assert like == ("Hello there.", 'Say "please".', "You are welcome.", "Dear all")
    assert unlike == ("Go away …", "Next.")
    assert examples_in("Is it kind?") == ((), ())
    imported = read(changed("simple_propositions", "kind", "prompt", value=QUESTION))
    told = [(each.place, each.what, each.reason) for each in imported.account if each.what.startswith("answers")]
    reason = "4 that express it and 2 that do not, in every conversation"
    assert told == [("simple_propositions.kind", "answers quoted in the question", reason)]
    compiled = compile_source(Source.of("grades.bylaw", imported.text))
    assert [(each.code, each.message) for each in compiled.diagnostics] == []
    assert compiled.regulators is not None
    concept = next(each for each in compiled.regulators.concepts if each.name == "kind")
    assert (concept.like, concept.unlike) == (like, unlike)


def test_classes_that_are_not_exclusive_are_told() -> None:
    overlapping = read(changed("completion_classes", "worst", "answer", value={"loud": True}))
    told = [(line.place, line.reason) for line in overlapping.account if line.outcome == "changed"]
    assert told == [
        ("simple_propositions", "in what a concept means, a line break is a blank"),
        ("completion_classes.worst.answer", "an answer can be `best` too; the policy takes the better class"),
        ("completion_classes.worst.answer", "an answer can be `fine` too; the policy takes the better class"),
    ]
    assert not overlapping.is_exact
    none = read(changed("completion_classes", "fine", "answer", value={"kind": False, "curt": False, "loud": True}))
    assert ("classes of `answer`", "an answer can be of none; that ranks last") in {
        (line.what, line.reason) for line in none.account
    }
    assert not any("of none" in line.reason for line in read(SMALL).account)


def test_propositions_that_double_at_each_step_take_no_time() -> None:
    """Written out, the last one would ask for the first a Fibonacci number of times."""
    chain = {f"d{n}": {f"d{n - 1}": True, f"d{n - 2}": True} for n in range(2, 300)}
    data = changed("derived_propositions", value={"d0": {"kind": True}, "d1": {"d0": True, "curt": False}, **chain})
    data["completion_classes"]["best"]["decline"] = {"d299": True}
    data["completion_classes"]["fine"]["decline"] = {"d299": False}
    account = read(data).account
    assert not [line for line in account if line.what == "class `fine`" and line.outcome == "changed"]
    assert [line.reason[:7] for line in account if line.what == "what `best` asks of `decline`"] == ["2 rules"]


@st.composite
def grades(draw: st.DrawFn) -> dict[str, Any]:
    """Four propositions, some derived from those before, and three classes of one type of response."""
    known = ["kind", "curt", "sorry", "loud"]
    derived: dict[str, dict[str, bool]] = {}
    for number in range(draw(st.integers(0, 4))):
        derived[f"d{number}"] = draw(st.dictionaries(st.sampled_from(known), st.booleans(), min_size=1, max_size=3))
        known.append(f"d{number}")
    asked = st.dictionaries(st.sampled_from(known), st.booleans(), min_size=1, max_size=3)
    classes = {name: {"answer": draw(asked)} for name in ("best", "fine", "worst")}
    return SMALL | {"derived_propositions": derived, "completion_classes": classes}


@settings(max_examples=25, deadline=None)
@given(grades())
def test_what_is_said_of_overlaps_is_true_of_all_answers(data: dict[str, Any]) -> None:
    """Against trying out all sixteen answers; the policy gives each of them the class that the input gives it."""
    names = list(data["simple_propositions"])
    overlaps, is_none = set(), False
    compiled = compile_source(Source.of("grades.bylaw", (imported := read(data)).text))
    draft = compiled.draft
    for values in product([False, True], repeat=len(names)):
        labels = dict(zip(names, values, strict=True))
        found = [
            name
            for name in data["completion_class_order"]
            if all(
                derived(data, part, labels) is value
                for part, value in data["completion_classes"][name]["answer"].items()
            )
        ]
        overlaps |= set(combinations(found, 2))
        is_none |= not found
        if draft is not None:
            rank = evaluate_term(draft.term("completion_class"), trace("answer", **labels)).value
            assert rank == -(data["completion_class_order"].index(found[0]) if found else 3)
    told = {(line.reason.split("`")[1], line.what.split("`")[1]) for line in imported.account if "too;" in line.reason}
    assert told == overlaps
    assert any("of none" in line.reason for line in imported.account) == is_none


def test_names_that_are_words_of_the_language() -> None:
    data = json.loads(json.dumps(SMALL).replace('"kind"', '"response"').replace('"best"', '"must"'))
    compiled = compile_source(Source.of("grades.bylaw", read(data).text))
    assert [(each.code, each.message) for each in compiled.diagnostics] == []


WRONG: list[tuple[Any, str]] = [
    ("{", "this is not YAML"),
    ("[1]", "this is not a configuration"),
    ("a: 1", "simple_propositions: it is missing"),
    (changed("simple_propositions", value={}), "simple_propositions: it is missing, or has no names"),
    (changed("simple_propositions", "kind", value={"prompt": " "}), "simple_propositions.kind: it has no `prompt`"),
    (changed("simple_propositions", value={True: {"prompt": "x"}}), "a name in it is not a text"),
    (changed("derived_propositions", "kind", value={"curt": True}), "there is a simple proposition of this name"),
    (changed("derived_propositions", "new", value={"newer": True}), "`newer` is no proposition that is defined above"),
    (changed("derived_propositions", "sorry_and_kind", value={"sorry_and_kind": True}), "is no proposition"),
    (changed("derived_propositions", "sorry_and_kind", "kind", value="yes"), "kind: it is neither true nor false"),
    (changed("derived_propositions", "sorry_and_kind", value=[]), "it does not say which propositions are true"),
    (changed("completion_class_order", value=None), "completion_class_order: it is missing"),
    (changed("completion_class_order", value=["best"]), "list of two classes or more"),
    (changed("completion_class_order", value=["best", "good"]), "completion_class_order[1]: `good` is not among"),
    (changed("completion_class_order", value=["best", "best"]), "a class stands in it twice"),
    (changed("completion_classes", value=None), "completion_classes: it is missing"),
    (changed("completion_classes", "best", value={}), "it does not say for each type of response"),
    (changed("completion_classes", "best", "answer", value={"angry": True}), "`angry` is no proposition"),
]


@pytest.mark.parametrize(("data", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_what_is_not_such_a_file(data: Any, message: str) -> None:
    with pytest.raises(ImportFailure) as raised:
        read(data)
    assert message in str(raised.value)


def test_what_the_policy_does_not_say_is_in_the_account() -> None:
    data = changed("simple_propositions", "kind", value={"prompt": "Is it kind?", "scale": 5}) | {"budget": 3}
    data["completion_class_order"] = ["best", "worst"]
    told = {line.place: (line.outcome, line.reason) for line in read(data).account if line.outcome != "imported"}
    assert told["budget"] == ("skipped", "it has no counterpart")
    assert told["simple_propositions.kind"] == ("changed", "`scale` means nothing here")
    assert told["completion_classes.fine"] == ("skipped", "it has no place in the order")


# ------------------------------------------------------------------------------------------------ the published file
def derived(data: dict[str, Any], name: str, labels: dict[str, bool]) -> bool:
    """Whether a proposition is true, straight from the YAML."""
    if name in data["simple_propositions"]:
        return labels[name]
    return all(derived(data, part, labels) is value for part, value in data["derived_propositions"][name].items())


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_the_published_classes_on_all_gold_rows() -> None:
    text = (DATA / "proposition_prompts.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    imported = read(text)
    assert imported.is_readable
    assert {line.outcome for line in imported.account} == {"imported", "changed", "proposed", "skipped"}
    # No class overlaps another one, and none is missing, whatever an answer is like.
    assert [line.place for line in imported.account if line.outcome == "changed"] == ["simple_propositions"]
    assert not any("of none" in line.reason for line in imported.account)
    assert [line.place for line in imported.account if line.outcome == "skipped"] == ["prompt_template"]
    quoted = [line.place for line in imported.account if line.what == "answers quoted in the question"]
    assert len(quoted) == 19  # of 23: the questions of the others are about whole conversations
    compiled = compile_source(Source.of("grades.bylaw", imported.text))
    assert [(each.code, each.message) for each in compiled.diagnostics] == []
    order = class_order(compiled, "completion_class")
    assert list(order.names) == data["completion_class_order"]

    rows = [json.loads(line) for line in (DATA / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    read_rows = read_judgements(DATA / "train.jsonl")
    assert (len(rows), len(read_rows.labelled), read_rows.problems) == (351, 351, ())
    counts: Counter[str] = Counter()
    for row, labelled in zip(rows, read_rows.labelled, strict=True):
        kind = row["response_type"].lower().replace(" ", "_")
        classes = [
            name
            for name in data["completion_class_order"]
            if kind in data["completion_classes"][name]
            and all(
                derived(data, part, row["propositions"]) is value
                for part, value in data["completion_classes"][name][kind].items()
            )
        ]
        assert len(classes) == 1  # mutually exclusive, and each row has one
        rank = order.place(labelled)
        assert isinstance(rank, int), rank
        assert order.names[rank] == classes[0]
        counts[classes[0]] += 1
    assert counts == {
        "ideal": 149,
        "minimum_acceptable_style": 10,
        "unacceptable_completion": 151,
        "illogical_completion": 24,
        "disallowed_completion": 17,
    }


def test_how_to_go_on_is_said_and_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grades.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["import", "rbr", "grades.yaml", "--out", "grades.bylaw"])
    assert done.exit_code == 0, done.output
    said = done.stderr.splitlines()[-1]
    assert said.startswith("next, weights from answers whose class is known: `bylaw fit grades.bylaw --judgements ")
    lines = [
        {"prompt": f"p{n}", "response": "a", "response_type": "answer", "completion_class": kind,
         "propositions": {each: (kind == "best") == (each == "kind") for each in SMALL["simple_propositions"]}}
        for n, kind in enumerate(["best", "worst"] * 3)
    ]  # fmt: skip
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    fitted = CliRunner().invoke(main, [*said.split("`")[1].split()[1:], "--format", "json"])
    assert fitted.exit_code == 0, fitted.output
    assert any(row["fitted"] not in (None, 1.0) for row in json.loads(fitted.stdout)["rows"])
