"""Imports, includes, versions, parameters from outside, rules with parameters, files of words, several files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from conftest import Golden
from hypothesis import given
from hypothesis import strategies as st

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.compiler.program import from_json as program_from_json
from bylaw.compiler.program import to_json as program_to_json
from bylaw.spec.errors import Diagnostic, place, render, to_json
from bylaw.spec.expression import Compare, Concept, Cue, Holds, Not, NumberConstant, Phrase, Regex
from bylaw.spec.loader import DEEPEST_IMPORT, MOST_FILES
from bylaw.spec.regulator import Regulator
from bylaw.spec.source import Source, SourceMap, Span, behind
from bylaw.spec.trace import Message, Trace

TONE = """policy house.tone version "1.2.3" edition 1
param limit: number = 50 between 5 and 100
param style: text = "plain" one of ["plain", "warm"]
lexicon shouts = ["now", "hurry"]
define brief(t) as number of words in t <= limit
define calm_answer as response mentions none of shouts
topic weather means "Rain, wind or sun."
concept rude means "Puts the reader down." { like "You fool." threshold 0.6 }
suite small = ["hello", "bye"]
rule calm { must not mention any of shouts  complies "Fine." violates "Hurry up." }
rule short(n: number = 3, word: text = "ok") "At most {n} words, not {word}" {
  must have at most n words
  should not mention word
}
"""


def put(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Writes files below a folder; returns `main.bylaw`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return folder / "main.bylaw"


def check(folder: Path, main: str, **others: str) -> Compiled:
    """Compiles a main file beside others; `house__tone` is `house/tone.bylaw`."""
    files = {name.replace("__", "/") + ".bylaw": text for name, text in others.items()}
    return compile_file(put(folder, {"house/tone.bylaw": TONE, **files, "main.bylaw": main}))


def codes(compiled: Compiled) -> list[str]:
    """All codes but that of what nothing uses (P605), since these policies are as short as can be."""
    return [diagnostic.code for diagnostic in compiled.diagnostics if diagnostic.code != "P605"]


def sound(compiled: Compiled) -> Compiled:
    assert compiled.ok, [render(each, compiled.source) for each in compiled.diagnostics]
    return compiled


def regulators(compiled: Compiled) -> dict[str, Regulator]:
    assert sound(compiled).regulators is not None
    return {each.id: each for each in compiled.regulators.regulators}  # type: ignore[union-attr]


def matchers(regulator: Regulator) -> object:
    """What a rule of the form `must not mention ...` looks for."""
    assert isinstance(regulator.obligation, Not)
    assert isinstance(regulator.obligation.item, Holds)
    return regulator.obligation.item.matchers


def where(compiled: Compiled, diagnostic: Diagnostic) -> tuple[str, int, str]:
    """File, line and words of a diagnostic's primary label."""
    path, location = place(compiled.source, diagnostic.primary.span)
    return Path(path).name, location.line, compiled.source.slice(diagnostic.primary.span)


def verdicts(compiled: Compiled, answer: str) -> dict[str, Verdict]:
    trace = Trace((Message("user", "hi"), Message("assistant", answer)))
    return {each.term: each.verdict for each in evaluate(compiled.require(), trace).terms}


# ---------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    "sentence",
    [
        "must not mention any of tone.shouts",
        "must not mention any of house.tone.shouts",
        "must not mention any of more",
        "must have at most tone.limit words",
        "must be tone.brief",
        "must not mention tone.style",
        'must not mention "x"  when tone.calm_answer',
        'must not mention "x"  when tone.brief(prompt)',
        "must not express tone.rude",
        "must not be about tone.weather",
        "limit average number of words in response to at most 5 over suite tone.small",
        'limit average number of words in response to at most 5 over suite "house.tone.small"',
    ],
)
def test_names_from_an_import(tmp_path: Path, sentence: str) -> None:
    main = f'import house.tone\nlexicon more = tone.shouts + ["quick"] - ["now"]\nrule r {{ {sentence} }}'
    assert list(regulators(check(tmp_path, main))) == ["r"]


def test_an_import_puts_no_rule_in_force_and_an_include_does(tmp_path: Path) -> None:
    assert list(regulators(check(tmp_path, 'import house.tone\nrule r { must not mention "x" }'))) == ["r"]
    compiled = check(
        tmp_path, 'rule r { must not mention "x" }\ninclude house.tone as t\nrule s { must not mention "y" }'
    )
    assert list(regulators(compiled)) == ["r", "t.calm", "s"]
    assert verdicts(compiled, "Hurry, x") == {"r": Verdict.VIOLATED, "t.calm": Verdict.VIOLATED, "s": Verdict.SATISFIED}
    assert [(each.rule, each.verdict) for each in compiled.regulators.examples] == [  # type: ignore[union-attr]
        ("t.calm", "complies"),
        ("t.calm", "violates"),
    ]


def test_names_of_included_files_of_included_files(tmp_path: Path) -> None:
    main = "include b\nexception late to b.tone.calm { when prompt is b.tone.brief }\noverride"
    main = main.removesuffix("\noverride")
    compiled = check(tmp_path, main, b="include house.tone\nrule own { must not mention any of tone.shouts }")
    assert list(regulators(compiled)) == ["b.tone.calm", "b.own"]
    (exception,) = compiled.regulators.exceptions  # type: ignore[union-attr]
    assert (exception.name, exception.target) == ("late", "b.tone.calm")


def test_a_file_included_on_two_ways_counts_once(tmp_path: Path) -> None:
    """Its rules have the name of the first way; exceptions may use either."""
    main = 'include b\ninclude c\nexception one to c.tone.calm { when prompt contains "x" }'
    include = "include house.tone"
    compiled = check(tmp_path, main, b=include, c=include + '\nexception two to tone.calm { when prompt contains "y" }')
    assert list(regulators(compiled)) == ["b.tone.calm"]
    assert {each.name: each.target for each in compiled.regulators.exceptions} == {  # type: ignore[union-attr]
        "one": "b.tone.calm",
        "c.two": "b.tone.calm",
    }
    assert len(compiled.source.files) == 4  # type: ignore[attr-defined]


def test_other_values_for_parameters_make_another_file(tmp_path: Path) -> None:
    limited = 'policy l version "1"\nparam n: number = 9\nrule r { must have at most n words }'
    main = "include limited as a with n = 3\ninclude limited as b with n = 4\ninclude limited as c with n = 3"
    found = regulators(check(tmp_path, main, limited=limited))
    bounds = {name: each.obligation.right for name, each in found.items() if isinstance(each.obligation, Compare)}
    assert bounds == {"a.r": NumberConstant(3.0), "b.r": NumberConstant(4.0)}


def test_parameters_of_parameters(tmp_path: Path) -> None:
    inner = """param n: number = 9
param words: list of text = ["a"]
rule r { must have at most n words  must not mention any of words }"""
    middle = 'param mine: text = "m"\ninclude inner with n = 2, words = [mine, "b"]'
    found = regulators(check(tmp_path, 'include middle with mine = "top"', inner=inner, middle=middle))
    assert list(found) == ["middle.inner.r.1", "middle.inner.r.2"]
    assert '"top"' in repr(found["middle.inner.r.2"]).replace("'", '"')


def test_what_is_in_force_may_be_overridden_and_waived(tmp_path: Path) -> None:
    tone = 'rule calm at user { must not mention "now" }'
    main = 'include tone as t\nrule mine at user { must mention "now"  overrides t.calm  when prompt contains "when" }'
    compiled = sound(check(tmp_path, main, tone=tone))
    trace = Trace((Message("user", "when?"), Message("assistant", "now")))
    assert next(iter(evaluate(compiled.require(), trace).terms)).verdict is not Verdict.VIOLATED


# ---------------------------------------------------------------------------------------------- mistakes at imports
MISTAKES = {
    "import nowhere": ("P113", "nowhere"),
    "import house.tome": ("P113", "house.tome"),
    "import std.formt": ("P113", "std.formt"),
    "import std": ("P113", "std"),
    'import house.tone version "1"': None,
    'import house.tone version "1.2"': None,
    'import house.tone version "1.2.3"': None,
    'import house.tone version "1.2.3.4"': ("P116", '"1.2.3.4"'),
    'import house.tone version "1.20"': ("P116", '"1.20"'),
    'import house.tone version "2"': ("P116", '"2"'),
    'import house.tone version ""': ("P116", '""'),
    'import bare version "1"': ("P116", '"1"'),
    "import house.tone with limit = 200": ("P112", "200"),
    "import house.tone with limit = 4": ("P112", "4"),
    "import house.tone with limit = 100": None,
    'import house.tone with limit = "5"': ("P105", '"5"'),
    'import house.tone with style = "cold"': ("P112", '"cold"'),
    'import house.tone with style = "warm"': None,
    "import house.tone with limits = 20": ("P101", "limits"),
    "import house.tone with limit = 20, limit = 30": ("P104", "limit"),
    "import house.tone as meta": ("P104", "meta"),
    "import house.tone as response": ("P104", "response"),
    "import house.tone as it": ("P104", "it"),
    "import house.tone\nimport bare as tone": ("P104", "tone"),
    "import main": ("P114", "main"),
    "import broken": ("P115", "broken"),
    "import wrong": ("P115", "wrong"),
    "import failing": ("P115", "failing"),
    "include failing": ("P115", "failing"),
}
OTHERS = {
    "bare": 'lexicon words = ["a"]',
    "broken": "lexicon = [",
    "wrong": "lexicon words = [/(/]",
    "failing": "rule r { must have at most 3 wrods }",
}


@pytest.mark.parametrize("imports", MISTAKES)
def test_mistakes_at_imports(tmp_path: Path, imports: str) -> None:
    compiled = check(tmp_path, f'{imports}\nrule r {{ must not mention "x" }}', **OTHERS)
    expected = MISTAKES[imports]
    if expected is None:
        sound(compiled)
        return
    assert not compiled.ok
    here = [each for each in compiled.diagnostics if where(compiled, each)[0] == "main.bylaw"]
    assert [(each.code, where(compiled, each)[2]) for each in here] == [expected]


def test_names_from_an_import_that_cannot_be_used_are_not_reported_again(tmp_path: Path) -> None:
    main = (
        'import wrong\nimport nowhere\nlexicon more = wrong.words + ["x"]\napply wrong.r() as a\n'
        "rule r { must not mention any of wrong.words  must not express wrong.c  must have at most nowhere.n words }"
    )
    assert codes(check(tmp_path, main, **OTHERS)) == ["P115", "P113", "P107"]


def test_a_mistake_of_an_imported_file_is_shown_in_that_file_once(tmp_path: Path, golden: Golden) -> None:
    main = "import b\nimport c\nrule r { must not mention any of b.x }"
    shared = "import wrong"
    compiled = check(tmp_path, main, b=shared, c=shared, wrong=OTHERS["wrong"])
    shown = [(each.code, *where(compiled, each)[:2]) for each in compiled.diagnostics]
    assert shown == [
        ("P115", "main.bylaw", 1),
        ("P115", "main.bylaw", 2),
        ("P115", "b.bylaw", 1),
        ("P107", "wrong.bylaw", 1),
        ("P115", "c.bylaw", 1),
    ]
    text = "\n\n".join(render(each, compiled.source) for each in compiled.diagnostics)
    golden.check("modules/P115_not_sound.txt", text.replace(f"{tmp_path.as_posix()}/", "") + "\n")


def test_warnings_of_imported_files_stay_there(tmp_path: Path) -> None:
    main = 'import house.tone\nrule r { must not mention "x" }'
    assert codes(check(tmp_path, main, house__tone='lexicon shouts = ["now"]')) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle(tmp_path: Path, golden: Golden, length: int) -> None:
    names = ["main", *(f"f{number}" for number in range(1, length))]
    files = {
        name: f'import {names[(at + 1) % length]}\nrule r {{ must not mention "x" }}' for at, name in enumerate(names)
    }
    compiled = check(tmp_path, files.pop("main"), **files)
    assert codes(compiled).count("P114") == 1
    if length == 3:
        text = "\n\n".join(render(each, compiled.source) for each in compiled.diagnostics)
        golden.check("modules/P114_circle.txt", text.replace(f"{tmp_path.as_posix()}/", "") + "\n")


def test_how_deep_and_how_many(tmp_path: Path) -> None:
    rule = 'rule r { must not mention "x" }'
    chain = {f"f{at}": f"import f{at + 1}" for at in range(DEEPEST_IMPORT)}
    chain[f"f{DEEPEST_IMPORT}"] = 'lexicon w = ["x"]'
    assert "P006" in codes(check(tmp_path, f"import f0\n{rule}", **chain))
    assert codes(check(tmp_path, f"import f1\n{rule}", **chain)) == []
    many = {f"g{at}": 'lexicon w = ["x"]' for at in range(MOST_FILES + 1)}
    most = "\n".join(f"import g{at}" for at in range(MOST_FILES))
    assert codes(check(tmp_path, f"{most}\n{rule}", **many)) == []
    assert codes(check(tmp_path, f"{most}\nimport g{MOST_FILES}\n{rule}", **many)) == ["P006"]


def test_a_large_policy_of_many_files_is_refused(tmp_path: Path) -> None:
    large = f'# {"x" * 900_000}\nlexicon w = ["x"]'
    main = "\n".join(f"import f{at}" for at in range(5)) + '\nrule r { must not mention "x" }'
    assert codes(check(tmp_path, main, **{f"f{at}": large for at in range(5)})) == ["P006"]


# ------------------------------------------------------------------------------------------------------- which files
def test_files_beside_the_importing_file(tmp_path: Path) -> None:
    """Names go down from the file that has the import, not from the main file."""
    compiled = check(
        tmp_path, "include a.b", a__b="include c.d", a__c__d="include e", a__c__e='rule r { must not mention "x" }'
    )
    assert list(regulators(compiled)) == ["b.d.e.r"]


def test_a_literate_file(tmp_path: Path) -> None:
    text = "# House rules\n\nSome prose.\n\n```bylaw\nrule r { must not mention any of w }\nlexicon w = [/(/]\n```\n"
    main = put(tmp_path, {"main.bylaw": "include house", "house.bylaw.md": text})
    compiled = compile_file(main)
    found = [where(compiled, each) for each in compiled.diagnostics]
    assert found == [("main.bylaw", 1, "house"), ("house.bylaw.md", 7, "(")]
    put(tmp_path, {"house.bylaw.md": text.replace("/(/", '"x"')})
    assert list(regulators(compile_file(main))) == ["house.r"]


def test_two_files_for_one_name(tmp_path: Path) -> None:
    main = put(tmp_path, {"main.bylaw": "import a", "a.bylaw": "", "a.bylaw.md": ""})
    assert "P113" in codes(compile_file(main))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the one of the policy, with a file that must never be read."""
    put(tmp_path, {"outside/secret.bylaw": 'lexicon w = ["secret"]', "outside/words.txt": "secret"})
    (tmp_path / "policy").mkdir()
    return tmp_path / "policy"


def test_links_that_lead_out_are_refused(outside: Path) -> None:
    (outside / "linked.bylaw").symlink_to(outside.parent / "outside" / "secret.bylaw")
    (outside / "folder").symlink_to(outside.parent / "outside")
    (outside / "loop.bylaw").symlink_to(outside / "loop.bylaw")
    (outside / "gone.bylaw").symlink_to(outside.parent / "outside" / "gone.bylaw")
    for name in ("linked", "folder.secret", "loop", "gone"):
        compiled = compile_file(put(outside, {"main.bylaw": f'import {name}\nrule r {{ must not mention "x" }}'}))
        assert codes(compiled) == ["P113"], name
        assert not any("secret" in line for line in compiled.source.text.splitlines()[1:])


def test_links_inside_are_followed_and_count_as_one_file(outside: Path) -> None:
    put(outside, {"real/a.bylaw": 'rule r { must not mention "x" }'})
    (outside / "b.bylaw").symlink_to(outside / "real" / "a.bylaw")
    assert list(regulators(compile_file(put(outside, {"main.bylaw": "include real.a\ninclude b"})))) == ["a.r"]


def test_a_main_file_that_is_a_link_lives_where_it_leads(outside: Path) -> None:
    put(outside, {"main.bylaw": "include a", "a.bylaw": 'rule r { must not mention "x" }'})
    link = outside.parent / "link.bylaw"
    link.symlink_to(outside / "main.bylaw")
    assert list(regulators(compile_file(link))) == ["a.r"]


def test_what_is_not_a_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.bylaw").mkdir()
    os.mkfifo(tmp_path / "pipe.bylaw")
    for name in ("folder", "pipe"):
        assert codes(check(tmp_path, f'import {name}\nrule r {{ must not mention "x" }}')) == ["P113"]


@pytest.mark.parametrize("content", [b'lexicon w = ["\xff"]', b"#" * 1_000_001])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    main = put(tmp_path, {"main.bylaw": 'import a\nrule r { must not mention "x" }', "a.bylaw": content})
    (found,) = compile_file(main).diagnostics
    assert found.code == "P113"
    assert str(tmp_path) not in found.message


def test_a_text_without_a_path_imports_only_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"house.bylaw": 'lexicon w = ["x"]'})
    monkeypatch.chdir(tmp_path)
    rule = 'rule r { must not mention "x" }'
    assert codes(compile_source(Source.of("main.bylaw", f"import house\n{rule}"))) == ["P113"]
    assert codes(compile_source(Source.of("main.bylaw", f"import std.format\n{rule}"))) == []
    assert codes(compile_source(Source.of("main.bylaw", f"import house\n{rule}"), Path("main.bylaw"))) == []


# ------------------------------------------------------------------------------------------------------------ levels
LEVELS = {
    'rule r at user { must not mention "x" }': None,
    'rule r { must not mention "x" }': None,
    'rule r at guideline { must not mention "x" }': "guideline",
    'rule r at user { must not mention "x"  waivable by developer }': "developer",
    'rule r at user { must not mention "x" }\nexception e to r at system { when prompt contains "x" }': "system",
    'rule t(n: number = 2) at guideline { must have at most n words }\nrule r at user { must not mention "x" }': None,
    "rule t(n: number = 2) { must have at most n words }\napply t() as u at guideline": "guideline",
    "include deeper": "guideline",
}


@pytest.mark.parametrize("included", LEVELS)
def test_levels_of_what_is_included(tmp_path: Path, included: str) -> None:
    deeper = 'rule d at guideline { must not mention "x" }'
    main = 'levels root > user\ninclude other\nrule r { must not mention "y" }'
    compiled = check(tmp_path, main, other=included, deeper=deeper)
    level = LEVELS[included]
    if level is None:
        assert {each.level for each in regulators(compiled).values()} == {"user"}
        return
    (found,) = compiled.diagnostics
    assert (found.code, where(compiled, found)) == ("P106", ("main.bylaw", 2, "other"))
    assert f"`{level}`" in found.message
    assert found.notes[0] == "the levels here are root > user"


def test_levels_in_another_order_are_refused(tmp_path: Path) -> None:
    main = "levels root > user > tool\ninclude other"
    other = 'levels tool > user\nrule r at user { must not mention "x" }\nrule s at tool { must not mention "y" }'
    assert codes(check(tmp_path, main, other=other)) == ["P106"]
    assert codes(check(tmp_path, main, other=other.replace("rule s at tool", "rule s at user"))) == []


# ---------------------------------------------------------------------------------------------------- applications
APPLICATIONS: dict[str, tuple[float, str, str, str]] = {
    # apply: (words, forbidden word, name, level)
    "apply tone.short() as a": (3, "ok", "a", "guideline"),
    "apply tone.short()": (3, "ok", "short", "guideline"),
    "apply house.tone.short()": (3, "ok", "short", "guideline"),
    "apply tone.short(5) as a": (5, "ok", "a", "guideline"),
    'apply tone.short(5, "no") as a': (5, "no", "a", "guideline"),
    'apply tone.short(word: "no") as a at root': (3, "no", "a", "root"),
    'apply tone.short(word: "no", n: 4) as a': (4, "no", "a", "guideline"),
    "apply tone.short(n: mine) as a": (7, "ok", "a", "guideline"),
    "apply tone.short(n: mine + 1, word: name) as a": (8, "ada", "a", "guideline"),
    "apply tone.short(n: tone.limit, word: tone.style) as a": (50, "plain", "a", "guideline"),
    "apply tone.short(n: doubled) as a": (14, "ok", "a", "guideline"),
}


@pytest.mark.parametrize("apply", APPLICATIONS)
def test_applications(tmp_path: Path, apply: str) -> None:
    words, word, name, level = APPLICATIONS[apply]
    main = f'import house.tone\nparam mine: number = 7\nparam name: text = "ada"\ndefine doubled as mine * 2\n{apply}'
    compiled = check(tmp_path, main)
    found = regulators(compiled)
    assert list(found) == [f"{name}.1", f"{name}.2"]
    bound = found[f"{name}.1"].obligation
    assert isinstance(bound, Compare)
    assert bound.right == NumberConstant(words)
    assert matchers(found[f"{name}.2"]) == (Phrase(word),)
    assert {each.title for each in found.values()} == {f"At most {words} words, not {word}"}
    assert {each.level for each in found.values()} == {level}
    assert {compiled.source.text[each.extent.start : each.extent.end] for each in found.values()} == {apply}


NOT_APPLICABLE: dict[str, tuple[str, str]] = {
    # apply: (code, words of the primary label)
    "apply tone.short(1, 2, 3) as a": ("P118", "2"),
    'apply tone.short(1, "x", 3) as a': ("P118", "3"),
    "apply tone.short(m: 3) as a": ("P118", "m: 3"),
    "apply tone.short(1, n: 3) as a": ("P118", "n: 3"),
    'apply tone.short(n: "3") as a': ("P118", 'n: "3"'),
    "apply tone.short(n: number of words in response) as a": ("P118", "n: number of words in response"),
    "apply tone.short(word: response) as a": ("P118", "word: response"),
    "apply tone.short(word: tone.shouts) as a": ("P118", "word: tone.shouts"),
    "apply tone.short(n: nothing) as a": ("P101", "nothing"),
    'apply tone.short(word: "") as a': ("P105", 'apply tone.short(word: "") as a'),
    "apply tone.short(n: 2.5) as a": ("P105", "apply tone.short(n: 2.5) as a"),
    "apply tone.shorter() as a": ("P101", "tone.shorter"),
    "apply shorter() as a": ("P101", "shorter"),
    "apply tone.shouts() as a": ("P118", "tone.shouts"),
    "apply tone.calm(1) as a": ("P118", "1"),
    "apply tone.calm() as a weight 2": ("P118", "weight 2"),
    "apply tone.short() as a at nowhere": ("P106", "nowhere"),
    "apply needy() as a": ("P118", "apply needy() as a"),
    "apply r() as a": ("P118", "r"),
    "apply tone.short() as r": ("P104", "r"),
    "apply tone.short() as a\napply tone.calm() as a": ("P104", "a"),
    "apply needy(n: 1)": ("P104", "needy"),
    "apply leveled() as a": ("", ""),
    "apply tone.short() as a weight -1": ("P207", "weight -1"),
}


@pytest.mark.parametrize("apply", NOT_APPLICABLE)
def test_mistakes_in_applications(tmp_path: Path, apply: str) -> None:
    code, words = NOT_APPLICABLE[apply]
    main = f"""import house.tone
rule needy(n: number) {{ must have at most n words }}
rule leveled() at user {{ must not mention "x" }}
rule r {{ must not mention "x" }}
{apply}"""
    compiled = check(tmp_path, main)
    found = [(each.code, where(compiled, each)[2]) for each in compiled.diagnostics]
    assert found == ([] if not code else [(code, words)])


def test_a_mistake_with_the_arguments_is_marked_in_both_files(tmp_path: Path, golden: Golden) -> None:
    compiled = check(tmp_path, "import house.tone\napply tone.short(n: 2.5) as a")
    text = "\n\n".join(render(each, compiled.source) for each in compiled.diagnostics)
    golden.check("modules/P105_arguments.txt", text.replace(f"{tmp_path.as_posix()}/", "") + "\n")
    (found,) = compiled.diagnostics
    data = to_json(found, compiled.source)
    assert Path(data["path"]).name == "main.bylaw"
    assert (data["primary"]["line"], data["secondary"][0]["line"]) == (2, 12)


def test_a_rule_of_an_imported_file_is_applied(tmp_path: Path) -> None:
    compiled = check(tmp_path, "import house.tone\napply tone.calm() as a at root")
    assert {name: each.level for name, each in regulators(compiled).items()} == {"a": "root"}
    assert codes(check(tmp_path, "include house.tone\napply tone.calm() as a")) == ["P118"]


def test_weights_go_to_what_has_none(tmp_path: Path) -> None:
    template = """rule t() {
  should not mention "a"
  should not mention "b" weight 5
  must not mention "c"
  prefer lower number of words in response
}"""
    found = regulators(check(tmp_path, f"{template}\napply t() as u weight 0.25"))
    assert [each.weight for each in found.values()] == [0.25, 5.0, None, -0.25]


def test_the_level_of_a_template_must_be_one_here(tmp_path: Path) -> None:
    other = 'rule t() at guideline { must not mention "x" }'
    main = "levels root > user\nimport other\n"
    assert codes(check(tmp_path, main + "apply other.t() as a", other=other)) == ["P106"]
    found = regulators(check(tmp_path, main + "apply other.t() as a at user", other=other))
    assert found["a"].level == "user"


def test_texts_are_filled_in(tmp_path: Path) -> None:
    template = """rule t(n: number = 2.5, words: list of text = ["a", /b+/i], yes: boolean = true, free = "z")
  "{n} {{n}} }" {
  should not mention any of words
  because "{words} and {yes} and {free}"
  on violation ask with "no {n}"
}"""
    found = regulators(check(tmp_path, f"{template}\napply t() as u"))["u"]
    assert found.title == "2.5 {n} }"
    assert found.because == "a, /b+/i and true and z"
    assert found.on_violation is not None
    assert found.on_violation.message == "no 2.5"


def test_titles_of_plain_rules_stay_as_they_are(tmp_path: Path) -> None:
    assert regulators(check(tmp_path, 'rule r "{n} {{" { must not mention "x" }'))["r"].title == "{n} {{"


TEMPLATES = {
    'rule t(n: number) "At most {m}" { must have at most n words }': "P101",
    "rule t(n: number) { must have at most n wrods }": "P102",
    "rule t(n: nubmer) { must have at most n words }": "P105",
    'rule t(n: number = "x") { must have at most n words }': "P105",
    "rule t(n: number, n: number) { must have at most n words }": "P104",
    "rule t(response: number) { must have at most 3 words }": "P104",
    "rule t(n: text) { must have at most n words }": "P105",
    'rule t(n: number) { because "nothing asked" }': "P205",
    'rule t(n: number) { must have at most n words violates "a b" }': "P118",
    'rule t(n: number = 1) { must have at most n words violates "a" }': "P501",
    'rule t(n: number) { must have at most n words }\nexamples for t { violates "a" }': "P118",
    'rule t(n: number = 1) { must have at most n words }\nexamples for t { violates "a" }': "P501",
    'rule t(n: number = 1) { must have at most n words }\ntest "x" { assistant "a b" expect complies t }': "P504",
    'rule t(n: number = 1) { must have at most n words violates { user "a" } }': "P503",
    'rule t(n: number = 1) { must have at most n words }\nexamples for t { violates { user "a" } }': "P503",
    'rule t(n: number = 1) { must have at most n words }\ntest "x" { user "a" expect complies t }': "P503",
    "rule t(n: number) { limit response is empty to at most n of responses }": None,
    "rule t(code: text) { must be in language code }": None,
    "rule t(x) { must have at most x words }": None,
    "rule t(x) { must not mention x }": None,
    "rule t(x) { must not mention any of x }": None,
    'rule t(on: boolean = false) { must not mention "x"  when on }': None,
    'rule t(n: number = 1) { must have at most n words violates "a b" complies "a" }': None,
    'rule t(n: number = 1) { must have at most n words }\ntest "x" { assistant "a b" expect violates t }': None,
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_are_checked_where_they_are_declared(tmp_path: Path, template: str) -> None:
    expected = TEMPLATES[template]
    compiled = check(tmp_path, template)
    assert codes(compiled) == ([] if expected is None else [expected])
    assert compiled.program is None or compiled.program.terms == ()


def test_a_parameter_hides_what_the_file_declares_but_only_in_the_template(tmp_path: Path) -> None:
    text = """lexicon words = ["file"]
define about as response mentions any of words
rule t(words: list of text) { must not mention any of words  when about }
apply t(words: ["given"]) as u"""
    found = regulators(check(tmp_path, text))["u"]
    assert "given" in repr(found.obligation)
    assert "file" not in repr(found.obligation)
    assert "file" in repr(found.condition)
    assert "given" not in repr(found.condition)


def test_definitions_of_the_same_name_in_two_files_are_two(tmp_path: Path) -> None:
    other = 'define long as number of words in prompt > 3\ndefine outer as long and prompt contains "x"'
    main = 'import other\ndefine long as other.outer\nrule r { must not mention "y" when long }'
    assert list(regulators(check(tmp_path, main, other=other))) == ["r"]
    assert codes(check(tmp_path, main.replace("other.outer", "other.long and long"), other=other)) == ["P109"]


def test_examples_for_rules_made_by_apply(tmp_path: Path) -> None:
    main = 'import house.tone\napply tone.short(2) as a\nexamples for a { complies "fine day" violates "a b c" }'
    sound(check(tmp_path, main))
    assert codes(check(tmp_path, main.replace("complies", "violates", 1))) == ["P501"]
    assert codes(check(tmp_path, main.replace("for a", "for b"))) == ["P101"]


# ------------------------------------------------------------------------------------------------------------- files
def lexicon(folder: Path, content: str | bytes, declaration: str = 'lexicon x = file "w.txt"') -> Compiled:
    main = f"{declaration}\nrule r {{ must not mention any of x }}"
    return compile_file(put(folder, {"main.bylaw": main, "w.txt": content}))


def test_a_lexicon_in_a_file(tmp_path: Path) -> None:
    content = "\ufeff# words\nred\n  blue green  \r\n\n/gr[ae]y/i\nred\n/a\\/b/\n# end"
    found = regulators(lexicon(tmp_path, content, 'lexicon x = file "w.txt" - ["red"] + ["pink"]'))["r"]
    found_there = matchers(found)
    assert found_there == (Phrase("blue green"), Regex("gr[ae]y", "i"), Regex("a\\/b"), Phrase("pink"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\n/(/\n", "line 2 of"),
        ("a\n\n/x\n", "line 3 of"),
        ("/a/q\n", "line 1 of"),
        (b"\xff\n", "not UTF-8"),
        (b"x\n" * 600_000, "too large"),
        ("\n".join(f"w{n}" for n in range(20_001)), "20,000"),
    ],
)
def test_a_lexicon_file_that_cannot_be_used(tmp_path: Path, content: str | bytes, said: str) -> None:
    (found,) = lexicon(tmp_path, content).diagnostics
    assert found.code == "P117"
    assert said in found.message
    assert str(tmp_path / "w.txt") not in found.message or said.startswith("line")


def test_an_empty_lexicon_file(tmp_path: Path) -> None:
    assert codes(lexicon(tmp_path, "# nothing\n")) == ["P105"]


PATHS = [
    "../outside/words.txt",
    "/etc/hostname",
    "a/../w.txt",
    "./w.txt",
    "a\\w.txt",
    "C:w.txt",
    "",
    "gone.txt",
    "link.txt",
    "a//w.txt",
    "w.txt/",
    "folder",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["lexicon", "suite"])
def test_paths_stay_below_the_folder(outside: Path, kind: str, path: str) -> None:
    (outside / "link.txt").symlink_to(outside.parent / "outside" / "words.txt")
    (outside / "folder").mkdir()
    written = path.replace("\\", "\\\\")
    main = f'{kind} x = file "{written}"\nrule r {{ must not mention "y" }}'
    compiled = compile_file(put(outside, {"main.bylaw": main, "w.txt": "word", "a/w.txt": "word"}))
    assert codes(compiled) == ["P117" if kind == "lexicon" else "P119"]


def test_files_of_an_imported_file_lie_beside_it(tmp_path: Path) -> None:
    put(tmp_path, {"lib/w.txt": "red", "lib/p.jsonl": '{"prompt": "hello"}'})
    lib = 'lexicon x = file "w.txt"\nsuite s = file "p.jsonl"'
    main = """import lib.words as w
rule r { must not mention any of w.x }
rule l { limit response is empty to at most 5% of responses over suite w.s }"""
    compiled = sound(check(tmp_path, main, lib__words=lib))
    assert compiled.regulators is not None
    assert [(each.name, each.prompts) for each in compiled.regulators.suites] == [("w.s", ("hello",))]


def test_lookalikes(tmp_path: Path) -> None:
    found = regulators(check(tmp_path, '@lookalikes lexicon x = ["paypal", /b/]\nrule r { must not mention any of x }'))
    assert matchers(found["r"]) == (Phrase("paypal", lookalikes=True), Regex("b"))


# ------------------------------------------------------------------------------------------- annotations, concepts
ANNOTATIONS = {
    '@lookalikes lexicon x = ["a"]': [],
    '@lookalike lexicon x = ["a"]': ["P101"],
    '@lookalikes("x") lexicon x = ["a"]': ["P105"],
    "@lookalikes param x: number = 1": ["P105"],
    "@deprecated param x: number = 1": [],
    "@deprecated import house.tone": ["P105"],
    '@deprecated test "x" { assistant "a" expect complies }': ["P105"],
    '@deprecated rule x { must not mention "a" }\nexamples for x { complies "b" }': [],
    '@deprecated("use y") @deprecated param x: number = 1': ["P010"],
    '@deprecated("use y") param x: number = 1\nrule s { must have at most x words }': ["P613"],
    '@deprecated lexicon x = ["a"]\nlexicon y = x + ["b"]\nrule s { must not mention any of y }': ["P613"],
    "@deprecated define x(t) as t is empty\nrule s { must be x }": ["P613"],
    "@deprecated define x(t) as t is empty\ndefine y(x) as number of words in x > 3": [],
    '@deprecated concept x means "X."\nrule s { must not express x }': ["P402", "P613"],
    "@deprecated rule x(n: number = 1) { must have at most n words }\napply x() as z": ["P613"],
}


@pytest.mark.parametrize("text", ANNOTATIONS)
def test_annotations(tmp_path: Path, text: str) -> None:
    compiled = check(tmp_path, f'{text}\nrule r {{ must not mention "q" }}')
    assert codes(compiled) == ANNOTATIONS[text]


def test_a_deprecated_thing_of_an_imported_file(tmp_path: Path) -> None:
    other = '@deprecated("use colours") lexicon old = ["red"]\nlexicon colours = old + ["blue"]'
    main = (
        "import other\nrule r { must not mention any of other.old }\nrule s { must not mention any of other.colours }"
    )
    compiled = check(tmp_path, main, other=other)
    assert [(each.code, where(compiled, each)) for each in compiled.diagnostics] == [
        ("P613", ("main.bylaw", 2, "other.old"))
    ]
    assert compiled.diagnostics[0].notes == ("use colours",)


CONCEPTS = {
    'concept c means "C." { like "a" unlike "a" }': ["P121"],
    'concept c means "C." { like "a" like "a" }': ["P121"],
    'concept c means "C." { like "" }': ["P121"],
    'concept c means "  "': ["P121"],
    'concept c means "C." { distinct from c }': ["P121"],
    'concept c means "C." { distinct from d }': ["P101"],
    'concept c means "C." { threshold 1.5 }': ["P105"],
    'concept c means "C." { threshold -1 }': ["P105"],
    'concept c means "C." { threshold t }': ["P105"],
    'concept c means "C." { threshold 0.2 threshold 0.3 }': ["P010"],
    'concept c means "C."\nconcept c means "D."': ["P104"],
    'param t: number = 0.3\ntopic d means "D."\nconcept c means "C." { threshold t distinct from d like "x" }': [],
    'lexicon l = ["a"]\nlexicon m = [/b/]\nconcept c means "C." { cued by l, m }': [],
    'concept c means "C." { cued by l }\nlexicon l = ["a"]': [],
    'lexicon lots = ["a"]\nconcept c means "C." { cued by lost }': ["P101"],
    'topic d means "D."\nconcept c means "C." { cued by d }': ["P101"],
    'param p: list of text = ["a"]\nconcept c means "C." { cued by p }': ["P101"],
    'lexicon l = ["a"]\nconcept c means "C." { cued by l cued by l }': ["P121"],
    'lexicon l = [/\\xad/]\nconcept c means "C." { cued by l }': ["P105"],
    'lexicon l = [""]\nconcept c means "C." { cued by l }': ["P105"],
    'lexicon l = []\nconcept c means "C." { cued by l }': ["P105"],
}


@pytest.mark.parametrize("text", CONCEPTS)
def test_concepts(tmp_path: Path, text: str) -> None:
    assert codes(check(tmp_path, f'{text}\nrule r {{ must not mention "q" }}')) == CONCEPTS[text]


def test_a_concept_of_an_imported_file_has_its_full_name(tmp_path: Path) -> None:
    other = """policy shop.words version "1"
param t: number = 0.3
concept c means "C." { threshold t distinct from d }
topic d means "D."
"""
    main = "import other as o with t = 0.7\nrule r { must not express o.c }"
    found = regulators(check(tmp_path, main, other=other))["r"]
    assert repr(Concept("shop.words.c", "C.", threshold=0.7, distinct_from=("shop.words.d",))) in repr(found.obligation)


def test_cues_are_what_lexicons_hold_also_imported_ones(tmp_path: Path) -> None:
    other = '@lookalikes lexicon words = ["pay"]'
    main = """import other as o
lexicon own = o.words - o.words + ["a"] + [/b+/i]
concept c means "C." { cued by own, o.words }
rule r { must not express c }
"""
    cues = (Cue("own", (Phrase("a"), Regex("b+", "i"))), Cue("o.words", (Phrase("pay", lookalikes=True),)))
    compiled = check(tmp_path, main, other=other)
    assert repr(Concept("c", "C.", cues=cues)) in repr(regulators(compiled)["r"].obligation)
    program = program_to_json(compiled.require())
    assert '"cues"' in program
    assert program_from_json(program) == compiled.require()
    nothing = check(tmp_path, 'concept c means "C."\nrule r { must not express c }').require()
    assert '"cues"' not in program_to_json(nothing)  # programs of before read as they did


# ----------------------------------------------------------------------------------------------------------- sources
@given(st.lists(st.text(alphabet="ab\n\r é", max_size=12), min_size=1, max_size=5))
def test_places_in_joined_files_are_those_in_the_files(texts: list[str]) -> None:
    files = [Source("0", texts[0])]
    for number, text in enumerate(texts[1:], 1):
        files.append(behind(files[-1].text, str(number), text))
    joined = SourceMap.joining(files)
    offset = 0
    for number, text in enumerate(texts):
        alone = Source(str(number), text)
        for within in range(len(text) + 1):
            span = Span(offset, offset + within)
            assert place(joined, span) == (str(number), alone.location(Span(0, within)))
            assert joined.slice(span) == text[:within]
        there = joined.file_at(offset)
        assert there.line_count() == alone.line_count()
        for line in range(1, alone.line_count() + 1):
            assert there.line_text(line) == alone.line_text(line)
        offset += len(text) + 1


def test_a_place_outside_a_file_is_nowhere() -> None:
    assert place(Source("a", "abc"), Span(4, 5))[0] == ""


def test_syntax_errors_of_imported_files_have_places_there(tmp_path: Path) -> None:
    """Chunks, texts that are not closed, hidden characters and braces are found from the start of the file on."""
    broken = 'rule a {\n  must not mention "x\n}\nrule b {\n must not mention "\u200b"\nrule c { must }\n}'
    alone = compile_source(Source.of("broken.bylaw", broken))
    compiled = check(tmp_path, '# a comment\n\nimport broken\nrule r { must not mention "x" }', broken=broken)
    here = [each for each in compiled.diagnostics if where(compiled, each)[0] == "broken.bylaw"]
    base = len(compiled.source.text) - len(broken)
    assert [(each.code, each.message) for each in here] == [(each.code, each.message) for each in alone.diagnostics]
    assert [each.primary.span.start - base for each in here] == [each.primary.span.start for each in alone.diagnostics]


# -------------------------------------------------------------------------------------------------------------- time
def test_many_ways_to_the_same_file_take_little_time(tmp_path: Path) -> None:
    """Each file includes the next one under two names: 2^14 ways to the last, which still counts once."""
    files = {f"f{at}": f"include f{at + 1} as a\ninclude f{at + 1} as b" for at in range(14)}
    files["f14"] = 'suite s = ["hi"]\nlexicon w = ["x"]\nrule r { must not mention any of w }'
    begun = time.process_time()
    main = f"include f0\nrule z {{ must not mention any of f0{'.a.b' * 7}.w }}"
    compiled = check(tmp_path, main, **files)
    assert list(regulators(compiled)) == ["f0" + ".a" * 14 + ".r", "z"]
    assert time.process_time() - begun < 2


def test_too_many_sets_of_values_are_refused(tmp_path: Path) -> None:
    """Each file is imported with two values that depend on its own: twice as many at each step."""
    template = 'param w: list of text = ["x"]\n'
    files = {
        f"f{at}": f'{template}import f{at + 1} as a with w = [w, "a{at}"]\nimport f{at + 1} as b with w = [w, "b{at}"]'
        for at in range(14)
    }
    files["f14"] = template
    begun = time.process_time()
    compiled = check(tmp_path, 'import f0\nrule r { must not mention "x" }', **files)
    assert "P006" in codes(compiled)
    assert time.process_time() - begun < 5


def test_fifty_imports_take_little_time(tmp_path: Path) -> None:
    files = {
        f"f{at}": f'policy f{at} version "1"\nparam p: number = 3\nlexicon w = ["a{at}", /x{at}+/]\n'
        f'rule r {{ must not mention any of w  violates "a{at}" }}\n'
        "rule t(n: number = 3) { must have at most n words }"
        for at in range(50)
    }
    main = "\n".join(f"{'include' if at % 2 else 'import'} f{at}" for at in range(50)) + "\napply f4.t(7) as seven"
    sound(check(tmp_path, main, **files))
    taken = []
    for _ in range(3):
        begun = time.process_time()
        compile_file(tmp_path / "main.bylaw")
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.2
