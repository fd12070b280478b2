"""The formatter: one layout, nothing lost, and the command that applies it."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from random_texts import declaration, policy

from bylaw.runtime.cli.fmt import command
from bylaw.spec import ast, formatter
from bylaw.spec.errors import PolicySyntaxError
from bylaw.spec.formatter import LayoutError, format_text
from bylaw.spec.formatter_comments import comments_of, gaps
from bylaw.spec.formatter_document import Block, Break, Line, group, indent, render
from bylaw.spec.parser import parse
from bylaw.spec.source import Source, code_blocks
from bylaw.spec.transform_terms import words

ROOT = Path(__file__).resolve().parents[1]
DESIGN = ROOT.parent / "shared" / "design" / "language"


def policy_files() -> list[Path]:
    found = [*ROOT.glob("examples/**/*.bylaw"), *ROOT.glob("spec/std/*.bylaw"), *DESIGN.glob("**/*.bylaw*")]
    return sorted(path for path in found if path.suffix == ".bylaw" or path.name.endswith(".bylaw.md"))


def comments(path: str, text: str) -> list[str]:
    parsed = parse(Source.of(path, text), keeps_tokens=True)
    return comments_of(gaps(parsed.source.text, parsed.tokens))


def spelt(text: str) -> list[str]:
    """The tokens as the author spelt them, without commas: those before a closing bracket come and go."""
    return [
        " ".join(token.text.split())
        for token in parse(Source("p", text), keeps_tokens=True).tokens
        if token.text != ","
    ]


def formatted(text: str) -> str:
    return format_text("policy.bylaw", text)


def laws(path: str, text: str) -> str:
    result = format_text(path, text)
    assert ast.same(parse(Source.of(path, result)).require(), parse(Source.of(path, text)).require())
    assert comments(path, result) == comments(path, text)
    assert format_text(path, result) == result
    return result


# ----------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("path", policy_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_policies_keep_what_they_say(path: Path) -> None:
    laws(path.name, path.read_text(encoding="utf-8"))


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_policies_keep_what_they_say_and_how_it_is_spelt(generator: random.Random) -> None:
    text = policy(generator)
    result = laws("policy.bylaw", text)
    assert spelt(result) == spelt(text)
    assert "\n\n\n" not in without_texts(result)
    assert not any(line.endswith((" ", "\t")) for line in without_texts(result).splitlines())


def without_texts(text: str) -> str:
    """A policy without its texts, which may hold anything."""
    parsed = parse(Source("p", text), keeps_tokens=True)
    for token in reversed(parsed.tokens):
        if token.text.startswith('"'):
            text = text[: token.start] + '""' + text[token.end :]
    return text


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_line_ends_and_prose_stay(generator: random.Random, is_windows: bool) -> None:
    blocks = [policy(generator, most=2, may_have_header=number == 0) for number in range(2)]
    prose = ["# T  \n\n\n  - a\n   ", "\n```text\nrule  no {}\n```\n~~~bylaw\n", "end  "]
    text = f"{prose[0]}```bylaw\n{blocks[0]}\n   ```\n{prose[1]}{blocks[1]}\n~~~\n{prose[2]}"
    if is_windows:
        text = text.replace("\n", "\r\n")
    result = laws("p.bylaw.md", text)
    rest = result
    for block in reversed(code_blocks(result)):
        rest = rest[: block.start] + rest[block.end :]
    wanted = f"{prose[0]}```bylaw\n   ```\n{prose[1]}~~~\n{prose[2]}"
    assert rest == (wanted.replace("\n", "\r\n") if is_windows else wanted)
    assert not is_windows or result.count("\n") == result.count("\r\n")


def test_the_random_policies_have_every_kind_of_node() -> None:
    nodes = {value for name in ast.__all__ if isinstance(value := getattr(ast, name), type)}
    missing = {node for node in nodes if issubclass(node, ast.Node)} - {ast.Node}
    generator = random.Random(5)
    for number in range(12_000):
        text = policy(generator) if number % 10 == 0 else declaration(generator)
        missing -= {type(node) for node in ast.walk(parse(Source("p", text)).require())}
        if not missing:
            break
    assert not missing


# --------------------------------------------------------------------------------------------------------- layout

LAYOUTS = {
    "blanks": ("rule  a   at  user{must be json}", "rule a at user { must be json }\n"),
    "two on a line": ("rule a { } rule b {  }", "rule a { }\nrule b { }\n"),
    "one line stays, two blanks between sentences": (
        "rule a { when b must be json }",
        "rule a { when b  must be json }\n",
    ),
    "several lines stay several": ("rule a {\nmust be json }", "rule a {\n  must be json\n}\n"),
    "blank lines": (
        "\n\nimport a\n\n\n\nimport b\nimport c\n\n\n",
        "import a\n\nimport b\nimport c\n",
    ),
    "long rules stand apart": (
        "rule a {\nmust be json\n}\nrule b {\nmust be json\n}\nrule c { }\n",
        "rule a {\n  must be json\n}\n\nrule b {\n  must be json\n}\nrule c { }\n",
    ),
    "blank lines in a rule": (
        "rule a {\n\n  when x\n\n\n  must be json\n\n}",
        "rule a {\n  when x\n\n  must be json\n}\n",
    ),
    "comments": (
        "#a\nrule a { # b\n # c\n must be json # d\n\n # e\n} # f\n # g\n\nimport a # h\n# i",
        "#a\nrule a {  # b\n  # c\n  must be json  # d\n\n  # e\n}  # f\n# g\n\nimport a  # h\n# i\n",
    ),
    "comments in a list": (
        'lexicon a = ["b" # b\n, # c\n  # d\n "e", "f" # f\n]',
        'lexicon a = [\n  "b",  # b\n  # c\n  # d\n  "e",\n  "f",  # f\n]\n',
    ),
    "a comment in a sentence": (
        "rule a {\n must # why\n be json\n}",
        "rule a {\n  must  # why\n    be json\n}\n",
    ),
    "only comments": ("\n# a\n\n\n# b", "# a\n\n# b\n"),
    "nothing": (" \n\n", ""),
    "numbers and texts": (
        'rule a { should contain """c""" weight 0.50  when number of words in b > -02 }',
        'rule a { should contain """c""" weight 0.50  when number of words in b > -02 }\n',
    ),
    "operators": (
        "define a as -b*(c+- 1)/d<=e(f:1,g)",
        "define a as -b * (c + -1) / d <= e(f: 1, g)\n",
    ),
    "a list that fits": ('lexicon a = [\n"b",\n"c"]', 'lexicon a = [\n  "b", "c",\n]\n'),
    "a list that fits on one line": ('lexicon a = ["b",\n"c",]', 'lexicon a = ["b", "c"]\n'),
    "prose moves with its first line": (
        'rule a {\nbecause """b\n            c\n  d"""\nmust be json\n}',
        'rule a {\n  because """b\n              c\n    d"""\n  must be json\n}\n',
    ),
    "annotations": ('@draft\n\n@owner ( "b" ) # c\nimport a', '@draft\n@owner("b")  # c\nimport a\n'),
    "a param": ('param a:number=1 between 0 and 2 "b"', 'param a : number = 1 between 0 and 2 "b"\n'),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(name: str) -> None:
    before, after = LAYOUTS[name]
    assert formatted(before) == after
    assert formatted(after) == after


def test_long_sentences_are_broken_where_they_have_parts() -> None:
    long = "quite_a_long_name_for_a_thing_in_a_policy"
    text = f"""rule a at developer {{
  when {long} is b or {long} is c and d
  prefer response is {long} over response is {long} over response is b weight 2
  must mention any of ["{long}", "{long}", "b"]
  limit response expresses {long} to at most 2% of responses over suite "benign" with confidence 0.9
  call to refund where (it.amount > approval_limit) must follow message from user where (it contains "approved")
}}
"""
    assert (
        formatted(text)
        == f"""rule a at developer {{
  when {long} is b
    or {long} is c and d
  prefer response is {long}
    over response is {long}
    over response is b
    weight 2
  must mention any of [
    "{long}",
    "{long}",
    "b",
  ]
  limit response expresses {long} to at most 2% of responses
    over suite "benign" with confidence 0.9
  call to refund where (it.amount > approval_limit)
    must follow message from user where (it contains "approved")
}}
"""
    )


def test_a_hundred_columns_are_the_limit() -> None:
    name = "n" * (100 - len("rule  { must be json }"))
    assert formatted(f"rule {name} {{ must be json }}") == f"rule {name} {{ must be json }}\n"
    assert formatted(f"rule {name}n {{ must be json }}") == f"rule {name}n {{\n  must be json\n}}\n"


def test_a_word_that_would_begin_a_declaration_does_not_begin_a_line() -> None:
    long = "quite_a_long_name_for_a_thing_in_a_policy"
    text = f"define a as test per {long} + {long} + {long}\n"
    assert formatted(text).startswith("define a as test")


def test_documents() -> None:
    nested = group("a", indent(Line(), group("b", Line("-"), "c")), Line())
    assert render(nested) == "a b-c "
    assert render(group("a", indent(Line(), group("b", Break(True), "c")))) == "a\n  b\n\n  c"
    assert render(("ab", indent(Break(), Block("x\n y\n\tz\n  ", 1))), newline="\r\n") == "ab\r\n  x\n  y\n \tz\n  "


# -------------------------------------------------------------------------------------------------------- refusal


def test_what_does_not_parse_is_refused() -> None:
    with pytest.raises(PolicySyntaxError):
        formatted("rule a { must not be json and be text }")


def test_a_declaration_in_two_blocks_is_refused() -> None:
    with pytest.raises(LayoutError, match="code block at line 1 ends within a declaration"):
        format_text("a.bylaw.md", "```bylaw\nrule a {\n```\n```bylaw\n}\n```\n")


@pytest.mark.parametrize(
    ("loses", "message"), [("must be json", "not say the same"), ("# why", "lose a comment"), ("}", "not say the same")]
)
def test_a_result_that_lost_something_is_refused(
    loses: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = formatter.render
    monkeypatch.setattr(formatter, "render", lambda *arguments: whole(*arguments).replace(loses, ""))
    path = write(tmp_path, "rule a { must be json }  # why\n")
    done = run(path)
    assert done.exit_code == 1
    assert message in done.output
    assert path.read_text(encoding="utf-8") == "rule a { must be json }  # why\n"


# ---------------------------------------------------------------------------------------------------- the command


def run(*arguments: object, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=stdin)


def write(folder: Path, text: str, name: str = "rules.bylaw") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_files_are_replaced_with_their_mode_and_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffrule a{\r\n}\r\n")
    path.chmod(0o640)
    link = tmp_path / "link.bylaw"
    link.symlink_to(path)
    done = run(link)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"{link}: formatted\n")
    assert path.read_bytes() == "\ufeffrule a { }\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, path]
    assert run(path).output == ""


def test_check_and_diff_write_nothing(tmp_path: Path) -> None:
    good, bad = write(tmp_path, "import a\n", "good.bylaw"), write(tmp_path, "import  a\n", "bad.bylaw")
    done = run("--check", good, bad)
    assert (done.exit_code, done.stdout, done.stderr) == (1, f"{bad}: would change\n", "")
    done = run("--diff", good, bad)
    assert (done.exit_code, done.stdout) == (0, f"--- {bad}\n+++ {bad}\n@@ -1 +1 @@\n-import  a\n+import a\n")
    both = run("--diff", "--check", good, bad)
    assert (both.exit_code, both.stdout) == (1, done.stdout)
    assert bad.read_text(encoding="utf-8") == "import  a\n"
    assert run("--check", good).exit_code == 0


def test_a_diff_is_one_that_patch_can_read() -> None:
    done = run("--diff", "-", stdin=b"import  a\nimport b")
    head = "--- policy.bylaw\n+++ policy.bylaw\n@@ -1,2 +1,2 @@\n"
    assert done.stdout == f"{head}-import  a\n-import b\n\\ No newline at end of file\n+import a\n+import b\n"
    document = "x\u2028y\x0cz\n```bylaw\nimport  a\n```\n"  # only line feeds end a line
    done = run("--diff", "-", "--stdin-filename", "a.bylaw.md", stdin=document.encode())
    assert " x\u2028y\x0cz\n ```bylaw\n-import  a\n+import a\n" in done.stdout


def test_standard_input() -> None:
    assert run("-", stdin=b"import  a").stdout == "import a\n"
    document = b"# a  \n```bylaw\nimport  a\n```\n"
    assert run("-", "--stdin-filename", "a.bylaw.md", stdin=document).stdout == "# a  \n```bylaw\nimport a\n```\n"
    broken = run("-", "--stdin-filename", "b.bylaw", stdin=b"import")
    assert (broken.exit_code, broken.stdout) == (1, "")
    assert "b.bylaw:1:1" in broken.stderr
    assert run("-", stdin=b"\xff").exit_code == 2


def test_files_that_cannot_be_formatted_do_not_keep_others_from_it(tmp_path: Path) -> None:
    broken, good = write(tmp_path, "rule a {", "broken.bylaw"), write(tmp_path, "import  a", "good.bylaw")
    done = run(broken, tmp_path / "missing.bylaw", good)
    assert done.exit_code == 2
    assert "P003" in done.stderr
    assert "P009" in done.stderr
    assert broken.read_text(encoding="utf-8") == "rule a {"
    assert good.read_text(encoding="utf-8") == "import a\n"
    assert run(broken).exit_code == 1


def test_a_failed_write_leaves_the_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "import  a")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    done = run(path)
    assert (done.exit_code, done.output) == (2, f"error: `{path}` cannot be written: No space left on device\n")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == "import  a"


def test_the_pre_commit_hooks_call_verbs_that_exist() -> None:
    from bylaw.runtime.cli import VERBS

    lines = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8").splitlines()
    assert {line.split()[-1] for line in lines if line.startswith("- id:")} == {"bylaw-check", "bylaw-fmt"}
    entries = [line.split()[1:] for line in lines if line.strip().startswith("entry:")]
    assert [entry[0] for entry in entries] == ["bylaw", "bylaw"]
    assert {entry[1] for entry in entries} <= words(" ".join(VERBS))


@pytest.mark.parametrize("levels", ["a price at most 2 > b > a", "a > b > a price at most 2", "a > a price at most 1"])
def test_a_price_stays_with_its_level_where_two_have_one_name(levels: str) -> None:
    """Two levels of one name are an error of the policy, and no reason to write another one."""
    text = f"levels {levels}\n"
    assert format_text("p.bylaw", text) == text
