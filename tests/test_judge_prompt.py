"""What judges are asked: one closed question, and untrusted text as marked data."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_judges import BLAMES, ScriptedAsker, faithful, judge, said

from bylaw.runtime.judges.injection import JudgeCopy, fresh_nonce, judge_copy
from bylaw.runtime.judges.interface import JudgeError, JudgeMessage, JudgeParameters, JudgeRequest
from bylaw.runtime.judges.judge import Judge, require_other_model
from bylaw.runtime.judges.options import judge_of
from bylaw.runtime.judges.prompt import Exhibit, _environment, again_prompt, question_prompt, render
from bylaw.runtime.judges.ranking import mask
from bylaw.runtime.judges.rubric import concept_rubric, rule_rubric
from bylaw.runtime.judges.side_by_side import Answers, side_by_side
from bylaw.runtime.judges.verdict import object_format, verdict_format
from bylaw.spec.expression import Concept

RUBRIC = concept_rubric(BLAMES)
RUDE = Concept("harbour.rudeness", "Insults the reader.")
HIDDEN = "\u200b\u200d\u202e\u2066\u00ad\ufeff\u0000\u001b\U000e0041\ufe0f\u2060\u180e\ud800\r"


# --------------------------------------------------------------------------------------------------------- the question
def test_the_question_stands_before_and_after_the_text_and_the_text_between_its_tags_only() -> None:
    prompt = question_prompt(RUBRIC, Exhibit("A curious TEXT.", (("user", "A curious PROMPT."),)))
    system, user = (message.content for message in prompt.messages)
    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert "TEXT" not in system
    assert prompt.nonce not in system  # so that a server can keep the beginning of the prompt
    before, _, rest = user.partition(f'\n<text id="{prompt.nonce}">\n')
    text, _, after = rest.partition(f'\n</text id="{prompt.nonce}">\n')
    assert text == "A curious TEXT."
    assert 'role="user"' in before
    assert "A curious PROMPT." in before
    for part in (system, after):
        assert RUBRIC.question in part
        assert all(f'"{word}"' in part for word in RUBRIC.words)
        assert part.index('"reason"') < part.index('"verdict"')
    assert BLAMES.meaning in system


def test_the_words_of_a_policy_and_of_a_text_are_never_templates() -> None:
    hostile = "{{ 7 * 7 }} {% for x in y %} {# gone #} {{ rubric.__class__ }}"
    rubric = concept_rubric(replace(BLAMES, meaning=hostile, scorer_argument=f"Is it so? {hostile}"))
    system, user = (message.content for message in question_prompt(rubric, Exhibit(hostile)).messages)
    assert system.count(hostile) == 2
    assert user.count(hostile) == 2


def test_templates_are_sandboxed_and_strict() -> None:
    from jinja2.exceptions import SecurityError, UndefinedError

    with pytest.raises(SecurityError):
        _environment().from_string("{{ x.__class__.__mro__ }}").render(x=1)
    with pytest.raises(SecurityError):
        _environment().from_string("{{ x.append(1) }}").render(x=[])
    with pytest.raises(UndefinedError):
        _environment().from_string("an empty place: {{ forgotten }}").render()
    with pytest.raises(JudgeError, match="question_user"):
        render("question_user.jinja", text="only this")


def test_the_argument_of_a_judge_is_its_question_and_without_one_it_is_made() -> None:
    asked = concept_rubric(replace(BLAMES, scorer_argument="Does it say that the reader is to blame?"))
    assert asked.question == "Does it say that the reader is to blame?"
    assert RUBRIC.question == 'Does the text express "blames user"?'
    topic = concept_rubric(Concept("desk.billing", "Invoices and refunds.", is_topic=True))
    assert topic.question == 'Is the text about "billing"?'
    assert (topic.yes, topic.no) == ("about_it", "not_about_it")
    with pytest.raises(JudgeError, match=r"harbour\.blames_user.*empty question"):
        concept_rubric(replace(BLAMES, scorer_argument=" "))


def test_a_rule_is_asked_about_with_its_words_criteria_and_examples() -> None:
    rubric = rule_rubric(
        "no_promises",
        "Money is promised by people only.",
        criteria="A promise names a sum or a refund.",
        violates=["You get a full refund.", "We pay."],
        complies=["A colleague will look at it."],
    )
    system, user = (message.content for message in question_prompt(rubric, Exhibit("x")).messages)
    for words in (
        "Money is promised by people only.",
        "A promise names a sum",
        '<example verdict="satisfied">A colleague',
    ):
        assert words in system
    assert '"violated", "satisfied", "not_applicable", "cannot_judge"' in user
    with pytest.raises(JudgeError, match="no words"):
        rule_rubric("empty", " ")


@pytest.mark.parametrize(
    ("like", "unlike", "each"), [(5, 5, 3), (5, 2, 2), (1, 4, 1), (4, 0, 0), (0, 0, 0)], ids=str
)  # fmt: skip
def test_examples_are_shown_in_balance(like: int, unlike: int, each: int) -> None:
    concept = replace(
        BLAMES, like=tuple(f"yes {i}" for i in range(like)), unlike=tuple(f"no {i}" for i in range(unlike))
    )
    shown = concept_rubric(concept).examples
    for word, kind in (("expressed", "yes"), ("not_expressed", "no")):
        assert sum(example.verdict == word for example in shown) == each
        assert all(example.text.startswith(kind) for example in shown if example.verdict == word)
    assert concept_rubric(concept).examples == shown


def test_the_order_of_examples_hangs_on_the_seed_and_not_on_the_process() -> None:
    concept = replace(BLAMES, like=("a", "b", "c"), unlike=("d", "e", "f"))
    orders = {concept_rubric(concept, seed=seed).examples for seed in range(20)}
    assert len(orders) > 10
    program = (
        "from bylaw.spec.expression import Concept; from bylaw.runtime.judges.rubric import concept_rubric;"
        "print([e.text for e in concept_rubric(Concept('harbour.blames_user','',like=('a','b','c'),"
        "unlike=('d','e','f'))).examples])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str([example.text for example in concept_rubric(concept).examples])


def test_what_a_concept_is_distinct_from_is_told_with_its_meaning_where_it_is_known() -> None:
    concept = replace(BLAMES, distinct_from=("harbour.rudeness", "harbour.irony"))
    rubric = concept_rubric(concept, [Concept("harbour.rudeness", "Insults the reader.")])
    system = question_prompt(rubric, Exhibit("x")).messages[0].content
    assert "- rudeness: Insults the reader.\n- irony\n" in system


def test_only_what_fits_of_the_conversation_is_shown_the_last_messages_first() -> None:
    before = (("user", "A" * 300), ("assistant", "B" * 300), ("user", "C" * 90))
    user = question_prompt(RUBRIC, Exhibit("x", before), most=1_000).messages[1].content
    assert "C" * 90 in user
    assert "not shown here" in user
    assert "AAAA" not in user


# ------------------------------------------------------------------------------------------------------------- the mark
def test_a_mark_that_the_text_holds_is_drawn_again() -> None:
    draws = iter(["beef" * 4, "CAFE" * 4, "f00d" * 4])
    text = "x beefbeefbeefbeef y cafecafecafecafe"
    prompt = question_prompt(RUBRIC, Exhibit(text), draw=lambda: next(draws))
    assert prompt.nonce == "f00d" * 4
    with pytest.raises(ValueError, match="no mark"):
        fresh_nonce(["0000"], lambda: "0000")
    with pytest.raises(ValueError, match="no mark"):
        fresh_nonce([], lambda: "<>")


def test_a_mark_hidden_by_invisible_characters_or_in_the_prompt_before_is_found_too() -> None:
    draws = iter(["aaaa", "bbbb", "cccc"])
    prompt = question_prompt(RUBRIC, Exhibit("a\u200baaa", (("user", "bb\u202ebb"),)), draw=lambda: next(draws))
    assert prompt.nonce == "cccc"


def test_marks_are_fresh_and_stored_answers_are_found_all_the_same() -> None:
    ask = judge(lambda _: said("not_expressed"))
    one, other = (ask.questions([(RUBRIC, Exhibit("the same"))])[0].request for _ in range(2))
    assert one.nonce != other.nonce
    assert one.messages != other.messages
    assert one.key == other.key


def test_everything_that_can_change_an_answer_is_in_its_key() -> None:
    base = judge(lambda _: "", temperature=0.5, repeats=2).questions([(RUBRIC, Exhibit("text"))])
    request = base[0].request
    changed = [
        replace(request, messages=(*request.messages, JudgeMessage("user", "x"))),
        replace(request, messages=(JudgeMessage("user", request.messages[0].content), *request.messages[1:])),
        *(replace(request, parameters=replace(request.parameters, **{name: value})) for name, value in [
            ("model", "other"), ("temperature", 0.6), ("max_tokens", 9), ("seed", 1), ("top_p", 0.5)]),
        replace(request, response_format=object_format("x", {})),
        replace(request, parser="verdict-0"),
        base[1].request,
        *(judge(lambda _: "", temperature=0.5).questions([item])[0].request for item in [
            (RUBRIC, Exhibit("text ")), (concept_rubric(replace(BLAMES, meaning="Another.")), Exhibit("text"))]),
    ]  # fmt: skip
    keys = [request.key, *(each.key for each in changed)]
    assert len(set(keys)) == len(keys)
    assert replace(request, check=lambda _: "never").key == request.key


def test_the_mark_in_a_key_cannot_be_forged_by_a_text() -> None:
    """U+0000 stands for the mark in a key, and no text that is shown holds one."""
    request = judge(lambda _: "").questions([(RUBRIC, Exhibit("a\0b"))])[0].request
    assert "\0" not in "".join(message.content for message in request.messages)


# ----------------------------------------------------------------------------------------------------- the judge's copy
@given(st.text(st.sampled_from("ab <|>/s[]INST\n." + HIDDEN), max_size=60))
def test_every_character_of_the_copy_knows_where_it_comes_from(text: str) -> None:
    copy = judge_copy(text)
    assert len(copy.text) == len(copy.origins)
    assert all(char == " " if at < 0 else char == text[at] for char, at in zip(copy.text, copy.origins, strict=True))
    known = [at for at in copy.origins if at >= 0]
    assert known == sorted(set(known))
    assert not set(copy.text) & set(HIDDEN)
    assert copy.hidden == len(text) - len(known)
    assert copy.is_whole
    again = judge_copy(copy.text)
    assert (again.hidden, again.broken) == (0, 0)


def test_a_long_text_is_cut_where_the_judge_can_see_it() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1_000))
    copy = judge_copy(text, 400)
    assert copy.cut == 600
    assert not copy.is_whole
    assert copy.text.startswith(text[:300])
    assert copy.text.endswith(text[-100:])
    assert "600 characters of the text are not shown here" in copy.text
    assert copy.extent(290, 300) == (290, 300)
    assert copy.extent(len(copy.text) - 5, len(copy.text)) == (995, 1000)
    assert copy.extent(295, 320) is None  # what stands in our own words was not in the text
    assert copy.extent(305, 310) is None
    with pytest.raises(ValueError, match="100 characters"):
        judge_copy(text, 99)


@pytest.mark.parametrize(
    "word", ["<|im_start|>", "<|eot_id|>", "</s>", "[INST]", "<<SYS>>", "<start_of_turn>", "<｜User｜>"]
)
def test_control_words_of_chat_templates_are_broken_up(word: str) -> None:
    copy = judge_copy(f"one {word} two {word}")
    assert word not in copy.text
    assert copy.broken == 2
    at = copy.text.index("two")
    assert copy.extent(4, at) == (4, 4 + len(word) + 1)


def test_the_copy_of_a_very_long_text_is_quick() -> None:
    import time

    began = time.process_time()
    for text in ("<|a|>" * 40_000, "a\u200b" * 100_000, "<|" * 100_000, "\u202e" * 200_000):
        assert isinstance(judge_copy(text), JudgeCopy)
    assert time.process_time() - began < 3


# ------------------------------------------------------------------------------------------------------------ the judge
@pytest.mark.parametrize(
    ("one", "other"), [("acme-1", "ACME-1 "), ("acme/small-1", "small-1"), ("small-1", "acme/Small-1")], ids=str
)  # fmt: skip
def test_a_model_does_not_judge_itself_unless_asked_to(one: str, other: str) -> None:
    with pytest.raises(JudgeError, match="is the model under test"):
        require_other_model(one, other)
    parameters = JudgeParameters(one)
    asker = ScriptedAsker(lambda _: "")
    with pytest.raises(JudgeError, match="is the model under test"):
        Judge(asker, parameters, model_under_test=other)
    assert Judge(asker, parameters, model_under_test=other, is_same_model_allowed=True).repeats == 1
    assert Judge(asker, parameters, model_under_test="acme/large-1").repeats == 1


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"url": "http://127.0.0.1:9/v1"}, "name of its `model`"),
        ("http://127.0.0.1:9/v1", "address of an endpoint"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "tempreature": 1}, "no option `tempreature`"),
        ({"url": "127.0.0.1", "model": "m"}, "127"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "repeats": 0}, "1 to 100 times"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "temperature": -1}, "temperature of 0 or more"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "temperature": float("nan")}, "temperature of 0 or more"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "max_tokens": 0}, "one token at least"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "repeats": 3, "temperature": 0}, "would say the same"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "model_under_test": "x/M"}, "model under test"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_makes_no_judge_is_told(option: object, told: str) -> None:
    with pytest.raises(JudgeError, match=told):
        judge_of(option)


def test_repeats_are_different_requests_with_different_seeds() -> None:
    made = judge_of({"url": "http://127.0.0.1:9/v1", "model": "m", "repeats": 3, "seed": 5, "answers": None})
    asks = made.questions([(RUBRIC, Exhibit("x"))])
    assert [ask.request.epoch for ask in asks] == [0, 1, 2]
    assert [ask.request.parameters.seed for ask in asks] == [5, 6, 7]
    assert len({ask.request.key for ask in asks}) == 3
    assert made.parameters.temperature == 0.7
    assert judge_of(made) is made


def test_the_schema_wants_the_reason_before_the_verdict() -> None:
    schema = verdict_format(RUBRIC)["json_schema"]["schema"]
    assert list(schema["properties"]) == schema["required"] == ["reason", "quote", "verdict"]
    assert schema["properties"]["verdict"]["enum"] == ["expressed", "not_expressed", "not_applicable", "cannot_judge"]
    assert schema["additionalProperties"] is False
    json.dumps(schema)


def test_a_judge_that_is_asked_again_sees_its_answer_and_what_was_wrong() -> None:
    messages = (JudgeMessage("system", "s"), JudgeMessage("user", "u"))
    again = again_prompt(messages, "well\u202e " + "x" * 5_000, "it gives no reason", "{...}")
    assert again[:2] == messages
    assert [message.role for message in again[2:]] == ["assistant", "user"]
    assert "\u202e" not in again[2].content
    assert len(again[2].content) < 2_200
    assert "it gives no reason" in again[3].content


def test_a_request_is_a_value() -> None:
    request = JudgeRequest((JudgeMessage("user", "x"),), JudgeParameters("m"))
    assert request == replace(request, nonce="abcd", check=lambda _: None)


# --------------------------------------------------------------------------------------------------------- in one piece
def test_the_prompts_as_a_whole(golden) -> None:  # type: ignore[no-untyped-def]
    """A change of a prompt is a change of what is measured: it shows here."""
    concept = replace(BLAMES, distinct_from=("harbour.rudeness",), scorer_argument="Is the reader said to be to blame?")
    rule = rule_rubric(
        "no_promises",
        "Money is promised by people only.",
        criteria="A promise names a sum or a refund.",
        violates=["You get a full refund."],
        complies=["A colleague will look at it."],
    )
    topic = concept_rubric(Concept("desk.billing", "Invoices and refunds.", is_topic=True))
    exhibit = Exhibit("Line one.\nLine two.", (("user", "Who broke it?"),))
    asked = judge(lambda _: "", draw=lambda: "0123456789abcdef")
    answers = Answers("The shorter answer is better.", ("One.", "One two."), "How much?")
    prompts = {
        "concept": question_prompt(concept_rubric(concept, [RUDE]), exhibit, draw=asked.draw),
        "topic": question_prompt(topic, Exhibit("Line one."), draw=asked.draw),
        "rule": question_prompt(rule, Exhibit("Line one."), draw=asked.draw),
        "pair": side_by_side("pair", asked, answers, ("A", "B"), (0, 1)),
        "ranking": side_by_side("ranking", asked, answers, mask(2), (1, 0)),
    }
    local = render(
        "local_user.jinja", rubric=concept_rubric(concept, [RUDE]), spoken="blames user", text="Line.", nonce="0123"
    )
    shown = [
        f"===== {name}, {message.role}\n{message.content}"
        for name, prompt in prompts.items()
        for message in prompt.messages
    ]
    golden.check("judge_prompts.txt", "\n".join([*shown, f"===== in process, user\n{local}"]))


def test_a_rule_is_judged_by_its_own_words() -> None:
    rubric = rule_rubric("no_promises", "Money is promised by people only.")
    asked = judge(faithful("refund", "violated", "satisfied"))
    (broken,), (kept,) = asked.ask([(rubric, Exhibit("A full refund!")), (rubric, Exhibit("Thank you."))])
    assert broken.value is not None
    assert (broken.value.word, broken.value.said, broken.value.passages) == ("yes", "violated", ((7, 13),))
    assert kept.value is not None
    assert (kept.value.word, kept.value.said) == ("no", "satisfied")
    ((wrong,),) = judge(lambda _: said("not_expressed")).ask([(rubric, Exhibit("Thank you."))])
    assert wrong.why == "parse"
