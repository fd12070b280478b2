"""What `bylaw check` prints for other programs: SARIF, workflow commands of GitHub, JUnit, JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from bylaw.runtime.cli import main
from bylaw.runtime.cli.formats import Case, Checked, Failure, as_github, as_json, as_junit, junit
from bylaw.runtime.cli.sarif import as_sarif
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.source import Source, Span

FORMATS = ("json", "sarif", "github", "junit")
SOUND = 'rule a at user { must mention "please" }\n'
WRONG = "rule a at user {\n  must have no comas\n}\nlexicon é\nrule b at user { must mention “x” }\n"


def check(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["check", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sound file, one with mistakes and an awkward name, and one that cannot be read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.bylaw").write_text(SOUND, encoding="utf-8")
    (tmp_path / "very, wrong: 100%.bylaw").write_text(WRONG, encoding="utf-8")
    (tmp_path / "broken.bylaw").write_bytes(b"rule \xff")
    return ["sound.bylaw", "very, wrong: 100%.bylaw", "broken.bylaw"]


@pytest.mark.parametrize("output", FORMATS)
def test_only_the_format_is_printed_and_exit_codes_stay(output: str, files: list[str]) -> None:
    for chosen, code in ((files, 2), (files[:2], 1), (files[:1], 0)):
        result = check(*chosen, "--format", output)
        assert (result.exit_code, result.stderr) == (code, "")
        assert result.exit_code == check(*chosen).exit_code


# ------------------------------------------------------------------------------------------------------------- SARIF
def sarif(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check(*arguments, "--format", "sarif").stdout)
    return found


def check_log(log: dict[str, Any]) -> None:
    """What the schema of SARIF 2.1.0 and the rules of the standard ask of the parts that we write."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    driver = run["tool"]["driver"]
    assert driver["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", driver["semanticVersion"])
    identifiers = [rule["id"] for rule in driver["rules"]]
    assert len(set(identifiers)) == len(identifiers)
    for rule in driver["rules"]:
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
        assert all(rule[name]["text"] for name in ("shortDescription", "fullDescription", "help"))
        assert rule["help"]["markdown"].startswith(f"# {rule['id']}: ")
    assert all(isinstance(each["executionSuccessful"], bool) for each in run["invocations"])
    uris = [artifact["location"]["uri"] for artifact in run["artifacts"]]
    assert len(set(uris)) == len(uris)
    for result in run["results"]:
        assert identifiers[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        places = [*result["locations"], *result.get("relatedLocations", ())]
        assert len({place["id"] for place in places if "id" in place}) == len(result.get("relatedLocations", ()))
        for place in places:
            check_physical(place["physicalLocation"], uris)
        for fix in result.get("fixes", ()):
            assert fix["description"]["text"]
            for change in fix["artifactChanges"]:
                assert change["artifactLocation"]["uri"] in uris
                assert change["replacements"]
                for replacement in change["replacements"]:
                    check_region(replacement["deletedRegion"])
                    assert set(replacement) <= {"deletedRegion", "insertedContent"}


def check_physical(place: dict[str, Any], uris: list[str]) -> None:
    uri = place["artifactLocation"]["uri"]
    assert uri in uris
    assert re.fullmatch(r"(file:///)?(?:[A-Za-z0-9._~/!$&'()*+,;=@-]|%[0-9A-F]{2})+", uri)
    check_region(place["region"])


def check_region(region: dict[str, int]) -> None:
    assert all(isinstance(value, int) and value >= 1 for value in region.values())
    start, end = (region["startLine"], region["startColumn"]), (region["endLine"], region["endColumn"])
    assert start <= end


def test_sarif_has_the_form_of_the_standard(files: list[str]) -> None:
    log = sarif(*files)
    check_log(log)
    run = log["runs"][0]
    assert [unquote(each["location"]["uri"]) for each in run["artifacts"]] == files
    assert run["invocations"] == [{"executionSuccessful": False}]
    assert [result["ruleId"] for result in run["results"]] == ["P008", "P001", "P009"]
    assert sarif(files[0])["runs"][0]["results"] == []


def test_sarif_of_an_absolute_path(tmp_path: Path) -> None:
    path = tmp_path / "a rule.bylaw"
    path.write_text(WRONG, encoding="utf-8")
    check_log(log := sarif(path))
    assert log["runs"][0]["artifacts"][0]["location"]["uri"] == path.as_uri()


def test_places_in_imported_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").mkdir()
    (tmp_path / "main.bylaw").write_text("\nimport words.rude\nrule r { must be json }\n", encoding="utf-8")
    (tmp_path / "words" / "rude.bylaw").write_text("# one\n\nlexicon l = [“x”]\n", encoding="utf-8")
    places = {("P115", "main.bylaw", 2, 8), ("P001", "words/rude.bylaw", 3, 14)}
    log = sarif("main.bylaw")
    check_log(log)
    assert [each["location"]["uri"] for each in log["runs"][0]["artifacts"]] == ["main.bylaw", "words/rude.bylaw"]
    regions = [(each["ruleId"], each["locations"][0]["physicalLocation"]) for each in log["runs"][0]["results"]]
    assert places == {
        (code, where["artifactLocation"]["uri"], where["region"]["startLine"], where["region"]["startColumn"])
        for code, where in regions
    }
    found = json.loads(check("main.bylaw", "--format", "json").stdout)["diagnostics"]
    assert places == {(d["code"], d["path"], d["primary"]["line"], d["primary"]["column"]) for d in found}
    commands = check("main.bylaw", "--format", "github").stdout
    assert all(f"file={path},line={line},endLine={line},col={column}," in commands for _, path, line, column in places)


DIAGNOSTIC = Diagnostic(
    "P203",
    Severity.WARNING,
    "50 %, a: b",
    Label(Span(3, 5), "this"),
    (Label(Span(0, 2), "and this"), Label(Span(0, 1))),
    ("a note",),
    Fix("write x", Span(3, 5), "x"),
)


def checked(text: str = "ab\n\U0001f600d e", path: str = "p.bylaw", *more: Diagnostic) -> Checked:
    return Checked(path, Source(path, text), (DIAGNOSTIC, *more))


def test_sarif_says_all_that_the_diagnostic_says() -> None:
    log = json.loads(as_sarif([checked()]))
    check_log(log)
    (result,) = log["runs"][0]["results"]
    region = {"startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 3}  # an emoji is one character
    assert log["runs"][0]["columnKind"] == "unicodeCodePoints"
    assert result["locations"][0]["physicalLocation"]["region"] == region
    assert result["message"]["text"] == "50 %, a: b\nthis\nnote: a note\nfix: write x"
    assert [place.get("message") for place in result["relatedLocations"]] == [{"text": "and this"}, None]
    (change,) = result["fixes"][0]["artifactChanges"]
    assert change["replacements"] == [{"deletedRegion": region, "insertedContent": {"text": "x"}}]


def test_fingerprints_survive_new_lines_and_tell_twins_apart() -> None:
    def prints(*diagnostics: Diagnostic, before: str = "") -> list[str]:
        moved = tuple(
            Diagnostic(d.code, d.severity, d.message, Label(Span(d.primary.span.start + len(before), 10)))
            for d in diagnostics
        )
        log = json.loads(as_sarif([Checked("p", Source("p", before + "ab\nab\ncd"), moved)]))
        return [result["partialFingerprints"]["bylawFinding/v1"] for result in log["runs"][0]["results"]]

    first, twin, other = (Diagnostic("P005", Severity.ERROR, "m", Label(Span(at, at + 1))) for at in (0, 3, 6))
    assert len(set(prints(first, twin, other))) == 3
    assert prints(first, other) == prints(first, other, before="# new\n\n")


# ------------------------------------------------------------------------------------------------------------ GitHub
def test_github_commands_are_escaped() -> None:
    assert as_github([checked(path="a, b: 5%.bylaw")]) == (
        "::warning file=a%2C b%3A 5%25.bylaw,line=2,endLine=2,col=1,endColumn=3,title=P203"
        "::50 %25, a: b%0Athis%0Anote: a note%0Afix: write x"
    )


@pytest.mark.parametrize(
    ("severity", "command"), [(Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.NOTE, "notice")]
)
def test_github_severities_and_long_marks(severity: Severity, command: str) -> None:
    diagnostic = Diagnostic("P005", severity, "a\r\nb\x1b[2J", Label(Span(0, 4)))
    found = as_github([Checked("p", Source("p", "ab\ncd"), (diagnostic,))])
    assert found == f"::{command} file=p,line=1,endLine=2,title=P005::a\\u{{000d}}\\u{{000a}}b\\u{{001b}}[2J"


def test_github_says_nothing_of_a_sound_file(files: list[str]) -> None:
    assert check(files[0], "--format", "github").stdout == ""
    lines = check(*files, "--format", "github").stdout.splitlines()
    assert len(lines) == len(json.loads(check(*files, "--format", "json").stdout)["diagnostics"])
    assert all(
        re.match(r"::error file=[^:,]+,line=\d+,endLine=\d+,col=\d+,endColumn=\d+,title=P\d+::", x) for x in lines
    )


# ------------------------------------------------------------------------------------------------------------- JUnit
def test_junit_has_a_case_a_file_and_a_failure_an_error(files: list[str]) -> None:
    root = ET.fromstring(check(*files, "--format", "junit").stdout)
    found = json.loads(check(*files, "--format", "json").stdout)["diagnostics"]
    assert (root.tag, root.attrib) == (
        "testsuites",
        {"name": "bylaw check", "tests": "3", "failures": "1", "errors": "1"},
    )
    cases = root.findall("./testsuite/testcase")
    assert [case.get("name") for case in cases] == files
    assert len(cases[0]) == 0
    wrong = [each for each in found if each["path"] == files[1]]
    assert [each.get("type") for each in cases[1].findall("failure")] == [each["code"] for each in wrong]
    assert [each.get("message") for each in cases[1].findall("failure")] == [each["message"] for each in wrong]
    assert [each.get("type") for each in cases[2].findall("error")] == ["P009"]


def test_junit_keeps_warnings_out_of_the_failures() -> None:
    case = ET.fromstring(as_junit([checked()])).find("./testsuite/testcase")
    assert case is not None
    assert [child.tag for child in case] == ["system-out"]
    assert "warning[P203]: 50 %, a: b" in (case[0].text or "")


def test_junit_takes_any_character() -> None:
    awkward = "".join(map(chr, range(32))) + "\x7f<&>\"'\ufffe\ud800]]>"
    failure = Failure("P501", awkward, awkward)
    root = ET.fromstring(junit(awkward, [Case(awkward, awkward, (failure,), (), awkward)]))
    (case,) = root.findall("./testsuite/testcase")
    assert "\\u{0000}" in (case.get("name") or "")
    assert "<&>\"'" in (case.findtext("failure") or "")


# -------------------------------------------------------------------------------------------------------------- JSON
def test_json_is_one_object() -> None:
    found = json.loads(as_json([checked()], False))
    assert found["ok"] is False
    assert [(each["code"], each["path"], each["primary"]["line"]) for each in found["diagnostics"]] == [
        ("P203", "p.bylaw", 2)
    ]
