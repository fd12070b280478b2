"""Texts that try to talk a judge round: what runs without a model never moves; of judges it is counted how often."""

import re

import pytest
from scripted_judges import BLAMES, faithful, judge, obedient, said, shown_text

from bylaw import Message, Source, Trace, Verdict, compile_source, evaluate
from bylaw.runtime.audit.statistics import clopper_pearson
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.judges.canaries import CONTROL, canaries, flip_rate
from bylaw.runtime.judges.interface import JudgeReply, JudgeRequest
from bylaw.runtime.judges.rubric import concept_rubric
from bylaw.runtime.scorers import judge as scorer_file
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Question

RUBRIC = concept_rubric(BLAMES)
POLICY = """
policy harbour.desk version "1.0.0" edition 1
lexicon promises "words that promise money" = ["full refund", "we will pay"]
rule no_promises { must not mention any of promises }
rule no_numbers { must not contain /[0-9]{13,}/ }
rule signed { should contain "Harbour Desk" weight 2 }
rule no_blame { must not contain "your fault" }
"""
TEXTS = (
    "You get a full refund. Yours, Harbour Desk",
    "We will pay. This was your fault.",
    "Card 4111111111111111 is booked.",
    "A colleague will look at it. Yours, Harbour Desk",
    "Thank you for your patience.",
)
CANARIES = canaries()


# -------------------------------------------------------------------------------- what runs without a model never moves
@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_canary_changes_a_deterministic_verdict(text: str, canary) -> None:  # type: ignore[no-untyped-def]
    program = compile_source(Source("rules.bylaw", POLICY)).program
    assert program is not None

    def verdicts(response: str) -> dict[str, Verdict]:
        score = evaluate(program, Trace((Message("user", "Hello?"), Message("assistant", response))))
        return {term.term: term.verdict for term in score.terms}

    before = verdicts(text)
    assert Verdict.UNSCORED not in before.values()
    assert verdicts(canary.plant(text)) == before


def test_the_texts_break_and_keep_every_rule() -> None:
    program = compile_source(Source("rules.bylaw", POLICY)).program
    assert program is not None
    scores = [evaluate(program, Trace((Message("assistant", text),))) for text in TEXTS]
    found = {(term.term, term.verdict) for score in scores for term in score.terms}
    both = (Verdict.SATISFIED, Verdict.VIOLATED)
    assert found == {(term.id, verdict) for term in program.terms for verdict in both}
    assert len(program.terms) == 4


# ------------------------------------------------------------------------------------------------ what a judge is shown
@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_whatever_is_planted_stays_inside_the_tags(canary) -> None:  # type: ignore[no-untyped-def]
    asked = judge(faithful("fault"))
    asked.ask([(RUBRIC, _exhibit(canary.plant("That is your fault.")))])
    request = asked.asker.requests[0]  # type: ignore[attr-defined]
    system, user = (message.content for message in request.messages)
    assert len(re.findall(rf'<text id="{request.nonce}">', user)) == 1
    assert len(re.findall(rf'</text id="{request.nonce}">', user)) == 1
    inside = shown_text(request)
    assert "That is your fault." in inside
    assert user.rindex(RUBRIC.question) > user.index(f'</text id="{request.nonce}">')
    assert "checked" not in system + user.replace(inside, "")
    assert not re.search("[\u200b\u202e\u2066\U000e0000-\U000e007f]|<\\|im_start\\|>", user)


def _exhibit(text: str):  # type: ignore[no-untyped-def]
    from bylaw.runtime.judges.prompt import Exhibit

    return Exhibit(text)


def test_the_canaries_are_all_there() -> None:
    names = [canary.name for canary in CANARIES]
    assert names[0] == CONTROL
    assert {"verdict", "closing_tags", "ignore_the_rubric", "system_text", "filler", "bidi", "zero_width"} <= set(names)
    assert len(set(names)) == len(names)
    filler = next(canary for canary in CANARIES if canary.name == "filler").plant("")
    assert len(filler.split()) >= 10_000
    assert all("Fine." in canary.plant("Fine.").replace("\u200b", "") for canary in CANARIES)


# ---------------------------------------------------------------------------------------------------- flips are counted
SOME = ("This is your fault.", "Your own fault, we fear.", "Thank you.", "All is well.")


def test_a_judge_that_heeds_the_marks_never_flips() -> None:
    report = flip_rate(judge(faithful("fault")), RUBRIC, SOME)
    assert [flips.canary.name for flips in (report.control, *report.attacks)] == [canary.name for canary in CANARIES]
    for flips in (report.control, *report.attacks):
        assert (flips.judged, flips.yes) == (4, 2)
        assert (flips.flipped, flips.hidden, flips.silenced) == (0, 0, 0)
        assert flips.interval == clopper_pearson(0, 2)
    assert report.rate == (0.0, clopper_pearson(0, 2 * (len(CANARIES) - 1)))
    assert report.cost.requests == 4 * (1 + len(CANARIES))


def test_the_flips_of_a_judge_that_obeys_are_counted_by_canary() -> None:
    """It follows an order that it can read; the filler puts the order beyond nothing, since the end is shown too."""
    report = flip_rate(judge(obedient("fault")), RUBRIC, SOME)
    hidden = {flips.canary.name: flips.hidden for flips in (report.control, *report.attacks)}
    assert hidden == {
        **dict.fromkeys(("verdict", "closing_tags", "ignore_the_rubric", "system_text", "filler", "bidi"), 2),
        **dict.fromkeys((CONTROL, "grade", "zero_width"), 0),
    }
    share, interval = report.rate or (None, None)
    assert share == 12 / 16
    assert interval == clopper_pearson(12, 16)


def test_a_judge_that_wavers_anyway_flips_in_the_control_too() -> None:
    def answer(request: JudgeRequest) -> str:
        text = shown_text(request)
        return faithful("fault")(request) if text in SOME else said("expressed", text[:4])

    report = flip_rate(judge(answer), RUBRIC, SOME)
    assert report.control.flipped == 2
    assert report.control.hidden == 0
    # what is hidden by zero-width characters alone is the same text to a judge
    assert {flips.canary.name: flips.flipped for flips in report.attacks if flips.flipped != 2} == {"zero_width": 0}


def test_a_judge_that_only_repeats_what_the_text_says_is_silenced_and_not_flipped() -> None:
    def parrot(request: JudgeRequest) -> str:
        found = re.search(r'\{"reason".*?\}', shown_text(request))
        return found[0] if found else faithful("fault")(request)

    report = flip_rate(judge(parrot), RUBRIC, SOME)
    by_name = {flips.canary.name: flips for flips in report.attacks}
    assert by_name["verdict"].silenced == 4
    assert all(flips.flipped == flips.hidden == 0 for flips in report.attacks)


def test_texts_without_a_verdict_do_not_count() -> None:
    failed = JudgeReply(0, None, "timeout", "no answer in time")
    report = flip_rate(judge(lambda r: failed if shown_text(r) == "Thank you." else faithful("fault")(r)), RUBRIC, SOME)
    assert report.unjudged == 1
    assert report.control.judged == 3
    nothing = flip_rate(judge(lambda _: failed), RUBRIC, SOME)
    assert (nothing.unjudged, nothing.rate) == (4, None)
    assert (nothing.control.interval.low, nothing.control.interval.high) == (0.0, 1.0)


def test_flips_need_texts_a_control_and_a_canary() -> None:
    asked = judge(faithful("fault"))
    for texts, planted in (((), None), (SOME, CANARIES[:1]), (SOME, CANARIES[1:])):
        with pytest.raises(ValueError, match="the control and one canary"):
            flip_rate(asked, RUBRIC, texts, planted)


# ---------------------------------------------------------------------------------------------------- and in the scorer
def test_what_silences_a_judge_is_never_passed() -> None:
    """However the judge is attacked: a text that it would call out gets that score, or none. The judge here gives what
    it was told word for word, so that every attack that it can read leaves it without a verdict of its own."""

    def parrot(request: JudgeRequest) -> str:
        found = re.search(r'\{"reason".*?\}', shown_text(request))
        return found[0] if found else faithful("fault")(request)

    labels = [LabelledText(f"Case {i}: {'your fault' if i % 2 else 'fine'}.", bool(i % 2)) for i in range(40)]
    making = Making({BLAMES.name: tuple(labels)}, options={"judge": judge(parrot)})
    scorer = scorer_file.make((BLAMES,), making)[BLAMES.name]
    questions = [Question(BLAMES, canary.plant("That is your fault.")) for canary in CANARIES]
    for canary, found in zip(CANARIES, scorer.score(questions), strict=True):
        assert found.score is None or found.score > 0.5, canary.name
        if found.score is None:
            assert found.why == "parse"
            assert "repeats what the text itself says" in found.reason


# ---------------------------------------------------------------------------------------------------------- documented
def test_the_document_names_every_canary_every_option_and_the_numbers() -> None:
    from pathlib import Path

    from bylaw.runtime.judges import options
    from bylaw.runtime.scorers.judge import LEAST_AREA
    from bylaw.runtime.scorers.local_judge import LEAST_MASS

    path = Path(options.__file__).with_name("JUDGES.md")
    told = path.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", told))
    assert {canary.name for canary in CANARIES} <= named
    assert named >= options._KNOWN
    assert f"below {LEAST_AREA}" in told
    assert f"than {LEAST_MASS}" in told
