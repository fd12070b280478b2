"""`bylaw import ifeval`: every instruction type by example, the published prompts, and what cannot be read."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.importers import importer
from bylaw.compiler.importers.ifeval import INSTRUCTIONS
from bylaw.compiler.importers.interface import Imported, ImportFailure, Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.spec import ast
from bylaw.spec.parser import parse
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

PROMPTS = Path(__file__).parents[2] / "shared" / "data" / "ifeval" / "input_data.jsonl"


def record(*instructions: tuple[str, dict[str, Any]], key: Any = 7, prompt: str = "Write.") -> str:
    names = [name for name, _ in instructions]
    values = [arguments for _, arguments in instructions]
    return json.dumps({"key": key, "prompt": prompt, "instruction_id_list": names, "kwargs": values})


def read(text: str, suite: str | None = None) -> Imported:
    return importer("ifeval").read(text, Naming("prompts", suite))


def module_of(imported: Imported) -> ast.Module:
    return parse(Source.of("imported.bylaw", imported.text)).require()


# what each instruction says, shown by one answer that obeys it and one that does not
TYPES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["elm", "oak"]}, "An oak and an Elm.", "An oak and elms."),
    (
        "keywords:frequency",
        {"keyword": "elm", "relation": "at least", "frequency": 2},
        "Elm, elm.",
        "An elm, two elms.",
    ),
    ("keywords:frequency", {"keyword": "elm", "relation": "less than", "frequency": 2}, "An elm.", "Elm elm."),
    ("keywords:forbidden_words", {"forbidden_words": ["elm", "a+"]}, "Elms.", "No a+ here."),
    ("keywords:letter_frequency", {"letter": "q", "let_relation": "at least", "let_frequency": 2}, "Qq", "Q"),
    ("keywords:letter_frequency", {"letter": "#", "let_relation": "less than", "let_frequency": 2}, "# one", "##"),
    (
        "language:response_language",
        {"language": "de"},
        "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter.",
        "This is quite an ordinary English sentence about the weather.",
    ),
    ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 2}, "One.", "One. Two."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\nb\n***\nc"),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "a b c", "a b"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"first_word": "elm", "num_paragraphs": 2, "nth_paragraph": 2},
        'Trees.\n\n"Elm" is one.',
        "Trees.\n\nElms are some.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] [city]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Hi\np.p.s. bye", "Hi P.P.S. bye"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b\n1. c", "* a\n- b\n- c"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "My answer is no. Sorry."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a*"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        "PART 1\n**PART II**",
        "PART 1",
    ),
    ("detectable_format:json_format", {}, '{"a": 1}', "{a: 1}"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```\n', "```json\n{a: 1}\n```"),
    ("detectable_format:json_format", {}, "```\n[]\n```", "```\n[]\n```\nHere you are."),
    ("detectable_format:title", {}, "<<A title>>\nText", "<<>> text"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:two_responses", {}, "one ****** two", "one ****** two ****** three"),
    ("combination:repeat_prompt", {"prompt_to_repeat": 'Say "hi".\n'}, 'Say "hi".\nHi', "Hi"),
    ("startend:end_checker", {"end_phrase": "Is that all?"}, "Yes. Is that all?\n", "Is that all? No."),
    ("startend:quotation", {}, ' "All of it." \n', '"All" of it.'),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        "ONE and TWO",
        "ONE and two",
    ),
    (
        "change_case:english_capital",
        {},
        "THIS IS QUITE AN ORDINARY SENTENCE ABOUT THE WEATHER.",
        "This is quite an ordinary sentence about the weather.",
    ),
    (
        "change_case:english_lowercase",
        {},
        "this is quite an ordinary sentence about the weather.",
        "das ist ein ganz gewöhnlicher satz über das wetter von heute.",
    ),
    ("punctuation:no_comma", {}, "No comma", "A, b"),
]


def test_all_types_are_shown() -> None:
    assert {name for name, *_ in TYPES} == set(INSTRUCTIONS)
    assert len(INSTRUCTIONS) == 25


def verdicts(program: Any, answer: str, key: float) -> set[Verdict]:
    trace = Trace((Message("user", "Write."),), {"meta.key": key}).answered(answer)
    return {score.verdict for score in evaluate(program, trace).terms}


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), TYPES, ids=lambda value: str(value)[:40])
def test_a_type_says_what_its_words_say(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    imported = read(record((name, {**arguments, "unrelated": None})))
    assert imported.is_exact, imported.account
    program = compile_source(Source.of("imported.bylaw", imported.text)).require()
    assert verdicts(program, good, 7.0) <= {Verdict.SATISFIED, Verdict.NOT_APPLICABLE}
    assert Verdict.SATISFIED in verdicts(program, good, 7.0)
    assert Verdict.VIOLATED in verdicts(program, bad, 7.0)
    assert verdicts(program, bad, 8.0) == {Verdict.NOT_APPLICABLE}


SKIPPED = [
    (("keywords:existence", {}), "the argument `keywords` is missing"),
    (("keywords:existence", {"keywords": None}), "the argument `keywords` is missing"),
    (("keywords:existence", {"keywords": ["", "x"]}), "the argument `keywords` is not a list of texts"),
    (("length_constraints:number_words", {"relation": "around", "num_words": 3}), "neither `at least` nor"),
    (("length_constraints:number_words", {"relation": "at least", "num_words": -3}), "not a whole number from 0 up"),
    (("length_constraints:number_words", {"relation": "at least", "num_words": True}), "not a whole number from 0 up"),
    (("keywords:letter_frequency", {"letter": "ab"}), "`ab` is not one letter"),
    (("emoji:count", {}), "this type of instruction is not known"),
]


@pytest.mark.parametrize(("instruction", "reason"), SKIPPED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_written_is_named_and_the_rest_stays(
    instruction: tuple[str, dict[str, Any]], reason: str
) -> None:
    imported = read(record(("punctuation:no_comma", {}), instruction))
    assert [(line.place, line.what, line.outcome) for line in imported.account] == [
        ("line 1", "prompt 7: punctuation:no_comma", "imported"),
        ("line 1", f"prompt 7: {instruction[0]}", "skipped"),
    ]
    assert reason in imported.account[1].reason
    assert "must have no commas" in imported.text


def test_an_argument_that_means_nothing_is_named() -> None:
    (line,) = read(record(("punctuation:no_comma", {"num_commas": 3}))).account
    assert (line.outcome, line.reason) == ("changed", "the argument `num_commas` means nothing here")


UNREADABLE = ["{", "[]", "{}", record(key=True), record(key=""), record(prompt=" "), '{"key": 1, "prompt": "a"}']


@pytest.mark.parametrize("line", UNREADABLE)
def test_lines_that_are_no_records(line: str) -> None:
    imported = read(f"\ufeff{record(('punctuation:no_comma', {}))}\n\n{line}\n")
    assert [entry.place for entry in imported.account if entry.outcome == "unreadable"] == ["line 3"]
    assert not imported.is_readable
    with pytest.raises(ImportFailure, match="line 1"):
        read(line)


def test_two_prompts_with_one_key_and_a_prompt_without_rules() -> None:
    one = ("punctuation:no_comma", {})
    imported = read("\n".join([record(one), record(one), record(key="a b"), record(one, key="a b")]))
    assert [rule.name.text for rule in module_of(imported).items if isinstance(rule, ast.RuleDecl)] == [
        "key_7",
        "key_a_b",
    ]
    skipped = [(line.place, line.reason) for line in imported.account if line.outcome == "skipped"]
    assert [place for place, _ in skipped] == ["line 2", "line 3"]
    assert 'when meta.key == "a b"' in imported.text


def test_an_instruction_that_the_repeated_request_breaks_is_a_wish() -> None:
    request = {"prompt_to_repeat": "Say it right, right now"}
    instructions = [
        ("keywords:frequency", {"keyword": "right", "relation": "less than", "frequency": 2}),
        ("keywords:forbidden_words", {"forbidden_words": ["it"]}),
        ("keywords:forbidden_words", {"forbidden_words": ["now"]}),  # it may go on: nowhere
        ("punctuation:no_comma", {}),
    ]
    imported = read(record(("combination:repeat_prompt", request), *instructions))
    assert [line.outcome for line in imported.account] == ["imported", "changed", "changed", "imported", "changed"]
    assert 'should not mention any of ["it"]' in imported.text
    assert 'must not mention any of ["now"]' in imported.text
    assert compile_source(Source.of("imported.bylaw", imported.text)).ok


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip), st.text())
def test_no_text_leaves_its_quotes(word: str, key: str, title: str) -> None:
    instructions = [
        ("keywords:existence", {"keywords": [word]}),
        (title, {}),
        ("startend:end_checker", {"end_phrase": word}),
    ]
    imported = read(record(*instructions, key=key))
    (rule,) = module_of(imported).items
    assert isinstance(rule, ast.RuleDecl)
    said = {node.value for node in ast.walk(rule) if isinstance(node, ast.Text)}
    assert {"".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in word.strip()), key} <= said


@pytest.mark.skipif(not PROMPTS.exists(), reason="the published prompts are not here")
def test_all_published_prompts() -> None:
    text = PROMPTS.read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    imported = read(text, suite="prompts.jsonl")
    assert Counter(line.outcome for line in imported.account) == {"imported": 829, "changed": 5}
    assert {line.what.split()[1].rstrip(":") for line in imported.account if line.outcome == "changed"} == {
        *("1627", "3369", "3371", "3718", "374"),
    }
    written = [line.what.split(": ", 1)[1] for line in imported.account]
    assert Counter(written) == Counter(name for one in records for name in one["instruction_id_list"])
    assert set(written) == set(INSTRUCTIONS)
    module = module_of(imported)
    names = [item.name.text for item in module.items if isinstance(item, ast.RuleDecl)]
    fenced = {
        f"key_{one['key']}_fenced" for one in records if "detectable_format:json_format" in one["instruction_id_list"]
    }
    assert len(fenced) == 17
    assert sorted(names) == sorted([*(f"key_{one['key']}" for one in records), *fenced])
    assert [item.name.text for item in module.items if isinstance(item, ast.SuiteDecl)] == ["prompts"]
    without_suite = Source.of("imported.bylaw", read(text).text)
    compiled = compile_source(without_suite)
    assert {found.code for found in compiled.diagnostics} <= {"P402"}, "sound, but for questions that stay open"
    assert {term.rule for term in compiled.require().terms} == set(names)
    rows = [json.loads(line) for line in imported.suite.splitlines()]
    assert rows == [{"prompt": one["prompt"], "meta": {"key": one["key"]}} for one in records]
