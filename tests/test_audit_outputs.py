"""What an audit writes: every file says the same, model text can do nothing in any, and files come whole or not."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import click
import pytest
from audit_pages import ANSWERS, EVIL, audited, compiled, traces
from click.testing import CliRunner, Result

from bylaw.compiler.evaluate import evaluate
from bylaw.compiler.pipeline import Compiled
from bylaw.runtime.audit.baseline import baseline_of, compare_with_baseline
from bylaw.runtime.audit.statistics import exact_lower, exact_upper, wilson
from bylaw.runtime.audit.transcripts import read_transcripts
from bylaw.runtime.cli import main
from bylaw.runtime.cli.audit_output import (
    baseline_or_exit,
    compare,
    need_folder,
    report_formats,
    say_comparison,
    with_baseline,
    write_files,
)
from bylaw.runtime.record import AuditRecord, Interval, TermAudit
from bylaw.runtime.report import ReportError, audit_files, passes_gate
from bylaw.runtime.report.audit_files import FORMATS, SUMMARY, formats_of, write_audit_files
from bylaw.runtime.report.audit_junit import audit_junit
from bylaw.runtime.report.audit_markdown import audit_markdown
from bylaw.runtime.report.audit_outcome import by_concern, outcome_of, state
from bylaw.runtime.report.audit_page import AnswerCollector, audit_page
from bylaw.runtime.report.audit_sarif import audit_sarif
from bylaw.runtime.report.audit_verdicts import OtherTranscripts, judged
from bylaw.runtime.report.figures import not_shown_words
from bylaw.runtime.report.gate import too_unscored
from bylaw.runtime.report.summary import audit_summary
from bylaw.spec.trace import Message, Trace


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled(tmp_path_factory.mktemp("a policy"))


@pytest.fixture(scope="module")
def given() -> list[Trace]:
    return traces()


@pytest.fixture(scope="module")
def record(policy: Compiled, given: list[Trace]) -> AuditRecord:
    return audited(policy, given)


@pytest.fixture(scope="module")
def folder(policy: Compiled, given: list[Trace], record: AuditRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All formats, without a baseline."""
    where = tmp_path_factory.mktemp("report")
    write_audit_files(where, tuple(FORMATS), record, given, policy.require(), policy.source)
    assert sorted(each.name for each in where.iterdir()) == sorted([*FORMATS.values(), SUMMARY])
    return where


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------------------------------------------------- verdicts
def test_every_verdict_is_the_evaluators_and_has_its_place(folder: Path, policy: Compiled, given: list[Trace]) -> None:
    program = policy.require()
    rows = iter(lines(folder))
    for number, trace in enumerate(given, 1):
        for term, found in zip(program.terms, evaluate(program, trace).terms, strict=True):
            row = next(rows)
            assert (row["transcript"], row["source"], row["term"]) == (number, trace.id, term.id)
            assert row["verdict"] == found.verdict.value.replace(" ", "_")
            assert row["reason"] == found.reason
            assert [tuple(each) for each in row["spans"]] == [(each.start, each.end) for each in found.evidence]
            assert row["evidence"] == [(trace.response or "")[start:end] for start, end in row["spans"]]
            said = "\n".join(policy.source.text.split("\n")[row["line"] - 1 : row["end_line"]])
            assert said[row["column"] - 1 :].startswith(policy.source.text[term.extent.start : term.extent.end][:20])
            assert row["file"] == policy.source.path
    assert next(rows, None) is None


def test_the_summary_counts_what_the_verdicts_say(folder: Path, record: AuditRecord) -> None:
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    rows = lines(folder)
    assert {row["verdict"] for row in rows} == {"satisfied", "violated", "not_applicable", "unscored"}
    for term in summary["terms"]:
        own = [row["verdict"] for row in rows if row["term"] == term["term"]]
        assert term["violated"] == own.count("violated")
        assert term["unscored"] == own.count("unscored")
        assert term["not_applicable"] == own.count("not_applicable")
        assert term["applicable"] + term["unscored"] + term["not_applicable"] == summary["transcripts"] == len(own)
        if term["rate"] is not None:
            assert term["interval"]["low"] <= term["rate"] <= term["interval"]["high"]
    assert (summary["result"], summary["gate"], summary["clusters"]) == ("failed", passes_gate(record), 7)
    assert not any(answer in (folder / SUMMARY).read_text(encoding="utf-8") for answer in ANSWERS)


def test_verdicts_by_one_pass_over_all_patterns_are_the_same(
    policy: Compiled, given: list[Trace], record: AuditRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [each.scores for each in judged(policy.require(), given, record)]
    monkeypatch.setattr("bylaw.runtime.report.audit_verdicts._SCANNED_FROM", 0)
    assert [each.scores for each in judged(policy.require(), given, record)] == slow


@pytest.mark.parametrize("wrong", ["fewer", "changed", "rules"])
def test_transcripts_of_another_audit_are_refused_and_nothing_is_replaced(
    wrong: str, policy: Compiled, given: list[Trace], record: AuditRecord, tmp_path: Path
) -> None:
    (tmp_path / "verdicts.jsonl").write_text("earlier", encoding="utf-8")
    other = {"fewer": given[:-1], "changed": [*given[:-1], given[0]], "rules": given}[wrong]
    of = replace(record, terms=record.terms[:-1]) if wrong == "rules" else record
    with pytest.raises(OtherTranscripts):
        write_audit_files(tmp_path, ("jsonl", "html"), of, other, policy.require(), policy.source)
    assert [each.name for each in tmp_path.iterdir()] == ["verdicts.jsonl"]
    assert (tmp_path / "verdicts.jsonl").read_text(encoding="utf-8") == "earlier"


def test_an_interrupted_audit_covers_what_was_done(policy: Compiled, given: list[Trace], tmp_path: Path) -> None:
    part = replace(audited(policy, given[:5]), complete=False)
    write_audit_files(tmp_path, ("jsonl", "html"), part, given, policy.require(), policy.source)
    assert {row["transcript"] for row in lines(tmp_path)} == {1, 2, 3, 4, 5}
    assert "Interrupted." in (tmp_path / "audit.html").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------- verdict
def test_the_verdict_is_that_of_the_gate(record: AuditRecord) -> None:
    """Over all combinations of what a clause can come to."""
    hard, *_ = record.terms
    limit = next(term for term in record.terms if term.bound is not None)
    soft = next(term for term in record.terms if term.kind == "soft")
    nothing = {"rate": None, "interval": None}
    hards = [replace(hard, violated=v, unscored=u) for v in (0, 2) for u in (0, 3)]
    hards.append(replace(hard, applicable=0, violated=0, unscored=0, **nothing))
    limits = [replace(limit, within=w, unscored=u) for w in (True, False, None) for u in (0, 3)]
    limits.append(replace(limit, within=None, applicable=0, unscored=0, **nothing))
    limits.append(replace(limit, within=None, applicable=0, unscored=3, **nothing))
    seen = set()
    for one, two in itertools.product([None, *hards], [None, *limits]):
        of = replace(record, terms=tuple(each for each in (one, two, soft) if each is not None))
        outcome = outcome_of(of)
        seen.add(outcome.result)
        concerns = {state(each) for each in of.terms if each is not soft}
        assert passes_gate(of) == (not concerns & {"broken", "unknown"} and not too_unscored(of))
        if not passes_gate(of):
            assert outcome.result == ("failed" if "broken" in concerns else "cannot be told")
        else:
            assert outcome.result != "failed"
            assert (outcome.result == "cannot be told") == (concerns == {"idle"})
    assert seen == {"passed", "failed", "cannot be told"}
    assert outcome_of(replace(record, transcripts=0, terms=())).result == "cannot be told"


def _near(limit: TermAudit, violated: int, of: int, asked: float, sense: str = "at most") -> TermAudit:
    """A limit with the figures of so many events in so many answers, judged as the audit judges it."""
    upper = sense == "at most"
    edge = (exact_upper if upper else exact_lower)(violated, of, 0.95)
    return replace(
        limit, applicable=of, violated=violated, unscored=0, rate=violated / of, interval=wilson(violated, of),
        sense=sense, bound=asked, confidence=0.95, confidence_bound=edge, is_scored_enough=True,
        within=edge <= asked if upper else edge >= asked,
    )  # fmt: skip


def test_a_limit_that_is_not_shown_to_be_kept_is_not_called_broken(policy: Compiled, record: AuditRecord) -> None:
    """5 of 80 keeps 10 %, and 95 % sure is only 12.7 %: neither kept nor broken, in every format; the gate fails."""
    limit = next(term for term in record.terms if term.bound is not None)
    hard = next(term for term in record.terms if term.kind == "hard" and term.violated)
    near = _near(limit, 5, 80, 0.1)
    assert near.within is False
    of = replace(record, terms=(hard, near), transcripts=80)
    said = "6.2%, at most 10% asked with 95% confidence; 80 answers are too few or it is too near"
    assert (state(near), not_shown_words(near)) == ("unshown", said)
    assert outcome_of(of).headline == (
        "1 of 2 rules and limits that must be kept was broken, 1 was not shown to be kept."
    )
    alone = outcome_of(replace(of, terms=(near,)))
    assert alone.result == "failed"
    assert alone.headline == "1 of 1 rule or limit that must be kept was not shown to be kept."
    assert not passes_gate(replace(of, terms=(near,)))
    one = replace(of, terms=(near,))
    assert f"({said})." in " ".join(audit_summary(one))
    sarif_text, junit_text = audit_sarif(one, policy.require(), policy.source), audit_junit(one)
    for text in (audit_page(one, AnswerCollector(3)), audit_markdown(one), junit_text, sarif_text):
        assert said in text
        assert "not shown to be kept" in text
        assert "missed (" not in text
        assert ">missed<" not in text
    failure = ET.fromstring(junit_text).find(".//failure")
    assert failure is not None
    assert failure.get("type") == "not shown to be kept"
    result = json.loads(sarif_text)["runs"][0]["results"][0]
    assert (result["level"], result["kind"], result["properties"]["state"]) == ("error", "fail", "unshown")


def test_counts_say_what_they_count(record: AuditRecord) -> None:
    """A preference is never counted as kept, and weighed rules stand apart from those that must be kept."""
    binding = [term for term in record.terms if term.kind == "hard" or term.bound is not None]
    page = audit_page(record, AnswerCollector(3))
    tiles = re.findall(r"<li><b>(\d+)</b> of (\d+) rules and limits that must be kept: ([^<]*)</li>", page)
    assert sum(int(number) for number, _, _ in tiles) == len(binding) < len(record.terms)
    assert {int(of) for _, of, _ in tiles} == {len(binding)}
    hard = sum(term.kind == "hard" and term.violated > 0 for term in record.terms)
    soft = sum(term.kind == "soft" and term.violated > 0 for term in record.terms)
    said = re.search(r"broken \((\d+) hard rules?(?: and (\d+) weighed rules?)?\)\.", audit_summary(record)[0])
    assert said is not None
    assert (int(said[1]), int(said[2] or 0)) == (hard, soft)


def test_only_a_rate_that_keeps_the_limit_is_not_shown(record: AuditRecord) -> None:
    limit = next(term for term in record.terms if term.bound is not None)
    near = _near(limit, 5, 80, 0.1)
    assert state(_near(limit, 9, 80, 0.1)) == "broken"
    assert state(_near(limit, 1, 80, 0.1)) == "kept"
    assert state(_near(limit, 75, 80, 0.9, "at least")) == "unshown"
    assert state(_near(limit, 71, 80, 0.9, "at least")) == "broken"
    assert state(replace(near, confidence=None)) == "broken"
    assert state(replace(near, each_prompt=True)) == "broken"  # a single prompt may speak against it
    assert state(replace(near, sense="exactly")) == "broken"


def test_the_worst_rule_is_the_one_that_is_worst_for_certain(record: AuditRecord) -> None:
    """One of one is 100 % and says little; 400 of 1,000 is less and says much."""
    one = replace(record.terms[0], term="one", applicable=1, violated=1, rate=1.0, interval=Interval(0.21, 1.0))
    many = replace(one, term="many", applicable=1000, violated=400, rate=0.4, interval=Interval(0.37, 0.43))
    fine = replace(one, term="fine", violated=0, rate=0.0, interval=Interval(0.0, 0.9))
    assert [each.term for each in by_concern((fine, one, many))] == ["many", "one", "fine"]


def test_a_pass_says_how_much_may_have_gone_unseen(policy: Compiled) -> None:
    fine = [Trace((Message("user", str(n)), Message("assistant", "Yes.")), {"meta.guest": False}) for n in range(59)]
    outcome = outcome_of(audited(policy, fine))
    assert outcome.result == "passed"
    assert "6.1% of the answers" in outcome.remarks[0]  # Wilson's upper end for 0 of 59


# ------------------------------------------------------------------------------------------------------------- HTML
class Page(HTMLParser):
    """Tags and attributes, and what a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def hidden(text: str) -> set[str]:
    return {c for c in text if c not in "\n\u200c\u200d" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


def test_the_page_loads_nothing_and_lets_no_text_out_of_its_place(folder: Path) -> None:
    text = (folder / "audit.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert not {"img", "iframe", "link", "object", "base"} & set(page.tags)
    assert not any(name.startswith("on") or name in ("src", "style") for name, _ in page.attributes)
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert not hidden(text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "{{ 7*7 }}" in text


def test_only_the_pages_own_script_and_style_are_allowed(folder: Path) -> None:
    text = (folder / "audit.html").read_text(encoding="utf-8")
    (rules,) = (value for name, value in Page(text).attributes if value.startswith("default-src"))
    assert rules.startswith("default-src 'none'; ")
    assert "unsafe" not in rules
    for tag, source in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in rules


def test_the_page_can_be_read_without_seeing_it(folder: Path) -> None:
    text = (folder / "audit.html").read_text(encoding="utf-8")
    page = Page(text)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for name, value in page.attributes:
        if name in ("aria-labelledby", "for"):
            assert set(value.split()) <= set(ids)
    assert {"main", "header", "footer", "h1", "h2", "form", "label"} <= set(page.tags)
    assert page.tags.count("label") == 4
    assert ("aria-live", "polite") in page.attributes
    assert text.count('role="img"') == page.tags.count("svg") - text.count('viewBox="0 0 26 14"')
    assert text.count("<th ") == text.count('<th scope="')


def test_evidence_is_marked_in_the_answers(folder: Path) -> None:
    text = (folder / "audit.html").read_text(encoding="utf-8")
    answers = text[text.index("<h3>Answers</h3>") :]
    assert "That is a <mark>damn</mark> nuisance, <mark>what the hell</mark>." in answers
    assert answers.count("<mark>4242 4242 4242 4242</mark>") == 2
    assert "<code>no_refunds</code>: message 2: call to refund" in answers
    # the message that broke the rule can be seen in the conversation
    assert answers.count("The whole conversation (3 messages)") == 1
    assert re.search(r"message 2 · call to refund</p>\s*<p class=\"words\">5</p>", answers)
    assert "could not be scored: the fact `meta.guest` is not given" in answers


def test_a_page_shows_some_answers_of_each_rule_and_says_so(policy: Compiled, given: list[Trace]) -> None:
    many = traces(repeat=20)
    of = audited(policy, many)
    collector = AnswerCollector(3)
    for each in judged(policy.require(), many, of):
        collector.add(each)
    shown = [mention.term for answer in collector.answers for mention in answer.broken]
    for term in of.terms:
        # an answer that is shown for one rule may break another one too
        assert shown.count(term.term) >= min(3, term.violated)
    assert len(collector.answers) < collector.found
    assert "the first 3 that break it" in audit_page(of, collector)


# ------------------------------------------------------------------------------------------- Markdown, JUnit, SARIF
def test_markdown_opens_with_the_verdict(folder: Path, record: AuditRecord) -> None:
    text = (folder / "audit.md").read_text(encoding="utf-8")
    title, _, verdict, *_ = text.split("\n")
    assert title.startswith("# Audit of")
    assert verdict == f"**Failed.** {outcome_of(record).headline}"
    assert not hidden(text)


def test_junit_fails_where_the_gate_does(folder: Path, record: AuditRecord) -> None:
    root = ET.parse(folder / "junit.xml").getroot()
    found = {case.get("name"): {part.tag for part in case} for case in root.iter("testcase")}
    for term in record.terms:
        expected = {"broken": {"failure"}, "unshown": {"failure"}, "unknown": {"error"}}.get(
            state(term), {"system-out"}
        )
        assert found[term.term] == expected
    failures = {case.get("name"): case.find("failure") for case in root.iter("testcase")}
    swearing = failures["no_swearing"]
    assert swearing is not None
    assert "rules.bylaw:7:3: must not mention" in str(swearing.text)
    assert "4 of 13" in str(swearing.text)
    assert root.get("failures") == str(sum(tags == {"failure"} for tags in found.values())) == "4"


def sarif(text: str) -> dict[str, Any]:
    """The run, after what the standard asks of the parts that we write was checked."""
    log = json.loads(text)
    assert (set(log), log["version"]) == ({"$schema", "version", "runs"}, "2.1.0")
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    uris = [each["location"]["uri"] for each in run["artifacts"]]
    assert len(set(rules)) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        # standard, 3.27.10: only what fails has a level
        assert (result["level"] == "none") == (result["kind"] != "fail")
        assert result["message"]["text"]
        for place in (*result["locations"], *result.get("relatedLocations", ())):
            if "physicalLocation" in place:
                uri = place["physicalLocation"]["artifactLocation"]["uri"]
                assert uri in uris
                assert re.fullmatch(r"(file:///)?(?:[A-Za-z0-9._~/!$&'()*+,;=@-]|%[0-9A-F]{2})+", uri)
                assert all(number >= 1 for number in place["physicalLocation"]["region"].values())
    assert len({"baselineState" in result for result in run["results"]}) <= 1
    assert isinstance(run, dict)
    return run


def test_sarif_points_at_the_rule_and_at_the_answers_that_broke_it(folder: Path, policy: Compiled) -> None:
    run = sarif((folder / "audit.sarif").read_text(encoding="utf-8"))
    results = {result["ruleId"]: result for result in run["results"]}
    assert {name: result["level"] for name, result in results.items()} == {
        "no_card_numbers": "error",
        "no_swearing": "error",
        "guests_wait": "error",
        "no_refunds": "error",
        "no_law": "note",
    }
    swearing = results["no_swearing"]
    where = swearing["locations"][0]["physicalLocation"]
    assert unquote(where["artifactLocation"]["uri"]) == Path(policy.source.path).as_uri().replace("%20", " ")
    assert where["region"]["startLine"] == 7
    assert "4 of 13" in swearing["message"]["text"]
    first = swearing["relatedLocations"][0]
    assert unquote(first["physicalLocation"]["artifactLocation"]["uri"]) == "log of may.jsonl"
    assert first["physicalLocation"]["region"] == {"startLine": 3}
    # a transcript whose name is no file and line
    assert "logicalLocations" in results["no_refunds"]["relatedLocations"][0]


def test_sarif_and_junit_say_what_is_new(policy: Compiled, given: list[Trace], record: AuditRecord) -> None:
    clean = [replace_answer(each, "Fine: please wait") if "damn" in (each.response or "") else each for each in given]
    compared = compare_with_baseline(record, baseline_of(audited(policy, clean)))
    run = sarif(audit_sarif(record, policy.require(), policy.source, compared))
    states = {result["ruleId"]: result["baselineState"] for result in run["results"]}
    assert (states["no_swearing"], states["no_card_numbers"]) == ("new", "unchanged")
    back = compare_with_baseline(audited(policy, clean), baseline_of(record))
    run = sarif(audit_sarif(audited(policy, clean), policy.require(), policy.source, back))
    assert {r["ruleId"]: r["baselineState"] for r in run["results"]}["no_swearing"] == "absent"


def replace_answer(trace: Trace, answer: str) -> Trace:
    return replace(trace, messages=(*trace.messages[:-1], Message("assistant", answer)))


# ------------------------------------------------------------------------------------------------------------- files
def test_formats_are_named_with_commas() -> None:
    assert formats_of(" html,md , html") == ("html", "md")
    for text, said in (("", "no report format"), ("html,pdf", "no report format `pdf`; choose of html, md")):
        with pytest.raises(ReportError, match=said):
            formats_of(text)


def test_files_are_replaced_together_or_not_at_all(
    policy: Compiled, given: list[Trace], record: AuditRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (record, given, policy.require(), policy.source)
    write_audit_files(tmp_path, ("md", "jsonl"), *arguments)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def fails(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(audit_files, "summary_json", fails)
        with pytest.raises(ReportError, match="no space left"):
            write_audit_files(tmp_path, ("html", "md"), *arguments)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    # a format that was not asked for again is gone: it would say something else
    write_audit_files(tmp_path, ("html",), *arguments)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.html", SUMMARY]
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ReportError, match="cannot be written"):
        write_audit_files(tmp_path / "file", ("md",), *arguments)


def test_half_a_character_does_not_keep_a_report_from_being_written(policy: Compiled, tmp_path: Path) -> None:
    odd = [Trace((Message("user", "\ud800"), Message("assistant", "damn \udc00")), {"meta.guest": False}, "\ud800:1")]
    write_audit_files(tmp_path, tuple(FORMATS), audited(policy, odd), odd, policy.require(), policy.source)
    assert lines(tmp_path)[0]["source"] == "\ud800:1"
    ET.parse(tmp_path / "junit.xml")
    sarif((tmp_path / "audit.sarif").read_text(encoding="utf-8"))


# ----------------------------------------------------------------------------------------------------------- command
@click.command()
@click.argument("transcripts")
@click.option("--rules")
@click.option("--report", "formats", callback=report_formats)
@click.option("--out")
@click.option("--baseline")
@click.pass_context
def command(
    context: click.Context,
    transcripts: str,
    rules: str,
    formats: tuple[str, ...],
    out: str | None,
    baseline: str | None,
) -> None:
    """What `bylaw audit` does with the two options."""
    need_folder(formats, out)
    policy = compiled(Path(rules).parent)
    earlier = baseline_or_exit(baseline, policy.require().policy)
    given = read_transcripts(transcripts).traces
    record = audited(policy, given)
    compared = compare(record, earlier)
    if out is not None and formats:
        write_files(out, formats, record, given, policy, compared)
    say_comparison(compared, "text")
    context.exit(with_baseline(0, compared))


def run(tmp_path: Path, answers: list[str], *options: str) -> Result:
    path = tmp_path / "log.jsonl"
    data = [{"prompt": f"Hello {n}", "response": answer, "guest": False} for n, answer in enumerate(answers)]
    path.write_text("\n".join(map(json.dumps, data)), encoding="utf-8")
    result = CliRunner().invoke(command, [str(path), "--rules", str(tmp_path / "rules.bylaw"), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_baseline_lets_known_findings_pass_and_new_ones_fail(tmp_path: Path) -> None:
    out, kept = str(tmp_path / "out"), str(tmp_path / "out" / SUMMARY)
    known = ["damn", *["Fine."] * 30]
    assert run(tmp_path, known, "--report", "jsonl", "--out", out).exit_code == 0
    assert run(tmp_path, known, "--baseline", kept).exit_code == 0
    worse = run(
        tmp_path, [*known, "We charged 4242 4242 4242 4242."], "--baseline", kept, "--report", "html,md", "--out", out
    )
    assert worse.exit_code == 4
    assert "no_card_numbers (new)" in worse.stdout
    assert "(new)" not in worse.stderr
    for name in ("audit.html", "audit.md"):
        assert "ince the baseline" in (tmp_path / "out" / name).read_text(encoding="utf-8")
    # the summary of that run is a baseline in its turn
    assert run(tmp_path, [*known, "We charged 4242 4242 4242 4242."], "--baseline", kept).exit_code == 0


def behind(tmp_path: Path, output: str) -> str:
    """What `bylaw audit --baseline` prints behind the audit; a card number is new, and the swearing is known."""
    run(tmp_path, ["damn", *["Fine."] * 30], "--report", "jsonl", "--out", str(tmp_path / "kept"))
    run(tmp_path, ["damn", "We charged 4242 4242 4242 4242.", *["Fine."] * 30])
    words = ["audit", str(tmp_path / "rules.bylaw"), str(tmp_path / "log.jsonl"), "--format", output]
    plain = CliRunner().invoke(main, words)
    found = CliRunner().invoke(main, [*words, "--baseline", str(tmp_path / "kept" / SUMMARY)])
    assert (plain.exit_code, found.exit_code, found.stderr) == (0, 4, "")
    if output == "json":
        data = json.loads(found.stdout)
        compared = data.pop("baseline")
        assert data == json.loads(plain.stdout)
        return json.dumps(compared)
    assert found.stdout.startswith(plain.stdout)
    return found.stdout.removeprefix(plain.stdout)


SAID = "Held against the baseline, 1 rule fails: no_card_numbers (new). 1 finding of the baseline is still there."


def test_what_failed_stands_behind_the_audit_on_stdout(tmp_path: Path) -> None:
    said = behind(tmp_path, "text")
    assert re.search(r"^ no_card_numbers +new ", said, re.MULTILINE)
    assert re.search(r"^ no_swearing +known ", said, re.MULTILINE)
    assert SAID in " ".join(said.split())


def test_what_failed_is_a_section_of_the_markdown_on_stdout(tmp_path: Path) -> None:
    said = behind(tmp_path, "markdown")
    assert said.startswith("\n## Since the baseline\n\n")
    rows = [line.split(" | ")[:2] for line in said.splitlines() if line.startswith("| ")]
    assert rows[0] == ["| rule", "since the baseline"]
    assert [name.replace("\\", "") for name, how in rows if how in ("new", "known")] == [
        "| no_card_numbers",
        "| no_swearing",
    ]
    assert SAID in said.replace("\\", "")


def test_what_failed_is_a_key_of_the_json_on_stdout(tmp_path: Path) -> None:
    said = json.loads(behind(tmp_path, "json"))
    assert (said["fails"], said["failing"]) == (True, ["no_card_numbers"])
    assert {each["term"]: each["status"] for each in said["changes"]}["no_swearing"] == "known"


def test_wrong_options_are_one_message(tmp_path: Path) -> None:
    for options, said in (
        (("--report", "html"), "name their folder with --out"),
        (("--report", "pdf", "--out", "x"), "there is no report format `pdf`"),
        (("--baseline", str(tmp_path / "none.json")), "cannot be read: no such file"),
    ):
        result = run(tmp_path, ["Fine."], *options)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_hostile_policy_name_or_rule_cannot_reach_the_terminal(tmp_path: Path) -> None:
    run(tmp_path, ["Fine."] * 3, "--report", "md", "--out", str(tmp_path / "out"))
    path = tmp_path / "out" / SUMMARY
    data = json.loads(path.read_text(encoding="utf-8"))
    data["terms"].append({**data["terms"][0], "term": EVIL})
    data["source"] = EVIL
    path.write_text(json.dumps(data), encoding="utf-8")
    result = run(tmp_path, ["Fine."] * 3, "--baseline", str(path))
    assert "removed" in result.stdout
    assert "\x1b" not in result.output
