"""Files of judgements: every form, what other tools write, and each thing that can be wrong with a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.audit.inputs import Limits, TranscriptError
from bylaw.runtime.judgements.comparisons import BLOCK, ClassOrder, Comparisons, add_examples, add_labelled, class_order
from bylaw.runtime.judgements.conflicts import disagreements
from bylaw.runtime.judgements.reader import LIMITS, Judgement, JudgementError, Judgements, read_judgements
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

POLICY = """
policy mill version "1.0.0" edition 1

concept warm means "Is kind to the reader."
concept cold means "Is unkind to the reader."

define good as response expresses warm and not response expresses cold
define fair as not response expresses cold

rule tone at user {
  prefer good over fair over response contains "late"
}
"""


def read(tmp_path: Path, *lines: Any, limits: Limits = LIMITS) -> Judgements:
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return read_judgements(path, limits)


def reason(tmp_path: Path, line: Any) -> str:
    """Why a line is left out, beside one that can be read."""
    found = read(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"}, line)
    assert len(found.judgements) == 1
    assert found.labelled == ()
    (problem,) = found.problems
    assert problem.line == 2
    return problem.message


def says(*turns: str) -> list[dict[str, str]]:
    """Messages: `user: hello`."""
    return [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]


# -------------------------------------------------------------------------------------------------------------- forms
def test_a_pair(tmp_path: Path) -> None:
    line = {"prompt": "Where?", "chosen": "Here.", "rejected": "No.", "margin": 0.5, "weight": 3, "topic": "post"}
    (found,) = read(tmp_path, line).judgements
    assert (found.place, found.margin, found.weight) == ("judged.jsonl:1", 0.5, 3.0)
    assert found.context == (Message("user", "Where?"),)
    assert [[trace.response for trace in tier] for tier in found.tiers] == [["Here."], ["No."]]
    assert found.tiers[0][0].facts == {"meta.topic": "post"}


def test_a_tie_and_a_ranking_with_labels(tmp_path: Path) -> None:
    tie = {"prompt": "p", "responses": ["a", {"response": "b", "labels": {"warm": True, "cold": 0.25}}], "tie": True}
    ranking = {"prompt": "p", "ranking": [["a"], ["b", "c"]], "facts": {"user.age": 7}}
    found = read(tmp_path, tie, ranking)
    assert [len(tier) for tier in found.judgements[0].tiers] == [2]
    assert found.judgements[0].tiers[0][1].scores == {("warm", "b"): 1.0, ("cold", "b"): 0.25}
    assert [len(tier) for tier in found.judgements[1].tiers] == [1, 2]
    assert found.judgements[1].tiers[1][1].facts == {"user.age": 7}
    made = Comparisons()
    for each in found.judgements:
        made.add(each)
    shown = [
        (made.answers[pair.better].response, made.answers[pair.worse].response, pair.tie, pair.group)
        for pair in made.pairs
    ]
    assert shown == [("a", "b", True, 0), ("b", "c", True, 0), ("a", "b", False, 0), ("a", "c", False, 0)]


def test_a_labelled_answer_in_both_spellings(tmp_path: Path) -> None:
    ours = {"prompt": "p", "response": "a", "class": "ideal", "labels": {"warm": 1}, "prompt_labels": {"post": 0.5}}
    theirs = {"prompt": says("user: p"), "completion": says("assistant: a"), "propositions": {"warm": True}}
    first, second = read(tmp_path, ours, theirs).labelled
    assert (first.kind, second.kind) == ("ideal", None)
    assert first.answer.messages == second.answer.messages
    assert first.answer.scores == {("warm", "a"): 1.0, ("post", "p"): 0.5}
    assert second.answer.scores == {("warm", "a"): 1.0}


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "Hi", "chosen": "a", "rejected": "b"},
        {"prompt": says("user: Hi"), "chosen": says("assistant: a"), "rejected": says("assistant: b")},
        {"messages": says("user: Hi"), "chosen": "a", "rejected": says("assistant: b")},
        {"chosen": says("user: Hi", "assistant: a"), "rejected": says("user: Hi", "assistant: b")},
        {
            "prompt": "Hi",
            "prompt_id": "7f",
            "messages": says("user: Hi", "assistant: a"),
            "chosen": says("user: Hi", "assistant: a"),
            "rejected": says("user: Hi", "assistant: b"),
            "score_chosen": 8.5,
            "score_rejected": 4.0,
        },
    ],
    ids=["texts", "messages", "mixed", "conversations", "binarised"],
)
def test_pairs_as_training_sets_write_them(tmp_path: Path, line: dict[str, Any]) -> None:
    found = read(tmp_path, line)
    assert found.problems == ()
    (judgement,) = found.judgements
    ((better,), (worse,)) = judgement.tiers
    assert better.messages == (Message("user", "Hi"), Message("assistant", "a"))
    assert worse.messages == (Message("user", "Hi"), Message("assistant", "b"))


def test_the_system_message_stands_before_the_prompt(tmp_path: Path) -> None:
    (found,) = read(tmp_path, {"system": "s", "prompt": "p", "chosen": "a", "rejected": "b"}).judgements
    assert found.context == (Message("system", "s"), Message("user", "p"))


# ------------------------------------------------------------------------------------------------------ what is wrong
PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}
WRONG: list[tuple[Any, str]] = [
    ("{", "the line is not JSON"),
    ("[1]", "the line is not a JSON object"),
    ("[" * 200_000, "nested too deeply"),
    ('{"prompt": "p", "chosen": "a", "rejected": "b", "margin": NaN}', "`NaN` is no JSON number"),
    ('{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 1e999}', "`margin` is not a number from 0 on"),
    ('{"prompt": "p", "chosen": "\\ud800", "rejected": "b"}', "half a surrogate pair"),
    ({}, "it has none of `chosen`"),
    ({"prompt": "p", "choosen": "a", "rejected": "b"}, "it has `rejected` without `chosen`"),
    ({"prompt": "p", "respons": "a"}, "did you mean `response"),
    ({"prompt": "p", "chosen": "a"}, "it has `chosen` without `rejected`"),
    ({"prompt": "p", "chosen": "a", "rejectd": "b"}, "is `rejectd` a slip?"),
    (PAIR | {"response": "a"}, "both `chosen` and `response`"),
    (PAIR | {"margin": -1}, "`margin` is not a number from 0 on"),
    (PAIR | {"margin": True}, "`margin` is not a number from 0 on"),
    (PAIR | {"margin": 1e6}, "`margin` is larger than 1,000"),
    (PAIR | {"weight": 0}, "`weight` is 0"),
    (PAIR | {"weight": "2"}, "`weight` is not a number from 0 on"),
    (PAIR | {"labels": {"warm": True}}, "`labels` are about one answer"),
    (PAIR | {"rejected": "a"}, "two of its answers are the same text"),
    (PAIR | {"rejected": 7}, "`rejected` is neither a text nor a list of messages"),
    (PAIR | {"rejected": {"text": "b"}}, "`rejected` is not an object with `response` and `labels`"),
    (PAIR | {"rejected": []}, "`rejected` is neither a text nor a list of messages"),
    (PAIR | {"rejected": says("user: p")}, "`rejected` does not end with an answer of the assistant"),
    (PAIR | {"rejected": says("user: q", "assistant: b")}, "a conversation in which `prompt` does not stand"),
    (PAIR | {"rejected": says("usr: b")}, "`rejected`: message 1 has the role `usr`"),
    (PAIR | {"prompt": 7}, "`prompt` is neither a text nor a list of messages"),
    (PAIR | {"prompt": says("user: p", "assistant: q")}, "the conversation ends with the assistant"),
    ({"chosen": "a", "rejected": "b"}, "it has neither `prompt` nor `messages`"),
    ({"chosen": says("assistant: a"), "rejected": "b"}, "`chosen` begins with the assistant, and there is no `prompt`"),
    (
        {"chosen": says("user: p", "assistant: a"), "rejected": says("user: q", "assistant: b")},
        "`chosen` and `rejected` answer different conversations",
    ),
    (
        {"prompt": says("user: p"), "chosen": says("user: q", "assistant: a"), "rejected": "b"},
        "a conversation that does not begin with `prompt`",
    ),
    (PAIR | {"system": 7}, "`system` is not a text"),
    (PAIR | {"facts": [1]}, "`facts` is not an object"),
    (PAIR | {"facts": {"a": [1]}}, "the fact `meta.a` is a list"),
    (PAIR | {"prompt_labels": {"warm": 2}}, "neither true, false nor a score from 0 to 1"),
    ({"prompt": "p", "responses": ["a", "b"]}, "`responses` are in no order"),
    ({"prompt": "p", "responses": ["a"], "tie": True}, "`responses` is not a list of 2 to 64 answers"),
    ({"prompt": "p", "responses": ["a", "b"], "tie": True, "margin": 1}, "this line has none of the two"),
    ({"prompt": "p", "ranking": ["a", "b"]}, "`ranking` is not a list of lists"),
    ({"prompt": "p", "ranking": [["a"], []]}, "`ranking` is not a list of lists"),
    ({"prompt": "p", "ranking": [["a"]]}, "`ranking` has not 2 to 64 answers"),
    ({"prompt": "p", "ranking": [[str(n)] for n in range(65)]}, "`ranking` has not 2 to 64 answers"),
    ({"prompt": "p", "response": "a", "class": 7}, "`class` is not the name of a class"),
    ({"prompt": "p", "response": "a", "margin": 1}, "this line has one answer"),
    ({"prompt": "p", "response": "a", "labels": {"warm": -0.1}}, "the label `warm` is neither"),
    ({"prompt": "p", "response": "a", "labels": {"warm": "yes"}}, "the label `warm` is neither"),
    ({"prompt": "p", "response": "a", "labels": ["warm"]}, "are not an object"),
    ({"prompt": "p", "response": {"response": "a"}, "labels": {}}, "`labels` are given twice"),
    ({"prompt": "a", "response": "a", "labels": {"w": 1}, "prompt_labels": {"w": 0}}, "`w` is labelled twice"),
    ({"prompt": [{"role": "user", "content": "p"}] * 1001, "response": "a"}, "`prompt` has more than 1,000 messages"),
]


@pytest.mark.parametrize(("line", "expected"), WRONG, ids=[expected[:40] for _, expected in WRONG])
def test_a_wrong_line_is_left_out_and_named(tmp_path: Path, line: Any, expected: str) -> None:
    assert expected in reason(tmp_path, line)


def test_a_key_that_looks_like_a_slip_is_told_once(tmp_path: Path) -> None:
    line = {"prompt": "Where?", "chosen": "Here.", "rejected": "No."}
    more = [{"wieght": 3}, {"wieght": 2, "topic": "post", "time": 3, "weights": 1}, {"Margin": 0.5, "tier": 1}, {}]
    found = read(tmp_path, *({**line, "chosen": f"Here {n}.", **extra} for n, extra in enumerate(more)))
    assert found.warnings == (
        "judged.jsonl:1: `wieght` was read as a fact; did you mean `weight`?",
        "judged.jsonl:2: `weights` was read as a fact; did you mean `weight`?",
        "judged.jsonl:3: `Margin` was read as a fact; did you mean `margin`?",
    )
    assert [each.weight for each in found.judgements] == [1.0] * 4
    assert found.problems == ()


def test_a_long_line_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, PAIR, PAIR | {"chosen": "a" * 2_000}, PAIR, limits=Limits(line_bytes=1_000))
    assert [problem.line for problem in found.problems] == [2]
    assert [each.place for each in found.judgements] == ["judged.jsonl:1", "judged.jsonl:3"]


def test_a_file_of_no_use_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="it is empty"):
        read(tmp_path)
    with pytest.raises(TranscriptError, match="line 1: the line is not a JSON object"):
        read(tmp_path, "7")
    with pytest.raises(TranscriptError, match="larger than 50 bytes"):
        read(tmp_path, PAIR, PAIR, limits=Limits(file_bytes=50))
    with pytest.raises(TranscriptError, match="there is no file"):
        read_judgements(tmp_path / "absent.jsonl")
    with pytest.raises(TranscriptError, match="is a directory"):
        read_judgements(tmp_path)
    (tmp_path / "judged.csv").write_text("prompt,chosen\n", encoding="utf-8")
    with pytest.raises(TranscriptError, match="unknown ending"):
        read_judgements(tmp_path / "judged.csv")


def test_only_so_many_problems_are_kept(tmp_path: Path) -> None:
    found = read(tmp_path, PAIR, *["7"] * 5, limits=Limits(problems=2))
    assert [problem.line for problem in found.problems] == [2, 3, 6]
    assert "3 more lines" in found.problems[-1].message


# --------------------------------------------------------------------------------------------------- orders of classes
def test_the_policy_ranks_answers_by_their_labels(tmp_path: Path) -> None:
    compiled = compile_source(Source.of("mill.bylaw", POLICY))
    order = class_order(compiled, None)
    assert order.names == ("good", "fair", 'response contains "late"')
    rows = [
        ("warmly", {"warm": 1, "cold": 0}, None),
        ("coldly", {"warm": 0, "cold": 1}, None),
        ("late, coldly", {"warm": 1, "cold": 1}, None),
        ("by name", {}, "fair"),
        ("nothing known", {}, None),
        ("misspelt", {}, "fare"),
    ]
    lines = [{"prompt": "p", "response": text, "labels": labels, "class": kind} for text, labels, kind in rows]
    found = read(tmp_path, *lines)
    assert [order.place(each) for each in found.labelled[:4]] == [0, 3, 2, 1]
    made = Comparisons()
    assert add_labelled(made, found.labelled, order, None, 0) == (1, 1, 1, 1)
    assert [(each.place, each.reason) for each in made.left_out] == [
        ("judged.jsonl:5", "its class cannot be told: no scorer has scored `warm`"),
        (
            "judged.jsonl:6",
            'there is no class `fare` among `good`, `fair`, `response contains "late"`; did you mean `fair`?',
        ),
    ]
    pairs = {(made.answers[pair.better].response, made.answers[pair.worse].response) for pair in made.pairs}
    ranked = ["warmly", "by name", "late, coldly", "coldly"]
    assert pairs == {(one, other) for n, one in enumerate(ranked) for other in ranked[n + 1 :]}


def test_an_order_by_name() -> None:
    compiled = compile_source(Source.of("mill.bylaw", POLICY))
    assert class_order(compiled, "good > bad").names == ("good", "bad")
    assert class_order(compiled, "tone").term is not None
    for wanted, message in (
        ("good>", "is no order of classes"),
        ("a>a", "is no order of classes"),
        ("tune", "did you mean `tone`"),
    ):
        with pytest.raises(JudgementError, match=message):
            class_order(compiled, wanted)
    none = compile_source(Source.of("mill.bylaw", 'rule a at user { should mention "oak" }'))
    with pytest.raises(JudgementError, match="need an order of classes"):
        class_order(none, None)


def test_answers_to_different_prompts_are_compared_in_blocks(tmp_path: Path) -> None:
    """Each answer stands in one block, so that blocks are independent of each other."""
    lines = [
        {"prompt": f"p{n}", "response": "a", "class": "xyz"[n % 3], "kind": "even" if n % 2 == 0 else "odd"}
        for n in range(6 * BLOCK + 3)
    ]
    labelled = read(tmp_path, *lines, {"prompt": "q", "response": "a", "class": "x"}).labelled
    order = ClassOrder(("x", "y", "z"))
    made = Comparisons()
    counts = add_labelled(made, labelled, order, "meta.kind", 1)
    assert sum(counts) == len(labelled)
    assert [each.reason for each in made.left_out] == ["the fact `meta.kind` is not given"]
    blocks: dict[int, set[int]] = {}
    for pair in made.pairs:
        assert made.answers[pair.better].facts == made.answers[pair.worse].facts
        blocks.setdefault(pair.group, set()).update((pair.better, pair.worse))
    assert all(len(members) <= BLOCK for members in blocks.values())
    assert sum(map(len, blocks.values())) == len(set().union(*blocks.values()))
    again = Comparisons()
    add_labelled(again, labelled, order, "meta.kind", 1)
    assert [(pair.place, pair.group) for pair in again.pairs] == [(pair.place, pair.group) for pair in made.pairs]
    apart = Comparisons()
    add_labelled(apart, labelled, order, None, 1)
    assert apart.pairs == []


@pytest.mark.parametrize("across", ["meta.kind", None])
def test_all_answers_to_a_prompt_are_of_one_group(tmp_path: Path, across: str | None) -> None:
    """Otherwise a prompt would be fitted in one fold and predicted in another, and resampled in parts."""
    sizes = [1, 2, 3, 70, BLOCK - 1, BLOCK + 1, 1, 1, 1, 200]
    lines = [
        {"prompt": f"p{n}", "response": f"a{number}", "class": "xy"[number % 2], "kind": "k"}
        for n, size in enumerate(sizes)
        for number in range(size)
    ]
    made = Comparisons()
    add_labelled(made, read(tmp_path, *lines).labelled, ClassOrder(("x", "y")), across, 3)
    groups: dict[str | None, set[int]] = {}
    for pair in made.pairs:
        for answer in (pair.better, pair.worse):
            groups.setdefault(made.answers[answer].text("prompt"), set()).add(pair.group)
    assert all(len(found) == 1 for found in groups.values())
    assert {"p3", "p9"} <= set(groups)
    assert len(made.pairs) <= 64 * sum(sizes)  # not all pairs of the large ones
    if across is None:
        assert len(set().union(*groups.values())) == len(groups)


def test_examples_that_comply_are_better_than_those_that_violate() -> None:
    text = """
rule a at user {
  should mention "oak"
  complies "An oak."
  violates "An elm."
  violates { user "Which?" assistant "None." }
  complies { user "Which?" assistant "Oak." }
  complies { user "Which wood?" assistant "Oak." }
}
"""
    compiled = compile_source(Source.of("trees.bylaw", text))
    made = Comparisons()
    add_examples(made, compiled, "trees.bylaw")
    shown = [(pair.place, made.answers[pair.better].response, made.answers[pair.worse].response) for pair in made.pairs]
    assert shown == [
        ("trees.bylaw:4 > trees.bylaw:5", "An oak.", "An elm."),
        ("trees.bylaw:7 > trees.bylaw:6", "Oak.", "None."),
    ]
    assert made.answers[0].text("prompt") == ""


# ------------------------------------------------------------------------------------------------------- disagreement
def compared(edges: Sequence[tuple[int, int]], ties: Sequence[tuple[int, int]] = ()) -> Comparisons:
    """Judgements between numbered answers to one prompt; the place of each says which."""
    made = Comparisons()
    asked = Message("user", "p")
    traces = {n: Trace((asked, Message("assistant", str(n)))) for edge in (*edges, *ties) for n in edge}
    for better, worse in edges:
        made.add(Judgement(f"{better}>{worse}", (asked,), ((traces[better],), (traces[worse],))))
    for one, other in ties:
        made.add(Judgement(f"{one}={other}", (asked,), ((traces[one], traces[other]),)))
    return made


def test_contradictions_and_circles_by_hand() -> None:
    found = disagreements(compared([(0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 2), (5, 6)], [(5, 6), (7, 8)]))
    assert [(each.kind, each.places) for each in found] == [
        ("contradiction", ("0>1", "1>0")),
        ("contradiction", ("5>6", "5=6")),
        ("cycle", ("2>3", "3>4", "4>2")),
    ]


def test_an_answer_that_is_better_than_itself_contradicts_itself_once() -> None:
    """Two people put one text into two classes: one judgement, which counts once."""
    asked = Message("user", "p")
    same = Trace((asked, Message("assistant", "a")))
    made = Comparisons()
    made.add(Judgement("1", (asked,), ((same,), (replace(same, id="other"),)), None, 3.0))
    (found,) = disagreements(made)
    assert (found.kind, found.places, found.judgements) == ("contradiction", ("1",), 3.0)


def test_facts_that_no_rule_reads_do_not_tell_answers_apart() -> None:
    asked, said = Message("user", "p"), [Message("assistant", text) for text in "ab"]
    made = Comparisons()
    for place, order in (("1", (0, 1)), ("2", (1, 0))):
        tiers = tuple((Trace((asked, said[n]), {"meta.who": place}),) for n in order)
        made.add(Judgement(place, (asked,), tiers))
    assert [each.kind for each in disagreements(made)] == ["contradiction"]
    assert disagreements(made, ["meta.who"]) == ()


@settings(max_examples=150, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: pair[0] != pair[1]), max_size=20))
def test_circles_are_found_where_there_are_any(edges: set[tuple[int, int]]) -> None:
    """Against taking away, again and again, what is never better or never worse."""
    found = disagreements(compared(sorted(edges)))
    both = {edge for edge in edges if edge[::-1] in edges}
    assert sum(each.kind == "contradiction" for each in found) == len(both) // 2
    left = edges - both
    while True:
        inner = {(a, b) for a, b in left if any(b == c for c, _ in left) and any(a == d for _, d in left)}
        if inner == left:
            break
        left = inner
    circles = [each for each in found if each.kind == "cycle"]
    assert bool(circles) == bool(left)
    for each in circles:
        steps = [tuple(map(int, place.split(">"))) for place in each.places]
        assert set(steps) <= edges
        assert [step[1] for step in steps] == [step[0] for step in (*steps[1:], steps[0])]


# --------------------------------------------------------------------------------------------------------- anything
KEYS = ["prompt", "messages", "chosen", "rejected", "responses", "tie", "ranking", "response", "class", "labels"]
KEYS += ["margin", "weight", "facts", "system", "completion", "prompt_labels", "role", "content", "meta", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["user", "assistant", "a", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_line_is_read_or_left_out(tmp_path: Path, data: dict[str, Any]) -> None:
    found = read(tmp_path, PAIR, data)
    assert len(found.judgements) + len(found.labelled) + len(found.problems) == 2
    for trace in (trace for each in found.judgements for tier in each.tiers for trace in tier):
        assert trace.response is not None
