"""Functions of an author as scorers: run only when allowed, and no error of theirs is a score."""

import sys
from pathlib import Path

import pytest

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.scorers import function
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Question, Scored, ScorerError
from bylaw.spec.expression import Concept
from bylaw.spec.trace import Message, Trace

CODE = '''
from __future__ import annotations

def shouting(text):
    """The share of letters that are capitals."""
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) / len(letters) if letters else None

def answers_shouting(text, messages):
    return any(m["role"] == "user" and m["content"].isupper() for m in messages)

def wild(text):
    print("said", text)
    if text == "exit":
        raise SystemExit(3)
    if text == "escape":
        raise ValueError("\\x1b[31mred")
    if text == "raise":
        return 1 / 0
    numbers = {"word": "0.5", "bytes": b"1", "nan": float("nan"), "huge": 10 ** 400, "two": 2, "none": None}
    return [1] if text == "list" else numbers.get(text, 0)

async def slow(text):
    return 1

def of_two(text, other):
    return 1

NUMBER = 3
'''
SAID = (
    "stop that now", "where is my parcel", "the harbour is closed", "nobody told me", "give me a refund",
    "this lamp is broken", "answer the door", "who wrote this letter", "I will not wait", "read it again",
)  # fmt: skip
ASKED = (
    "Please do not.", "We ship on Monday.", "Thank you for asking.", "It is in the box.", "Your order is on its way.",
    "The guide has a page on it.", "A new bulb costs four crowns.", "We open at nine.", "Kind regards.", "That is all.",
)  # fmt: skip
LABELS = (*(LabelledText(text.upper(), True) for text in SAID), *(LabelledText(text, False) for text in ASKED))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checks.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import no_such_module_of_ours\n", encoding="utf-8")
    (tmp_path / "leaves.py").write_text("raise SystemExit('bye')\n", encoding="utf-8")
    return tmp_path


def concept(argument: str | None) -> Concept:
    return Concept("shouts", "Is written in capitals.", scorer="function", scorer_argument=argument)


def made(
    folder: Path, argument: str | None, labels: tuple[LabelledText, ...] = (), is_rough_allowed: bool = True
) -> ConceptScorer:
    making = Making(
        {"shouts": labels}, folder, options={"function": True}, is_rough_allowed=is_rough_allowed
    )  # fmt: skip
    return function.make((concept(argument),), making)["shouts"]


def ask(scorer: ConceptScorer, *texts: str, trace: Trace | None = None) -> list[Scored]:
    return list(scorer.score([Question(concept(None), text, trace) for text in texts]))


def test_no_function_is_run_without_leave(folder: Path) -> None:
    (folder / "checks.py").write_text("raise AssertionError('was run')\n", encoding="utf-8")
    for options in ({}, {"function": False}, {"function": 1}):
        with pytest.raises(ScorerError, match="--allow-functions only"):
            function.make((concept("checks.py:shouting"),), Making(base=folder, options=options))


def test_the_number_of_a_function_is_a_score_only_when_rough_scores_count(folder: Path) -> None:
    loud, quiet, wordless = ask(made(folder, "checks.py:shouting"), "STOP", "Stop", "...")
    assert (loud.score, loud.low, loud.high, loud.record["rough"]) == (1.0, 0.0, 1.0, True)
    assert quiet.score == 0.25
    assert (wordless.score, wordless.why) == (None, "cannot_tell")
    (answer,) = ask(made(folder, "checks.py:shouting", is_rough_allowed=False), "STOP")
    assert (answer.score, answer.why) == (None, "uncalibrated")
    assert "has 0 examples that do and 0 that do not; 9 of each are needed" in answer.reason
    assert answer.record["raw"] == 1.0


def test_labels_say_what_the_number_of_a_function_means(folder: Path) -> None:
    scorer = made(folder, "checks.py:shouting", LABELS, is_rough_allowed=False)
    loud, quiet = ask(scorer, "WHAT IS THIS", "what is this")
    assert loud.score is not None
    assert quiet.score is not None
    assert 0.5 < loud.low <= loud.score
    assert quiet.score <= quiet.high < 0.5
    # Between both, unlike any example: no answer.
    (between,) = ask(scorer, "WHAT is THIS thing")
    assert (between.score, between.why) == (None, "cannot_tell")
    assert "neither among examples that do nor among those that do not" in between.reason
    calibration = scorer.calibrations["shouts"]  # type: ignore[attr-defined]
    assert (calibration.positives, calibration.negatives, calibration.auc.value) == (10, 10, 1.0)


def test_copies_of_an_example_say_no_more_than_one(folder: Path) -> None:
    """Ten ways to write one text are no ten examples, though each is labelled."""
    copies = tuple(
        LabelledText(text, expresses)
        for number in range(10)
        for text, expresses in (
            (f"STOP THAT NOW {'A' * number}!", True),
            (f"Please do not, dear{'r' * number}.", False),
        )
    )
    one, other = (made(folder, "checks.py:shouting", labels, False) for labels in (LABELS, copies))
    assert one.calibrations["shouts"].groups == 20  # type: ignore[attr-defined]
    assert other.calibrations["shouts"].groups < 10  # type: ignore[attr-defined]
    assert ask(other, "WHAT IS THIS")[0].low < ask(one, "WHAT IS THIS")[0].low - 0.1


@pytest.mark.parametrize(
    ("text", "why", "reason"),
    [
        ("raise", "input", "`checks.py:wild` failed: ZeroDivisionError: division by zero"),
        ("exit", "input", "`checks.py:wild` failed: SystemExit: 3"),
        ("escape", "input", "`checks.py:wild` failed: ValueError: \\u{001b}[31mred"),
        ("word", "parse", "`checks.py:wild` gave '0.5', which is no number that it may give"),
        ("bytes", "parse", "`checks.py:wild` gave b'1', which is no number that it may give"),
        ("list", "parse", "`checks.py:wild` gave a `list`, which is no number"),
        ("nan", "parse", "`checks.py:wild` gave nan, which is no number that it may give"),
        ("huge", "parse", "`checks.py:wild` gave a number that is too large"),
        ("none", "cannot_tell", "`checks.py:wild` cannot tell"),
        ("two", "uncalibrated", "`checks.py:wild` gave 2; without labels its numbers have to lie between 0 and 1"),
    ],
)
def test_what_goes_wrong_in_a_function_leaves_its_text_unscored(folder: Path, text: str, why: str, reason: str) -> None:
    wrong, fine = ask(made(folder, "checks.py:wild"), text, "fine")
    assert (wrong.score, wrong.why, wrong.reason) == (None, why, reason)
    assert fine.score == 0.0


def test_a_function_may_read_the_conversation(folder: Path) -> None:
    scorer = made(folder, "checks.py:answers_shouting")
    assert (scorer.reads, made(folder, "checks.py:shouting").reads) == ("conversation", "text")
    messages = (Message("user", "WHERE IS IT"), Message("assistant", "There."))
    assert ask(scorer, "There.", trace=Trace(messages))[0].score == 1.0
    assert ask(scorer, "There.")[0].score == 0.0
    labels = tuple(
        LabelledText(f"Here {n}.", n % 2 == 0, prompt="WHERE" if n % 2 == 0 else "Where?") for n in range(20)
    )
    assert made(folder, "checks.py:answers_shouting", labels).calibrations["shouts"].auc.value == 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (None, 'which names no function; write `scored by function "FILE.py:NAME"`'),
        ("checks:shouting", "which names no function"),
        ("checks.py:not a name", "which names no function"),
        ("none.py:shouting", "which cannot be read: no such file"),
        ("broken.py:f", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module_of_ours'"),
        ("leaves.py:f", "cannot be loaded: SystemExit: bye"),
        ("checks.py:shoutin", "there is no function `shoutin` in .*; did you mean `shouting`?"),
        ("checks.py:NUMBER", "there is no function `NUMBER`"),
        ("checks.py:of_two", "cannot be called with a text: missing a required argument: 'other'"),
        ("checks.py:slow", "is `async`"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_message(folder: Path, argument: str | None, message: str) -> None:
    with pytest.raises(ScorerError, match=message.replace("(", r"\(")):
        made(folder, argument)


def test_a_function_that_fails_on_a_label_is_not_calibrated(folder: Path) -> None:
    labels = (*LABELS, LabelledText("...", True, place="labels.jsonl:21"))
    with pytest.raises(ScorerError, match=r"`shouts`, labels\.jsonl:21: `checks\.py:shouting` cannot tell"):
        made(folder, "checks.py:shouting", labels)


def test_the_digest_changes_with_code_and_labels_and_nothing_stays_loaded_under_another_name(folder: Path) -> None:
    first = made(folder, "checks.py:shouting")
    assert first.digest == made(folder, "checks.py:shouting").digest
    assert first.digest != made(folder, "checks.py:shouting", LABELS).digest
    assert first.digest != made(folder, "checks.py:wild").digest
    before = set(sys.modules)
    (folder / "checks.py").write_text("def shouting(text):\n    return 0.75\n", encoding="utf-8")
    changed = made(folder, "checks.py:shouting")
    assert changed.digest != first.digest
    assert ask(changed, "STOP")[0].score == 0.75
    assert {name for name in set(sys.modules) - before if "checks" in name} == set()
