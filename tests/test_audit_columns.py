"""Verdicts without texts: columns say what the evaluator says, parts join to the same, and it takes little memory."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence

import numpy as np
import pytest

from bylaw.compiler.evaluate import TermScore
from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.audit import tally
from bylaw.runtime.audit.audit import audit, gather, measure
from bylaw.runtime.audit.columns import (
    NOT_APPLICABLE,
    SATISFIED,
    UNSCORED,
    VIOLATED,
    PartBuilder,
    VerdictColumns,
    columns_of,
    is_asked,
    key_of,
    merge,
)
from bylaw.runtime.audit.prompts import prompts_of
from bylaw.runtime.audit.tally import Tallied, Tallier, score
from bylaw.runtime.record import to_json
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace, tool_call

RULES = """\
rule hard at user { must not mention "x" }
rule said at user { when prompt contains "w" should mention "y" weight 0.3 }
rule most at user { limit response contains "y" to at most 30% of responses for each prompt }
rule least at user { limit response contains "z" to at least 30% of responses }
rule many at user { limit average number of "k" in response to at most 3 }
rule asked at user { when user.vip must not mention "k" }
"""
COMPILED = compile_source(Source.of("rules.bylaw", RULES))
TERMS = COMPILED.require().terms


def conversations(count: int, seed: int = 0) -> list[Trace]:
    """Some without a question, some without an answer, many with the same question."""
    choose = random.Random(seed)
    found = []
    for number in range(count):
        asked = (Message("user", choose.choice(("q", "w w", "e  ee", ""))),) if choose.random() < 0.8 else ()
        said = (Message("assistant", choose.choice(("x", "y z", "k k", "z"))),) if choose.random() < 0.9 else ()
        facts = {"user.vip": choose.random() < 0.5} if choose.random() < 0.7 else {}
        found.append(Trace((*asked, *said), facts, f"t{number}" if choose.random() < 0.5 else ""))
    return found


def scores_of(traces: Sequence[Trace]) -> list[tuple[TermScore, ...]]:
    return [tuple(score(term, trace) for term in TERMS) for trace in traces]


def cut(traces: Sequence[Trace], sizes: Sequence[int]) -> VerdictColumns:
    builder, parts, first = PartBuilder(TERMS), [], 0
    for size in sizes:
        for row, trace in zip(scores_of(traces[first : first + size]), traces[first : first + size], strict=True):
            builder.add(row, trace)
        first += size
        parts.append(pickle.loads(pickle.dumps(builder.finish())))
    assert first == len(traces)
    return merge(TERMS, parts)


def test_columns_say_what_the_evaluator_says_of_each_transcript() -> None:
    traces = conversations(300)
    scores, columns = scores_of(traces), cut(traces, (1, 0, 37, 200, 62))
    assert columns.count == 300
    seen = set()
    for index, term in enumerate(TERMS):
        codes, values = columns.codes(index), columns.values(index)
        assert (codes.dtype, values.dtype, codes.shape, values.shape) == (np.uint8, np.float64, (300,), (300,))
        for row, code, value in zip(scores, codes.tolist(), values.tolist(), strict=True):
            found = row[index]
            seen.add((term.kind, term.sense, code))
            assert ("satisfied", "violated", "not applicable", "unscored")[code] == found.verdict.value
            assert np.isnan(value) if code in (NOT_APPLICABLE, UNSCORED) else value == found.value
    kinds = {(term.kind, term.sense) for term in TERMS if term.holds is not None}
    assert {(*kind, code) for kind in kinds for code in (SATISFIED, VIOLATED)} <= seen
    assert {code for *_, code in seen} == {SATISFIED, VIOLATED, NOT_APPLICABLE, UNSCORED}


@pytest.mark.parametrize("sizes", [(300,), (1,) * 300, (150, 150), (7, 0, 13, 280)])
def test_parts_join_to_the_same_columns_however_they_are_cut(sizes: tuple[int, ...]) -> None:
    traces = conversations(300)
    whole, parts = columns_of(TERMS, scores_of(traces), traces), cut(traces, sizes)
    for index in range(len(TERMS)):
        assert (whole.codes(index) == parts.codes(index)).all()
        assert np.array_equal(whole.values(index), parts.values(index), equal_nan=True)
    assert (whole.prompts == parts.prompts).all()
    assert (whole.keys, whole.names) == (parts.keys, parts.names)
    assert [parts.names[number] for number in parts.prompts.tolist()] == prompts_of(traces)
    assert list(dict.fromkeys(parts.prompts.tolist())) == list(range(parts.prompt_count))
    assert parts.is_clustered
    alone = columns_of(TERMS, scores_of(traces[:1]), traces[:1])
    assert (alone.is_clustered, alone.prompt_count) == (False, 1)


def test_no_transcripts_are_columns_of_none() -> None:
    columns = merge(TERMS, [])
    assert (columns.count, columns.prompt_count, columns.names, columns.keys) == (0, 0, (), ())
    assert columns.codes(0).shape == columns.values(4).shape == columns.prompts.shape == (0,)
    with pytest.raises(ValueError, match="6 columns for 1 terms"):
        merge(TERMS[:1], [cut(conversations(2), (2,)).parts[0]])
    with pytest.raises(ValueError, match="1 scores do not fit 6 terms"):
        PartBuilder(TERMS).add(scores_of(conversations(1))[0][:1], conversations(1)[0])


def test_a_key_says_which_question_it_is_in_every_audit() -> None:
    asked, said = Message("user", "When?"), Message("assistant", "At nine.")
    call = tool_call("hours", {"day": "1"})
    different = [
        (asked,), (Message("system", "Be brief."), asked), (Message("assistant", "When?"),), (asked, asked),
        (Message("user", "When? "),), (Message("user", ""),), (call, asked), (tool_call("hours", {"day": 1.0}), asked),
        (tool_call("hours", {"day": "1", "at": ""}), asked), (Message("assistant", "1"), asked),
        (Message("user", "Whe"), Message("user", "n?")), (Message("user", "\ud800"),),
    ]  # fmt: skip
    assert len({key_of(messages) for messages in different}) == len(different)
    assert all(len(key_of(messages)) == 16 and is_asked(key_of(messages)) for messages in different)
    equal = (tool_call("hours", {"day": 1.0}), asked), (tool_call("hours", {"day": 1}), asked)
    assert equal[0] == equal[1]
    assert key_of(equal[0]) == key_of(equal[1])
    first = columns_of(TERMS, scores_of([Trace((asked, said))]), [Trace((asked, said))])
    other = [Trace((said,)), Trace((Message("user", "Where?"), said)), Trace((asked, Message("assistant", "x")))]
    second = columns_of(TERMS, scores_of(other), other)
    assert first.keys[0] == second.keys[2] == key_of((asked,))
    assert [is_asked(key) for key in second.keys] == [False, True, True]


def test_keys_that_look_alike_are_told_apart() -> None:
    """Keys of which the halves are exchanged, or differ by the same bits."""
    one, two, zero = b"abcdefgh", b"ABCDEFGH", bytes(8)
    keys = [one + two, two + one, one + one, two + two, one + two, zero + one, one + zero, two + one]
    for part in (1, 3, 8):
        builder, parts = PartBuilder(TERMS[:1]), []
        for first in range(0, 8, part):
            own = [(key, "") for key in keys[first : first + part]]
            builder.add_rows(bytes(len(own)), {}, own)
            parts.append(builder.finish())
        columns = merge(TERMS[:1], parts)
        assert columns.prompts.tolist() == [0, 1, 2, 3, 0, 4, 5, 1]
        assert [columns.keys[number] for number in columns.prompts.tolist()][:5] == keys[:5]


def test_a_verdict_takes_less_than_a_bit_where_most_are_kept() -> None:
    """200 rules on 50,000 transcripts, of which each breaks one in twenty at random: one in twenty has 0.29 bits."""
    terms = TERMS[:1] * 200
    choose = np.random.default_rng(0)
    builder, parts = PartBuilder(terms), []
    for first in range(0, 50_000, 5_000):
        rows = (choose.random((5_000, 200)) < 0.05).astype(np.uint8)
        keys = [
            ((first + number) % 20_000).to_bytes(16, "little")[::-1].replace(b"\0", b"\1") for number in range(5_000)
        ]
        builder.add_rows(rows.tobytes(), {}, [(key, "What does the lamp cost?") for key in keys])
        parts.append(builder.finish())
    assert sum(len(code) for part in parts for code in part.codes) * 8 / 50_000 / 200 < 0.7
    # the keys of the questions are as much again: a million transcripts take less than 40 MB
    assert len(pickle.dumps(parts)) * 20 < 40_000_000


# ------------------------------------------------------------------------------------------------------- the record
def test_an_audit_of_parts_is_that_of_the_whole_bit_for_bit() -> None:
    traces = conversations(200, 1)
    program, options = COMPILED.require(), {"source": "t.jsonl", "policy": COMPILED.source}
    whole = measure(program, traces, **options)
    by_hand = audit(program, traces, clusters=prompts_of(traces), **options)
    assert to_json(whole.record) == to_json(by_hand)
    assert whole.record.clusters == whole.columns.prompt_count
    assert any("transcript " in finding.source for term in whole.record.terms for finding in term.findings)
    for sizes in ((1,) * 200, (3, 197), (50, 50, 50, 50)):
        for in_order in (True, False):
            tallier, parts, first = Tallier(TERMS, in_order=in_order), list[Tallied](), 0
            for size in sizes:
                parts.append(pickle.loads(pickle.dumps(tallier.part(traces[first : first + size]))))
                first += size
            found = gather(program, parts, **options)
            assert to_json(found.record) == to_json(whole.record)
            assert (found.columns.prompts == whole.columns.prompts).all()


def test_texts_that_pass_by_are_audited_as_those_that_are_held() -> None:
    traces = conversations(100, 2)
    program, options = COMPILED.require(), {"source": "t.jsonl", "policy": COMPILED.source}
    problems: list[str] = []

    def passing():  # type: ignore[no-untyped-def]
        yield from traces
        problems.append("the last one has come")

    def asked_for():  # type: ignore[no-untyped-def]
        assert problems, "problems are asked for before all has been read"
        return ()

    assert to_json(measure(program, passing(), problems=asked_for, **options).record) == to_json(
        measure(program, traces, **options).record
    )


def test_an_interrupt_among_many_leaves_whole_transcripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are scored together, all of a batch are there or none."""
    monkeypatch.setattr(tally, "_SCANNED_FROM", 500)

    def stop(done: int, _: int) -> None:
        if done > 500:
            raise KeyboardInterrupt

    found = measure(COMPILED.require(), conversations(1_600), source="t", policy=COMPILED.source, progress=stop)
    assert (found.record.complete, found.record.transcripts, found.columns.count) == (False, 1_000, 1_000)
    for index, term in enumerate(found.record.terms):
        assert term.applicable + term.unscored + term.not_applicable == 1_000
        assert len(found.columns.codes(index)) == 1_000
