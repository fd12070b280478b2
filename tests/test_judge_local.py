"""A judge in this process: the probability that an answer's first word is yes, against all that could be said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from decoding_models import Tiny
from scripted_judges import BLAMES

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.judges.interface import JudgeError
from bylaw.runtime.judges.local import LabelReader
from bylaw.runtime.judges.rubric import concept_rubric
from bylaw.runtime.models.interface import FloatArray, IntArray, ModelError, OutOfMemory, Vocabulary
from bylaw.runtime.scorers import local_judge
from bylaw.runtime.scorers._calibrated import examples_of, standing
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Question, ScorerError
from tinymodels import TabularModel, Tokens

STORIES = Path(__file__).parents[2] / "shared" / "data" / "models" / "stories260K-chat"
RUBRIC = concept_rubric(BLAMES)


# --------------------------------------------------------------------------------------------------------------- labels
@pytest.mark.parametrize(
    ("spelling", "labels"),
    [
        ((b"a", b"b", b"1", b" ", b"."), (("a",), ("b",))),
        ((b"a", b"b", b"1", b" ", b"."), (("ab", "ba"), ("b", "aa1"))),
        ((b"a", b"ab", b"b", b" ", b"b."), (("ab",), ("a", "b"))),
        ((b"no", b"yes", b"n", b"o.", b" y"), (("yes", "Yes"), ("no",))),
        ((b"no", b"t", b" no", b"n", b"ot "), (("no",), ("not",))),
        ((b" a", b"a ", b" ", b"a", b"b"), (("a",), ("b",))),
    ],
    ids=range(6),
)
def test_the_probability_of_a_label_is_that_of_all_answers_whose_first_word_it_is(
    spelling: tuple[bytes, ...], labels: tuple[tuple[str, ...], ...]
) -> None:
    model = TabularModel(seed=5)
    tiny = Tiny(model, spelling)
    responses, log_p = model.enumerate()
    wanted = np.zeros(len(labels))
    for response, chance in zip(responses, np.exp(log_p), strict=True):
        text = b"".join(spelling[token] for token in response).decode()
        for number, texts in enumerate(labels):
            wanted[number] += chance * (_first_word(text) in texts)
    reader = LabelReader(tiny, labels)
    found = np.exp(reader.log_probs([(model.eos_id,), (model.eos_id,)]))
    assert wanted.min() > 0
    np.testing.assert_allclose(found, [wanted, wanted], rtol=0, atol=1e-9)


def _first_word(text: str) -> str:
    """What stands before the first sign that is no letter or digit, after a space or not."""
    text = text.removeprefix(" ")
    end = next((place for place, char in enumerate(text) if not char.isalnum()), len(text))
    return text[:end]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ((("a",), ("b", "a")), "cannot be told apart: `a`"),
        ((("a",),), "two labels"),
        ((("a",), ()), "two labels"),
        ((("a",), (" ",)), "two labels"),
        ((("a",), ("x",)), "cannot spell the label `x`"),
        ((("yes", "Yes"), ("no", "No")), "cannot spell the label `yes`"),
    ],
    ids=str,
)
def test_labels_that_cannot_be_told_apart_are_refused(labels: tuple[tuple[str, ...], ...], told: str) -> None:
    with pytest.raises(JudgeError, match=told):
        LabelReader(Tiny(TabularModel()), labels)


def test_a_label_with_too_many_spellings_is_refused() -> None:
    with pytest.raises(JudgeError, match="too many ways"):
        LabelReader(Tiny(TabularModel(), (b"a", b"aa", b"aaa", b" ", b".")), (("a" * 30,), ("aa",)))


# ----------------------------------------------------------------------------------------------------------- the scorer
class _Session:
    def __init__(self, laws: list[FloatArray]) -> None:
        self.laws = laws
        self.depth = 0

    def log_probs(self) -> FloatArray:
        if self.depth:  # after the word comes the end
            law = np.full_like(self.laws[0], -np.inf)
            law[3] = 0.0
            return np.stack([law for _ in self.laws])
        return np.stack(self.laws)

    def advance(self, tokens: IntArray) -> None:
        self.depth += 1

    def select(self, indices: IntArray) -> None:
        self.laws = [self.laws[index] for index in indices]


_DIGITS = 6


@dataclass
class Sure:
    """A model of five tokens: yes, no, another word, the end, and a control word (a bar in a text is one). It is rather
    sure of yes where a text says `fault`; `sunk` of its answers begin with another word."""

    sunk: float = 0.1
    context: int | None = None
    prompts: list[str] = field(default_factory=list)
    name = "sure"
    digest = "sure"
    vocabulary = Vocabulary((b"yes", b"no", b"well", None, None), frozenset({3}))

    def encode_chat(self, messages: Sequence[dict[str, str]]) -> Tokens:
        self.prompts.append(messages[0]["content"])
        text = self.text(len(self.prompts) - 1)
        number = np.base_repr(len(self.prompts) - 1, 3).zfill(_DIGITS)
        return (*map(int, number), *(4 for char in text if char == "|"), *(0 for _ in text.split()))

    def text(self, number: int) -> str:
        return self.prompts[number].partition(">\n")[2].partition("\n</text")[0]

    def session(self, prompts: Sequence[Tokens]) -> _Session:
        texts = [self.text(int("".join(map(str, prompt[:_DIGITS])), 3)) for prompt in prompts]
        shares = [0.9 if "fault" in text else 0.2 for text in texts]
        shares = [share + 0.05 * math.sin(text.count("!")) for share, text in zip(shares, texts, strict=True)]
        rest = 1 - self.sunk
        laws = [np.log([rest * share, rest * (1 - share), self.sunk, 1e-300, 1e-300]) for share in shares]
        return _Session(laws)


def _scorer(model: Sure, labels: int, rough: bool = False) -> local_judge.LocalJudge:
    made = tuple(
        LabelledText(f"Case {i}{'!' * (i % 7)} {'your fault' if i % 2 else 'fine'}.", bool(i % 2))
        for i in range(labels)
    )
    making = Making({BLAMES.name: made}, is_rough_allowed=rough)
    reader = LabelReader(model, (("yes",), ("no",)))
    shown = {example.text for example in RUBRIC.examples}
    examples = [each for each in examples_of(BLAMES, making) if each.text not in shown]
    raw = [found.raw for found in local_judge.log_odds(reader, RUBRIC, [each.text for each in examples])]
    numbers = [value for value in raw if value is not None]
    return local_judge.LocalJudge(reader, RUBRIC, standing(BLAMES, examples, numbers, making), "digest")


def _ask(scorer: local_judge.LocalJudge, *texts: str):  # type: ignore[no-untyped-def]
    return scorer.score([Question(BLAMES, text) for text in texts])


def test_a_batch_that_does_not_fit_into_memory_is_halved() -> None:
    labels = (("a",), ("b",))
    prompts = [(5,)] * 4
    room, small = LabelReader(Tiny(TabularModel()), labels), LabelReader(Tiny(TabularModel(), room=4), labels)
    with pytest.raises(OutOfMemory):
        small.log_probs(prompts)
    assert local_judge._log_probs(small, prompts) == local_judge._log_probs(room, prompts)
    with pytest.raises(OutOfMemory):
        local_judge._log_probs(LabelReader(Tiny(TabularModel(), room=1), labels), prompts)


def test_beginnings_that_hardly_happen_are_not_followed() -> None:
    reader = LabelReader(Tiny(TabularModel(seed=2)), (("ab", "ba"), ("b", "aa1")))
    whole, most, some = (np.exp(reader.log_probs([(5,)], least)) for least in (-math.inf, -20.0, -1.0))
    np.testing.assert_allclose(most, whole, rtol=0, atol=1e-7)
    assert (some <= whole).all()
    assert some.sum() < whole.sum()


def test_odds_are_those_of_the_model() -> None:
    reader = LabelReader(Sure(), (("yes",), ("no",)))
    texts = ["Your fault.", "Thank you very much!", "Fine!!"]
    for found, text in zip(local_judge.log_odds(reader, RUBRIC, texts), texts, strict=True):
        share = (0.9 if "fault" in text else 0.2) + 0.05 * math.sin(text.count("!"))
        assert found.raw == pytest.approx(math.log(share / (1 - share)))
        assert found.mass == pytest.approx(0.9)


def test_calibrated_odds_are_scores_and_few_labels_are_none() -> None:
    scorer = _scorer(Sure(), 60)
    yes, no = _ask(scorer, "It is your fault!!!", "It is fine!!!")
    assert yes.score is not None
    assert no.score is not None
    assert yes.score > 0.8
    assert no.score < 0.2
    assert scorer.calibrations[BLAMES.name].positives == 31
    assert yes.record["mass"] == pytest.approx(0.9)
    few = _ask(_scorer(Sure(), 8), "It is your fault.")[0]
    assert (few.score, few.why) == (None, "uncalibrated")
    rough = _ask(_scorer(Sure(), 0, rough=True), "It is your fault.")[0]
    assert (rough.low, rough.high) == (0.0, 1.0)
    assert rough.score == pytest.approx(0.9)


def test_a_model_that_says_something_else_cannot_tell() -> None:
    (found,) = _ask(_scorer(Sure(sunk=0.97), 60), "It is your fault.")
    assert (found.score, found.why) == (None, "cannot_tell")
    assert "3.0%" in found.reason


def test_what_it_would_not_answer_calibrates_nothing() -> None:
    labels = tuple(
        LabelledText(f"{'It is your fault' if number % 2 else 'Thank you'}{'!' * number}", number % 2 == 1)
        for number in range(60)
    )
    concept = replace(BLAMES, scorer_argument="place")
    making = Making(labels={BLAMES.name: labels})
    for sunk, is_calibrated in ((0.1, True), (0.97, False)):
        reader = LabelReader(Sure(sunk=sunk), (("yes",), ("no",)))
        scorer = local_judge._scorer(concept, (), making, {"place": reader})
        assert bool(scorer.calibrations) is is_calibrated


def test_control_words_of_the_model_and_texts_that_do_not_fit_are_not_asked_about() -> None:
    scorer = _scorer(Sure(context=200), 60)
    control, long, fine = _ask(scorer, "fine | fault", "fault " * 300, "fine!!!")
    assert (control.score, control.why) == (None, "input")
    assert "control words" in control.reason
    assert (long.score, long.why) == (None, "input")
    assert "too long" in long.reason
    assert fine.score is not None


def test_a_text_that_the_model_saw_in_part_is_not_passed() -> None:
    found, blamed = _ask(_scorer(Sure(), 60), "fine " * 20_000 + "!!!", "fault " * 20_000 + "!!!")
    assert (found.score, found.why) == (None, "input")
    assert blamed.score is not None


def test_the_same_text_has_the_same_prompt_whenever_it_is_asked_about() -> None:
    model = Sure()
    reader = LabelReader(model, (("yes",), ("no",)))
    local_judge.log_odds(reader, RUBRIC, ["one", "two", "one"])
    asked = [prompt for prompt in model.prompts if "\none\n" in prompt]
    assert len(asked) == 2
    assert len(set(asked)) == 1
    assert asked[0].endswith("Answer:")


def test_what_makes_no_local_judge_is_told(tmp_path: Path) -> None:
    concept = replace(BLAMES, scorer="local_judge")
    for argument, told in ((None, "names no model"), ("nowhere", "no model directory")):
        with pytest.raises(ScorerError, match=rf"harbour\.blames_user.*{told}"):
            local_judge.make((replace(concept, scorer_argument=argument),), Making(base=tmp_path))


def test_a_model_that_fails_is_one_message() -> None:
    class Failing(Sure):
        def session(self, prompts: Sequence[Tokens]) -> _Session:
            raise ModelError("it broke")

    reader = LabelReader(Failing(), (("yes",), ("no",)))
    with pytest.raises(ScorerError, match="`sure` cannot be run: it broke"):
        local_judge.log_odds(reader, RUBRIC, ["x"])


@pytest.mark.skipif(not STORIES.is_dir(), reason="the model stories260K-chat is not here")
def test_a_real_model_is_read_in_labels_of_several_tokens() -> None:
    """It knows nothing of judging: what is shown is that the labels are read, in words of several tokens."""
    from dataclasses import replace

    concept = replace(BLAMES, scorer="local_judge", scorer_argument=str(STORIES), meaning="Blame.", like=(), unlike=())
    made = local_judge.make((concept,), Making(is_rough_allowed=True))[concept.name]
    one, other, long = made.score([Question(concept, text) for text in ("Tim.", "Lily.", "word " * 600)])
    for found in (one, other):
        assert 0 <= found.record["mass"] <= 1
        assert found.score is not None or found.why == "cannot_tell"
    assert long.why == "input"
    with pytest.raises(ScorerError, match="is the model under test"):
        local_judge.make((concept,), Making(options={"local_judge": {"model_under_test": "acme/stories260K-chat"}}))
