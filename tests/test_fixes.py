"""Applying fixes: what is changed, what is not, and when nothing is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.cli import main
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.fixes import Edit, apply_edits, apply_fixes
from bylaw.spec.parser import parse
from bylaw.spec.source import Source, Span

CURLY = "rule a at user {\n  must not mention “sorry”\n}\n"
STRAIGHT = CURLY.replace("“", '"').replace("”", '"')
UNIT = "rule a at user {\n  must have at most 5 word\n}\n"
BOTH = CURLY + UNIT.replace("rule a", "rule b")


def diagnose(source: Source) -> Sequence[Diagnostic]:
    return compile_source(source).diagnostics


def fixed(text: str, *, unsafe: bool = False, path: str = "p.bylaw") -> str:
    return apply_fixes(path, text, diagnose, unsafe=unsafe).text


def check(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["check", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# --------------------------------------------------------------------------------------------------------- the edits
@pytest.mark.parametrize(
    ("text", "safe", "unsafe"),
    [
        (CURLY, STRAIGHT, STRAIGHT),
        (UNIT, UNIT, UNIT.replace("word", "words")),
        (BOTH, BOTH.replace(CURLY, STRAIGHT), (STRAIGHT + UNIT.replace("rule a", "rule b")).replace("word", "words")),
        ("rule a { must not mention 'no' }", 'rule a { must not mention "no" }', 'rule a { must not mention "no" }'),
        ("rule a\u00a0{ Must be json }", "rule a { must be json }", "rule a { must be json }"),
        ("rule a { must be json weight 2 }", "rule a { must be json weight 2 }", "rule a { must be json  }"),
        (STRAIGHT, STRAIGHT, STRAIGHT),
        ("", "", ""),
    ],
)
def test_safe_and_unsafe_fixes(text: str, safe: str, unsafe: str) -> None:
    assert fixed(text) == safe
    assert fixed(text, unsafe=True) == unsafe
    assert fixed(safe) == safe


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_everything_else_stays_as_it_is(mark: str, newline: str) -> None:
    text = f"{mark}# “a comment”\n\n{CURLY}\t # 漢字 \U0001f600\n{CURLY}".replace("\n", newline)
    text = text.replace("rule a", "rule b", 1)
    assert fixed(text) == text.replace("“sorry”", '"sorry"')


def test_prose_of_a_literate_file_stays() -> None:
    text = f"# “Title”\n\n```bylaw\n{CURLY}```\n\n“Prose.”\n"
    assert fixed(text, path="p.bylaw.md") == text.replace("“sorry”", '"sorry"')


def proposing(*fixes: tuple[int, int, str]) -> Sequence[Diagnostic]:
    return tuple(
        Diagnostic("P604", Severity.WARNING, "m", Label(Span(0, 1)), fix=Fix("f", Span(start, end), new, safe=True))
        for start, end, new in fixes
    )


def test_fixes_that_touch_each_other_wait_for_the_next_round() -> None:
    rounds = iter([proposing((0, 3, "# b"), (2, 5, "x"), (0, 3, "# b")), proposing((2, 3, "c")), ()])
    result = apply_fixes("p", "# abc", lambda _: next(rounds, ()))
    assert (result.text, result.applied) == ("# cbc", 2)


def test_fixing_comes_to_an_end() -> None:
    result = apply_fixes("p", "#", lambda source: proposing((1, 1, "#" * (len(source.text) % 2 + 1))))
    assert set(result.text) == {"#"}
    assert result.applied == 20


@pytest.mark.parametrize(
    ("text", "span", "replacement", "codes"),
    [
        ("rule a { must be json }", (0, 4), "rul", ("P005",)),
        ("rule a { must be json }", (0, 23), "", ("P601",)),
        ("rule a { must be json }", (17, 21), "jsno", ("P103",)),
        ("rule a { must be jsno }\nrule b { must be json }", (24, 47), "rule b {", ("P003",)),
    ],
)
def test_a_fix_that_breaks_the_file_is_refused(
    text: str, span: tuple[int, int], replacement: str, codes: tuple[str, ...]
) -> None:
    def wrong(source: Source) -> Sequence[Diagnostic]:
        return proposing((*span, replacement)) if source.text == text else diagnose(source)

    result = apply_fixes("p", text, wrong)
    assert (result.text, result.applied, result.refused) == (text, 0, codes)


def test_mistakes_that_were_hidden_do_not_speak_against_a_fix() -> None:
    assert fixed(CURLY + "rule b { must be jsno }") == STRAIGHT + "rule b { must be jsno }"
    clash = 'rule a { must start with "," }\nrule b { must have no coma }'
    assert fixed(clash, unsafe=True) == clash.replace("coma", "commas")


@given(st.text("ab\n", max_size=12), st.lists(st.tuples(st.integers(0, 12), st.text("xy", max_size=2)), max_size=4))
def test_edits_apply_from_the_end(text: str, places: list[tuple[int, str]]) -> None:
    starts = {min(start, len(text)): new for start, new in places}
    edits = [Edit(start, start, new) for start, new in starts.items()]
    assert apply_edits(text, edits) == "".join(
        starts.get(place, "") + text[place : place + 1] for place in range(len(text) + 1)
    )


@given(st.lists(st.sampled_from([*"“”\"'ab {}\n", "rule a ", "must be json ", "\u00a0", "Must "]), max_size=30))
def test_fixing_never_parses_worse_and_repeats_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    result = apply_fixes("p", text, lambda source: parse(source).diagnostics)
    before, after = parse(Source("p", text)), parse(Source("p", result.text))
    assert len(after.module.items) >= len(before.module.items)
    again = apply_fixes("p", result.text, lambda source: parse(source).diagnostics)
    assert result.refused or again.text == result.text


# ------------------------------------------------------------------------------------------------------- the command
def test_check_fix_writes_and_says_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text(BOTH, encoding="utf-8")
    os.chmod(path, 0o640)
    result = check(path, "--fix")
    assert (result.exit_code, result.stdout) == (1, f"{path}: 1 error, 0 warnings\n")
    assert f"{path}: 1 fix applied\n" in result.stderr
    assert "error[P102]" in result.stderr
    assert path.read_text(encoding="utf-8") == fixed(BOTH)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert check(path, "--fix", "--unsafe-fixes").exit_code == 0
    assert "0 fixes applied" in check(path, "--fix").stderr
    assert [each.name for each in tmp_path.iterdir()] == ["rules.bylaw"]


def test_check_diff_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text(CURLY, encoding="utf-8")
    result = check(path, "--fix", "--diff")
    assert result.exit_code == 1
    assert result.stdout == (
        f"--- {path}\n+++ {path}\n@@ -1,3 +1,3 @@\n rule a at user {{\n"
        '-  must not mention “sorry”\n+  must not mention "sorry"\n }\n'
    )
    assert "1 fix to apply" in result.stderr
    assert path.read_text(encoding="utf-8") == CURLY


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real.bylaw", tmp_path / "link.bylaw"
    real.write_text(CURLY, encoding="utf-8")
    link.symlink_to(real)
    assert check(link, "--fix").exit_code == 0
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == STRAIGHT


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_bytes(b"\xff")
    assert check(path, "--fix").exit_code == 2
    path.write_text(CURLY, encoding="utf-8")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bylaw.spec.fixes.tempfile.mkstemp", refuse)
    result = check(path, "--fix")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"error: `{path}` cannot be written: Permission denied\n")
    assert path.read_text(encoding="utf-8") == CURLY


@pytest.mark.parametrize("options", [("--diff",), ("--unsafe-fixes",), ("--fix", "--diff", "--format", "json")])
def test_options_that_go_together(options: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text(CURLY, encoding="utf-8")
    assert check(path, *options).exit_code == 2
    assert path.read_text(encoding="utf-8") == CURLY


def test_fix_and_a_format(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text(CURLY, encoding="utf-8")
    result = check(path, "--fix", "--format", "github")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{path}: 1 fix applied\n")


def test_only_the_file_that_is_named_is_fixed(tmp_path: Path) -> None:
    main_file, words = tmp_path / "main.bylaw", tmp_path / "words.bylaw"
    main_file.write_text(f"import words\n{CURLY}", encoding="utf-8")
    words.write_text("lexicon rude = [“x”]\n", encoding="utf-8")
    assert check(main_file, "--fix").exit_code == 1
    assert main_file.read_text(encoding="utf-8") == f"import words\n{STRAIGHT}"
    assert words.read_text(encoding="utf-8") == "lexicon rude = [“x”]\n"
    assert check(words, "--fix").exit_code == 0
    assert check(main_file).exit_code == 0
