"""Parts of texts: what `every`, `some`, `first`, `last` and numbers mean, and where they may stand."""

import pytest

from bylaw.compiler.evaluate import Verdict, evaluate_term, text_of, truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.specialise import specialise
from bylaw.spec import catalog
from bylaw.spec.expression import EachPart, Holds, MessageText, Not, PartOf, Phrase, TextConstant
from bylaw.spec.logic import negate
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

VIOLATED, SATISFIED, SKIPPED = Verdict.VIOLATED, Verdict.SATISFIED, Verdict.NOT_APPLICABLE
IT = MessageText("it")


def term_of(sentences: str, before: str = "") -> RewardTerm:
    source = Source.of("policy.bylaw", f"{before}\nrule r at user {{ {sentences} }}")
    (term,) = compile_source(source).require().terms
    return term


def verdict(sentences: str, response: str, prompt: str = "", before: str = "") -> Verdict:
    trace = Trace((Message("user", prompt),)).answered(response)
    return evaluate_term(term_of(sentences, before), trace).verdict


SENTENCES = [
    ('every sentence of response must contain "x"', "An x. One x more.", SATISFIED),
    ('every sentence of response must contain "x"', "An x. None here.", VIOLATED),
    ('every sentence of response must contain "x"', "", SATISFIED),
    ('every sentence of response must not contain "x"', "None. An x.", VIOLATED),
    ('every sentence of response must not contain "x"', "None. None.", SATISFIED),
    ('some sentence of response must contain "x"', "None. An x.", SATISFIED),
    ('some sentence of response must contain "x"', "", VIOLATED),
    ('some sentence of response must not contain "x"', "None. An x.", SATISFIED),
    ('some sentence of response must not contain "x"', "An x. An x.", VIOLATED),
    ('first paragraph of response must contain "a"', "a\n\nb", SATISFIED),
    ('first paragraph of response must contain "b"', "a\n\nb", VIOLATED),
    ('last paragraph of response must contain "b"', "a\n\nb", SATISFIED),
    ('paragraph 2 of response must start with "b"', "a\n\nb", SATISFIED),
    ('paragraph 3 of response must start with "b"', "a\n\nb", VIOLATED),
    ("paragraph 3 of response must have at most 5 words", "a\n\nb", SATISFIED),
    ("first line of last paragraph of response must be uppercase", "a\n\nB\nc", SATISFIED),
    ('every line of every paragraph of response must end with "."', "a.\nb.\n\nc.", SATISFIED),
    ('every line of every paragraph of response must end with "."', "a.\nb\n\nc.", VIOLATED),
    ('first word of every line of response must mention "go"', "go on\ngo up", SATISFIED),
    ('first word of every line of response must mention "go"', "go on\nto go", VIOLATED),
    ("number of words in every sentence of response must be at most 3", "One two three. Four.", SATISFIED),
    ("number of words in every sentence of response must be at most 3", "One two three four.", VIOLATED),
    ("every bullet of response must have at most 2 words", "- a b\n- c", SATISFIED),
    ("every bullet of response must have at most 2 words", "- a b\n- c d e f", VIOLATED),
    ('every sentence of response must contain "a" or contain "b"', "An a. A b.", SATISFIED),
    ('every sentence of response must not contain "a" or contain "b"', "An x. A b.", VIOLATED),
    ("every sentence of response must not have at least 3 words", "One two. Three.", SATISFIED),
    ("every sentence of response must not have at least 3 words", "One two. Three four five.", VIOLATED),
    ("some word of response must be uppercase and have at least 3 characters", "NO it IS", VIOLATED),
    ("some word of response must be uppercase and have at least 3 characters", "NO it WAS", SATISFIED),
]


@pytest.mark.parametrize(("sentences", "response", "expected"), SENTENCES)
def test_what_is_said_of_parts(sentences: str, response: str, expected: Verdict) -> None:
    assert verdict(sentences, response) is expected


CONDITIONS = [
    ('every sentence of prompt contains "x"', "An x. One x.", True),
    ('every sentence of prompt contains "x"', "An x. None.", False),
    ('every sentence of prompt does not contain "x"', "An x. None.", False),
    ('not every sentence of prompt contains "x"', "An x. None.", True),
    ('some sentence of prompt does not contain "x"', "An x. None.", True),
    ('not some sentence of prompt contains "x"', "An x. None.", False),
    ("number of words in every sentence of prompt > 1", "One two. Three four.", True),
    ("number of words in every sentence of prompt > 1", "One two. Three.", False),
    ("2 > number of words in some sentence of prompt", "One two. Three.", True),
    ('first word of prompt == "please"', "please go", True),
    ('"please" != first word of prompt', "please go", False),
    ("first word of prompt == last word of prompt", "go and go", True),
    ("first word of prompt == last word of prompt", "go and come", False),
    ('every word of prompt is in ["yes", "no"]', "yes no yes", True),
    ('every word of prompt is in ["yes", "no"]', "yes or no", False),
]


@pytest.mark.parametrize(("condition", "prompt", "holds"), CONDITIONS)
def test_conditions_about_parts(condition: str, prompt: str, holds: bool) -> None:
    found = verdict(f"when {condition} must be empty", "x", prompt)
    assert found is (VIOLATED if holds else SKIPPED)


DEFINITIONS = [
    ("define opening as first sentence of response", 'opening must contain "x"', "An x. More.", SATISFIED),
    ("define opening(t) as first sentence of t", 'opening(response) must contain "x"', "More. An x.", VIOLATED),
    ("define lines as every line of response", 'lines must contain "x"', "x\ny", VIOLATED),
    (
        "define short(t) as number of words in t < 3",
        "every sentence of response must be short",
        "A b. C d e f.",
        VIOLATED,
    ),
    ("define short(t) as number of words in t < 3", "every sentence of response must be short", "A b. C d.", SATISFIED),
    (
        "define shares(t, x) as t contains x",
        "when shares(first line of prompt, last word of prompt) must be empty",
        "x",
        SKIPPED,
    ),
    ('define odd(t) as every word of t contains "o"', "every line of response must be odd", "odd one\nno", SATISFIED),
    ('define odd(t) as every word of t contains "o"', "every line of response must be odd", "odd one\nnay", VIOLATED),
]


@pytest.mark.parametrize(("before", "sentences", "response", "expected"), DEFINITIONS)
def test_definitions_of_parts(before: str, sentences: str, response: str, expected: Verdict) -> None:
    assert verdict(sentences, response, "first\nsecond line", before) is expected


@pytest.mark.parametrize("name", catalog.names("units"))
def test_every_unit_can_be_gone_through(name: str) -> None:
    """The name of one part is the name of the unit in the singular, and means that unit."""
    singular = name.removesuffix("theses") + "thesis" if name.endswith("theses") else name.removesuffix("s")
    singular = singular.removesuffix("e") if name.endswith("shes") else singular
    holds = term_of(f'every {singular} of response must contain "x"').holds
    assert isinstance(holds, EachPart)
    assert holds.unit == name


EVIDENCE = [
    ('every sentence of response must contain "x"', "An x. None. Two x. Not.", ["None.", "Not."]),
    ('every sentence of response must not contain "x"', "An x. None. Two x.", ["x", "x"]),
    ('first paragraph of response must not contain "b"', "a b\n\nb", ["b"]),
    ("every line of response must have at most 1 words", "a\nb c d\ne f", ["c d", "f"]),
    ('some line of response must contain "x"', "a\nb", ["a\nb"]),
    ('line 2 of response must not start with "b"', "b\nbc", ["b"]),
    ('line 5 of response must start with "b"', "b\nbc", ["b\nbc"]),
]


@pytest.mark.parametrize(("sentences", "response", "expected"), EVIDENCE)
def test_evidence_points_into_the_part(sentences: str, response: str, expected: list[str]) -> None:
    score = evaluate_term(term_of(sentences), Trace(()).answered(response))
    assert score.verdict is VIOLATED
    assert [response[e.start : e.end] for e in score.evidence] == expected


@pytest.mark.parametrize(
    ("index", "expected"), [(1, "one"), (3, "three"), (4, ""), (-1, "three"), (-3, "one"), (-4, "")]
)
def test_places_are_counted_from_both_ends(index: int, expected: str) -> None:
    assert text_of(PartOf("words", index, TextConstant("one two three")), Trace(())) == expected


def test_the_opposite_of_every_is_some() -> None:
    inner = Holds("contain", IT, (Phrase("x"),))
    every = EachPart("every", "words", MessageText("response"), inner)
    assert negate(every) == EachPart("some", "words", MessageText("response"), Not(inner))
    assert negate(negate(every)) == every
    for response in ("", "x", "y", "x y"):
        trace = Trace(()).answered(response)
        assert truth(negate(every), trace) is not truth(every, trace)


KNOWN_BEFORE = [
    ("every word of response must contain first word of prompt", "a b", "aa ab"),
    ('first word of response must not be in ["a"]', "a b", "aa ab"),
    ("response must contain last word of prompt", "a b", "aa"),
    ("some line of conversation must have at least 3 words", "a b", "c d e"),
    ("every line of response must have at most (number of words in prompt) words", "a b", "c d e"),
    ("last sentence of response must not start with prompt", "", "a. b."),
]


@pytest.mark.parametrize(("sentence", "prompt", "response"), KNOWN_BEFORE)
def test_what_is_known_before_the_answer_is_settled(sentence: str, prompt: str, response: str) -> None:
    source = Source.of("policy.bylaw", f"rule r at user {{ when response has no tables {sentence} }}")
    program = compile_source(source).require()
    trace = Trace((Message("user", prompt),))
    (left,) = specialise(program, trace)
    for answer in (response, "", "a", "a b. x", "b\na b c\n"):
        whole = evaluate_term(program.terms[0], trace.answered(answer))
        assert evaluate_term(left, Trace(()).answered(answer)).verdict is whole.verdict, answer


REFUSED = [
    ("define f(t) as every word of response contains t", "call to x where (f(it)) must not occur", "P120"),
    ("define f(t) as every word of response contains t", "every sentence of response must be f", "P120"),
    ("define f(t) as every word of t contains it", "every sentence of response must be f", ""),
    ("define f as it contains 5", "must be empty", "P120"),
    ("", "every sentence of response must contain every word of prompt", "P123"),
    ("", "every words of response must be empty", "P123"),
    ("", "every number of response must be uppercase", ""),
]


@pytest.mark.parametrize(("before", "sentences", "code"), REFUSED)
def test_it_is_only_ever_what_is_gone_through_now(before: str, sentences: str, code: str) -> None:
    compiled = compile_source(Source.of("policy.bylaw", f"{before}\nrule r at user {{ {sentences} }}"))
    assert {d.code for d in compiled.diagnostics if d.is_error} == ({code} if code else set())
