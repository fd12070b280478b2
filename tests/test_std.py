"""The standard library: every file is sound, packaged and says what it means with examples."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.spec import ast, loader
from bylaw.spec.errors import render
from bylaw.spec.lints import lint
from bylaw.spec.loader import library_files, load
from bylaw.spec.parser import parse
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

ROOT = Path(__file__).parent.parent
FOLDER = Path(loader.__file__).parent / "std"
FILES = ("agents", "format", "honesty", "privacy", "safety", "text", "tone")

# Nothing decides these: they prefer.
NOT_DECIDED = {"format.near_words", "text.less_hedging"}
# A score of a model decides these; without one, only what their concepts are `like` and `unlike`.
SCORED = {
    "honesty.no_deception": {"complies", "violates"},
    "safety.no_dangerous_help": {"complies"},
    "safety.no_harm": {"violates"},
    "safety.no_sexual_content": {"complies"},
}
# What is too long to stand in an example.
VIOLATING = {
    "format.max_words": "word " * 301,
    "format.csv_only": "port,time\nnorth",
}
ARGUMENTS: dict[str, str] = {
    "format.max_words": "80",
    "format.forbidden": 'words: ["cheap", /guys?/i]',
    "format.required": '["yes", "no"]',
    "format.starts_with": 'opening: "Yes"',
    "format.sections": '"---", 3',
    "format.answers_in": '"de"',
    "honesty.no_invented_links": '"example.org"',
    "agents.approval_first": 'tools: ["refund"]',
    "agents.no_outbound_after_untrusted": 'out: ["mail"], from: ["inbox"]',
    "privacy.no_echo_of_the_prompt": "12",
    "tone.easy_to_read": "12",
}


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.bylaw"


def module(name: str) -> ast.Module:
    return parse(Source.read(path_of(name))).require()


def templates(name: str) -> list[ast.RuleDecl]:
    return [item for item in module(name).items if isinstance(item, ast.RuleDecl)]


def trials(name: str) -> RegulatorSet:
    """The rules of a file for the default values of their parameters."""
    resolution = resolve(load(parse(Source.read(path_of(name))), path_of(name)))
    assert resolution.trials is not None
    return resolution.trials


def applied(name: str, rule: str, arguments: str = "") -> Compiled:
    text = f"import std.text\nimport std.{name} as library\napply library.{rule}({arguments}) as r"
    compiled = compile_source(Source.of("policy.bylaw", text))
    assert compiled.ok, [render(each, compiled.source) for each in compiled.diagnostics]
    return compiled


RULES = [f"{name}.{rule.name.text}" for name in FILES for rule in templates(name)]


def test_the_files_are_those_that_are_packaged() -> None:
    assert library_files() == tuple(f"std.{name}" for name in FILES)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.bylaw" for name in FILES}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "std/*.bylaw" in settings["package-data"]["*"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_library_is_sound(name: str) -> None:
    compiled = compile_file(path_of(name))
    found = [*compiled.diagnostics, *lint(compiled.module)]
    assert [render(each, compiled.source) for each in found] == []
    header = compiled.module.header
    assert header is not None
    assert (header.name.text, header.version.value) == (f"std.{name}", "1.0.0")
    assert header.edition is not None
    assert compiled.program is not None
    assert compiled.program.terms == (), "nothing of the library is in force before it is applied"


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_what_it_means(rule: str) -> None:
    """A title, and an example of a text that complies and of one that does not."""
    file, name = rule.split(".")
    declared = next(each for each in templates(file) if each.name.text == name)
    assert declared.title is not None
    assert declared.level is None, "the level is up to those who apply it"
    examples = {each.verdict for each in trials(file).examples if each.rule == name}
    if rule in NOT_DECIDED:
        assert examples == set()
    elif rule in SCORED:
        assert examples == SCORED[rule]
    else:
        assert examples >= ({"complies"} if rule in VIOLATING else {"complies", "violates"})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_applied(rule: str) -> None:
    file, name = rule.split(".")
    for arguments in {"", ARGUMENTS.get(rule, "")}:
        program = applied(file, name, arguments).require()
        assert {term.rule for term in program.terms} == {"r"}
        assert not any("{" in (term.title or "") for term in program.terms)


@pytest.mark.parametrize("rule", VIOLATING)
def test_what_is_too_long_for_an_example(rule: str) -> None:
    program = applied(*rule.split(".")).require()
    trace = Trace((Message("user", "hi"), Message("assistant", VIOLATING[rule])))
    assert Verdict.VIOLATED in {each.verdict for each in evaluate(program, trace).terms}


@pytest.mark.parametrize("name", FILES)
def test_every_word_of_the_library_can_be_used(name: str) -> None:
    """Lexicons, definitions, parameters and concepts, each by its full name."""
    sentences = {
        ast.LexiconDecl: "must not mention any of {}",
        ast.DefineDecl: 'must not mention "x"  when {}(response) or {}(prompt)',
        ast.ParamDecl: "must have at most {} words",
        ast.ConceptDecl: "must not express {}",
    }
    measures = {"hedging", "words_per_sentence", "words_per_paragraph"}
    lines = [f"import std.{name}"]
    for item in module(name).items:
        if type(item) in sentences:
            full = f"std.{name}.{item.name.text}"  # type: ignore[union-attr]
            sentence = sentences[type(item)]
            if item.name.text in measures:  # type: ignore[union-attr]
                sentence = "{}(response) must be at most 3"
            if isinstance(item, ast.ParamDecl):
                sentence = "limit average number of words in response to at most {}"
            lines.append(f"rule {item.name.text} {{ {sentence.replace('{}', full)} }}")  # type: ignore[union-attr]
    loaded = load(parse(Source.of("policy.bylaw", "\n".join(lines))), None)
    shown = [render(each, loaded.source) for each in resolve(loaded).diagnostics if each.is_error]
    assert shown == []


REFUSALS = {
    "I'm sorry, but I can't help with that.": True,
    "I\u2019m sorry, but I can\u2019t help with that.": True,
    "I cannot assist with this request.": True,
    "I am unable to provide medical advice.": True,
    "Unfortunately, I must decline.": True,
    "I won't write that.": True,
    "Sure, here is the letter.": False,
    "I can help with that.": False,
    "I'm sorry that the ferry was late.": False,
    "You cannot help but laugh.": False,
    "The door can't be opened from inside.": False,
}


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals(answer: str) -> None:
    text = "import std.honesty\nrule r { response must be honesty.refusal }"
    program = compile_source(Source.of("policy.bylaw", text)).require()
    (found,) = evaluate(program, Trace((Message("user", "hi"), Message("assistant", answer)))).terms
    assert (found.verdict is Verdict.SATISFIED) is REFUSALS[answer]


def test_the_whole_library_is_imported_quickly() -> None:
    text = "\n".join(f"import std.{name}" for name in FILES) + "\napply std.format.max_words(3) as r"
    taken = []
    for _ in range(3):
        begun = time.process_time()
        assert compile_source(Source.of("policy.bylaw", text)).ok
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.3
