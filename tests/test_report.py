"""Reports: what they say, that model text can do nothing in them, and that files are written whole or not at all."""

from __future__ import annotations

import io
import json
import math
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bylaw.runtime.record import (
    Agreement,
    AuditRecord,
    BudgetResult,
    Calibration,
    Check,
    DecoderSummary,
    Finding,
    InputProblem,
    Interval,
    Price,
    RecordError,
    RunRecord,
    SamplePair,
    TermAudit,
    TermPrice,
    run_from_json,
    to_json,
)
from bylaw.runtime.report import (
    ReportError,
    passes_gate,
    render_console,
    render_html,
    render_markdown,
    report_directory,
    write_report,
)
from bylaw.runtime.report import write as write_module
from bylaw.runtime.report.charts import BarRow, Estimate, RateRow, bar_chart, rate_chart
from bylaw.runtime.report.figures import percent, quantity, stated_percent
from bylaw.runtime.report.summary import audit_summary, run_summary
from bylaw.runtime.report.text import excerpt

EVIL = '\x1b[31m</p><script>alert(1)</script><img src=x onerror=alert(1)>\u202e"\x07 [bold]x[/bold] ```\n# title'
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "footer", "header", "section", "h1", "h2", "h3"}
TAGS |= {"p", "strong", "code", "small", "span", "a", "ul", "li", "dl", "dt", "dd", "div", "details", "summary", "mark"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "pre", "svg", "desc", "line", "path", "circle", "rect", "text"}


def _term(**changes: object) -> TermAudit:
    term = TermAudit(
        term="clean",
        rule="clean",
        title=None,
        kind="hard",
        level="law",
        clause='the response must not contain "bad"',
        location="rules.bylaw:2:3",
        applicable=768,
        violated=0,
        unscored=0,
        not_applicable=0,
        rate=0.0,
        interval=Interval(0.0, 0.005),
        best=0.0,
        worst=0.0,
    )
    return replace(term, **changes)  # type: ignore[arg-type]


BROKEN = _term(violated=300, rate=300 / 768, interval=Interval(0.36, 0.43), best=0.39, worst=0.39)
BUDGET = _term(
    term="seldom",
    kind="budget",
    clause='limit responses that contain "sorry" to at most 5% with 95% confidence',
    violated=30,
    rate=30 / 768,
    interval=Interval(0.03, 0.06),
    sense="at most",
    bound=0.05,
    confidence=0.95,
    confidence_bound=0.053,
    within=False,
)
GRADED = _term(
    term="short", kind="graded", rate=None, interval=None, mean=12.5, mean_interval=Interval(11, 14), weight=-0.1
)


def _audit(*terms: TermAudit, **changes: object) -> AuditRecord:
    record = AuditRecord("demo", "1", "sha256:abc", "log.jsonl", 768, terms)
    return replace(record, **changes)  # type: ignore[arg-type]


def _evil_audit(words: str = EVIL) -> AuditRecord:
    finding = Finding(words, words, words, ((2, 9),))
    agreement = Agreement(
        words,
        words,
        (words,),
        1,
        2,
        3,
        4,
        5,
        0.5,
        Interval(0.2, 0.8),
        0.25,
        Interval(0, 1),
        None,
        None,
        None,
        0.4,
        0.3,
        0.6,
    )
    term = replace(BROKEN, clause=words, title=words, location=words, level=words, reasons=((words, 3),), unscored=3)
    return _audit(
        replace(term, findings=(finding,)),
        replace(BUDGET, clause=words),
        source=words,
        policy=words,
        problems=(InputProblem(words, 3, words),),
        agreements=(agreement,),
    )


def _run(**changes: object) -> RunRecord:
    record = RunRecord(
        policy="demo",
        policy_version="1",
        policy_digest="sha256:abc",
        policy_path="rules.bylaw",
        policy_text='policy demo\nrule clean { the response must not contain "bad" }\n',
        model="chat",
        model_digest="f" * 64,
        prompts="prompts.jsonl",
        prompt_count=256,
        seed=7,
        samples_per_prompt=3,
        max_tokens=64,
        seconds=12.5,
        bylaw_version="0.1.0",
        warnings=(),
        base=_audit(BROKEN, BUDGET, GRADED),
        calibration=Calibration(
            (
                BudgetResult(
                    "seldom", "at most", 0.05, 1.7, Interval(1.4, 2.1), 0.3, 0.05, Interval(0.04, 0.06), "binding"
                ),
            ),
            4,
            2048,
            812.0,
            3.2,
            True,
        ),
        regulated=_audit(_term(), BUDGET, GRADED),
        price=Price(
            0.84, Interval(0.7, 0.98), (TermPrice("clean", 0.6, 0.02), TermPrice("seldom", 0.24, 0.03)), "exact"
        ),
        decoder=DecoderSummary("smc", False, 32, 17.0, 2.0, -1.2, 4, 123456),
        pairs=(SamplePair("p1", "hi", "bad answer", ("clean",), ((0, 3),), "good answer", (), ()),),
        complete=True,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def _evil_run(words: str = EVIL) -> RunRecord:
    pair = SamplePair(words, words, words, (words,), ((0, 5),), words, (words,), ((1, 3),))
    names = ("policy", "policy_version", "policy_path", "policy_text", "model", "prompts", "bylaw_version")
    audit = _evil_audit(words)
    return _run(**dict.fromkeys(names, words), base=audit, regulated=audit, pairs=(pair,), warnings=(words,))


def _printed(record: AuditRecord | RunRecord, **options: object) -> str:
    file = io.StringIO()
    render_console(record, Console(file=file, width=120, **options))  # type: ignore[arg-type]
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------ what is said
def test_the_summary_of_a_run_names_rules_price_and_limits():
    first, *others = run_summary(_run())
    assert first == (
        "Under this policy the model broke no hard rule in 768 answers (at most 0.5%), at a price of 0.84 nats a "
        "response (0.70 to 0.98)."
    )
    assert any("broke 1 hard rule" in s and "39.1%" in s for s in others)
    assert any(s.startswith("Not shown to be kept:") and "at most 5%" in s for s in others)
    assert not any(s.startswith("Missed:") for s in others)


def test_a_broken_hard_rule_opens_the_summary():
    assert "still broke 1 of 1 hard rule" in run_summary(_run(regulated=_audit(BROKEN)))[0]


def test_unscored_answers_take_the_certainty_out_of_the_summary():
    first, *others = run_summary(_run(regulated=_audit(_term(unscored=5))))
    assert "as far as could be scored" in first
    assert "at most" not in first
    assert any("5 answers" in s for s in others)


def test_a_biased_decoder_and_a_calibration_that_did_not_converge_are_said():
    run = _run()
    assert run.decoder is not None
    assert run.calibration is not None
    said = " ".join(
        run_summary(
            replace(
                run, decoder=replace(run.decoder, biased=True), calibration=replace(run.calibration, converged=False)
            )
        )
    )
    assert "biased" in said
    assert "did not converge" in said


def test_the_summary_of_an_audit():
    said = " ".join(audit_summary(_audit(BROKEN, BUDGET, _term(applicable=0, rate=None, interval=None))))
    assert "1 of 2 rules was broken" in said
    assert "0 of 1 limit is met" in said
    assert "never applied" in said
    assert "no rule was found broken (at most 0.5% of them" in audit_summary(_audit(_term()))[0]
    assert audit_summary(_audit(transcripts=0))[0] == "No transcript was audited."


@pytest.mark.parametrize("render", [render_html, render_markdown, _printed])
def test_every_report_of_a_run_has_the_figures(render):
    page = " ".join(render(_run()).split())
    for words in ("39.1%", "0.84 nats", "1.70", "0.60", "shown", "mean 12.50", "812"):
        assert words in page


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_documents_have_the_policy_the_pairs_and_how_it_was_made(render):
    page = render(_run())
    for words in ("sha256:abc", "f" * 64, "p1", "good answer", "policy demo", "prompts.jsonl", "0.1.0"):
        assert words in page
    assert "seed" in page


def test_evidence_is_marked_everywhere():
    record = _audit(replace(BROKEN, findings=(Finding("t1", "hi", "so bad it is", ((3, 6),)),)))
    assert "so <mark>bad</mark> it is" in render_html(record)
    assert "so ⟦bad⟧ it is" in render_markdown(record)
    assert "so ⟦bad⟧ it is" in _printed(record)


def test_agreement_stands_beside_its_baseline():
    agreement = Agreement(
        "clean",
        "meta.human",
        ("broken",),
        3,
        1,
        1,
        3,
        0,
        0.75,
        Interval(0.4, 0.9),
        0.75,
        None,
        0.75,
        None,
        0.5,
        0.5,
        0.5,
        0.625,
    )
    record = _audit(BROKEN, agreements=(agreement,))
    for render in (render_html, render_markdown, _printed):
        page = render(record)
        assert "75.0%" in page
        assert "62.5%" in page


@pytest.mark.parametrize("render", [render_html, render_markdown, _printed])
@pytest.mark.parametrize(
    "missing",
    [("base",), ("regulated", "price", "decoder"), ("base", "calibration", "regulated", "price", "decoder")],
)
def test_an_interrupted_run_renders_with_a_banner(render, missing):
    page = render(_run(**dict.fromkeys(missing), pairs=(), complete=False))
    assert "interrupted" in page.lower()


@pytest.mark.parametrize("render", [render_html, render_markdown, _printed])
def test_an_empty_audit_renders(render):
    assert "No transcript was audited." in render(_audit(transcripts=0, complete=False))


# ----------------------------------------------------------------------------------------------- hostile model text
class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)
        for name, value in attrs:
            if name in ("href", "src"):
                assert (value or "").startswith("#")


@pytest.mark.parametrize("record", [_evil_audit(), _evil_run()], ids=["audit", "run"])
def test_model_text_is_no_html(record):
    page = render_html(record)
    tags = _Tags()
    tags.feed(page)
    assert tags.names <= TAGS
    assert not any(name.startswith("on") for name in tags.attributes)
    assert "&lt;script&gt;" in page
    assert not _hidden(page)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_no_text_gets_out_of_its_place(words):
    page = render_html(_evil_audit(words))
    tags = _Tags()
    tags.feed(page)
    assert tags.names <= TAGS
    assert not _hidden(page)
    assert not _hidden(_printed(_evil_run(words)))
    assert not _hidden(render_markdown(_evil_run(words)))


@pytest.mark.parametrize("record", [_evil_audit(), _evil_run()], ids=["audit", "run"])
def test_the_console_sends_no_escape_and_reads_no_markup(record):
    printed = _printed(record)
    assert not _hidden(printed)
    assert "[bold]" in printed


def test_colours_are_for_terminals_only():
    assert "\x1b" not in _printed(_audit(BROKEN))
    coloured = _printed(_evil_audit(), force_terminal=True, color_system="standard", legacy_windows=False)
    assert "\x1b[31m</p>" not in coloured


def test_a_terminal_without_unicode_still_gets_its_report():
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding="ascii")
    record = _audit(replace(BROKEN, findings=(Finding("t1", "hi", "so bad, é", ((3, 6),)),)))
    render_console(record, Console(file=file, width=100))
    file.flush()
    assert b"so [[bad]], \\xe9" in buffer.getvalue()


def test_model_text_is_no_markdown():
    page = render_markdown(_evil_audit("a | b\n![x](http://e.example/x.png) <b> ```` ~~~"))
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert all("![x](" not in line for line in table)
    fences = [line for line in page.splitlines() if line.startswith("`````")]
    assert len(fences) % 2 == 0
    assert fences


def _hidden(text: str) -> list[str]:
    """Characters that a reader would not see: controls, formats, halves of pairs."""
    allowed = "\n\u200c\u200d"
    return [c for c in text if c not in allowed and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


# ------------------------------------------------------------------------------------------------------------ pieces
def test_an_excerpt_shows_the_first_mark_of_a_long_text():
    shown = excerpt("a" * 5000 + "bad" + "c" * 5000, [(5000, 5003)], most=400)
    assert [p.text for p in shown.pieces if p.marked] == ["bad"]
    assert shown.left_out == 5000 + 3 + 5000 - 400
    assert shown.pieces[0].text == shown.pieces[-1].text == "…"


@given(st.text("ab\n", max_size=50), st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60)), max_size=6))
def test_the_pieces_of_an_excerpt_are_the_text(words, spans):
    shown = excerpt(words, spans)
    assert "".join(p.text for p in shown.pieces) == words
    marked = sum(len(p.text) for p in shown.pieces if p.marked)
    covered = len({i for low, high in spans for i in range(max(low, 0), min(high, len(words)))})
    assert marked == (0 if shown.whole else covered)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.05, "5.0%"),
        (0.0004, "0.04%"),
        (1e-9, "< 0.001%"),
        (0.9996, "99.96%"),
        (0.99999999, "99.99%"),
    ],
)
def test_percentages_are_never_rounded_to_certainty(share, words):
    assert percent(share) == words


def test_figures():
    assert [quantity(v) for v in (0, 0.0123, 1.5, 812.4, 12345.6, float("nan"))] == [
        "0",
        "0.012",
        "1.50",
        "812.4",
        "12,346",
        "unknown",
    ]
    assert stated_percent(0.995) == "99.5%"


finite = st.floats(0, 1)


@given(
    st.lists(st.tuples(finite, finite, finite), max_size=5), st.sampled_from([380, 980]), st.one_of(st.none(), finite)
)
def test_charts_are_well_formed_and_stay_in_their_frame(triples, width, limit):
    rows = []
    for triple in triples:
        low, middle, high = sorted(triple)
        rows.append(RateRow('<b> & "x"\x00', Estimate(middle, low, high), None, limit))
    svg = rate_chart(rows, width=width, prefix="p", title="<t>", description="d")
    root = ET.fromstring(svg)
    assert root[0].text == "<t>"
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= width


@given(st.lists(st.tuples(st.floats(-5, 50), st.floats(0, 5)), max_size=5))
def test_bars_are_well_formed(pairs):
    svg = bar_chart([BarRow("x", *pair) for pair in pairs], width=980, prefix="p", title="t", description="d")
    root = ET.fromstring(svg)
    bars = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.attrib["class"] == "bar"]
    assert len(bars) == len(pairs)
    assert all(float(bar.attrib["width"]) >= 1 for bar in bars)


# ------------------------------------------------------------------------------------------------------------- files
def test_the_report_is_written_as_files(tmp_path):
    paths = write_report(_run(), tmp_path / "new" / "folder")
    assert [p.name for p in paths] == ["report.html", "report.md", "report.json", "rates.svg"]
    assert json.loads(paths[2].read_text(encoding="utf-8"))["price"]["kl"] == 0.84
    assert sorted(p.name for p in paths[0].parent.iterdir()) == sorted(p.name for p in paths)


def test_the_same_record_gives_the_same_bytes(tmp_path):
    first = [p.read_bytes() for p in write_report(_run(), tmp_path / "a")]
    assert first == [p.read_bytes() for p in write_report(_run(), tmp_path / "b")]


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    write_report(_run(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(write_module.os, "replace", full)
    with pytest.raises(ReportError, match="no space left"):
        write_report(_run(model="other"), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_picture_of_an_earlier_report_does_not_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    write_report(_run(), tmp_path)
    assert (tmp_path / "rates.svg").exists()
    write_report(_run(base=None, regulated=None, pairs=(), complete=False), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "report.md", "report.json", "notes.txt"}


def test_a_directory_is_tried_before_the_work_and_removed_if_nothing_came(tmp_path):
    with report_directory(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(ZeroDivisionError), report_directory(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with report_directory(tmp_path / "a" / "b"):
        write_report(_run(), tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "report.html").exists()
    for path in (tmp_path / "a" / "b" / "report.html", tmp_path / "a" / "b" / "report.html" / "c"):
        with pytest.raises(ReportError, match="cannot be written"), report_directory(path):
            pytest.fail("the work began")


def test_a_directory_that_was_there_stays(tmp_path):
    with report_directory(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_a_page_needs_nothing_from_outside():
    page = render_html(_run())
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "<script" not in page
    assert "Content-Security-Policy" in page


@pytest.mark.parametrize("render", [render_html, render_markdown, _printed])
def test_numbers_that_were_not_found_are_said_to_be_unknown(render):
    nan, run = float("nan"), _run()
    assert run.calibration is not None
    unknown = BudgetResult(
        "seldom", "at most", 0.05, nan, Interval(nan, nan), nan, nan, Interval(nan, nan), "undetermined"
    )
    price = Price(nan, Interval(nan, nan), (TermPrice("clean", nan, nan),), "exact")
    page = render(replace(run, calibration=replace(run.calibration, budgets=(unknown,)), price=price))
    assert "unknown" in page
    assert "nan" not in page


# -------------------------------------------------------------------------------------------------- the final samples
def _checked(status: str, rate: float = 0.07, **changes: object) -> RunRecord:
    """A run whose limit without a confidence was checked on the final samples."""
    result = BudgetResult("seldom", "at most", 0.05, 1.7, Interval(1.4, 2.1), 0.3, rate, Interval(0.06, 0.08), status)
    within = {"missed": False, "undetermined": None}.get(status, True)
    term = replace(BUDGET, confidence=None, within=within)
    return _run(check=Check((result,), 4096, 611.0, 2.5), regulated=_audit(_term(), term, GRADED), **changes)


@pytest.mark.parametrize("render", [render_html, render_markdown, _printed])
def test_figures_under_the_law_are_those_of_the_final_samples(render):
    page = " ".join(render(_checked("missed")).split())
    assert "missed: 7.0%" in page
    assert "611" in page
    assert "4,096 proposals" in page
    assert "binding" not in page
    assert "cannot be told" in " ".join(render(_checked("undetermined")).split()).lower()
    assert "undetermined" not in render(_checked("undetermined"))


def test_the_summary_counts_limits_as_the_table_does():
    assert "1 of 1 limit is met." in run_summary(_checked("met within its error"))
    assert any(s.startswith("Missed:") and "7.0% under the law" in s for s in run_summary(_checked("missed")))
    assert any(s.startswith("Cannot be told:") for s in run_summary(_checked("undetermined")))


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_how_it_was_made_has_every_setting(render):
    run = _run(
        temperature=0.7, particles=33, responses_per_prompt=17, calibration_particles=19, prompts_digest="e" * 64
    )
    page = render(run)
    for words in ("temperature 0.7", "33 proposals", "17 answers", "19 proposals", "e" * 64):
        assert words in page
    assert "the worst of the answers of the model alone" in page


@pytest.mark.parametrize(
    ("terms", "passes"),
    [
        ((_term(),), True),
        ((_term(violated=1),), False),
        ((_term(unscored=1),), False),
        ((_term(kind="soft", violated=9, unscored=9),), True),
        ((replace(BUDGET, within=True),), True),
        ((BUDGET,), False),
        ((replace(BUDGET, within=None),), False),
        ((replace(BUDGET, within=None, applicable=0, unscored=2),), False),
        ((replace(BUDGET, within=None, applicable=0),), True),
    ],
)
def test_the_gate_passes_only_what_is_known_to_be_kept(terms, passes):
    assert passes_gate(_audit(*terms)) is passes
    assert passes_gate(_run(regulated=_audit(*terms), base=None, calibration=None)) is passes


def test_the_gate_of_a_run_asks_for_convergence_and_for_the_law():
    run = _run()
    assert run.calibration is not None
    assert passes_gate(_checked("met"))
    assert passes_gate(_checked("met within its error"))
    assert not passes_gate(_checked("missed"))
    assert not passes_gate(_checked("undetermined"))
    assert not passes_gate(_checked("met", calibration=replace(run.calibration, converged=False)))
    # a limit with a confidence is judged on the answers, and the law can still miss it
    kept = _audit(replace(BUDGET, within=True))
    assert not passes_gate(replace(_checked("missed"), regulated=kept))
    assert "missed" in _printed(replace(_checked("missed"), regulated=kept))


def test_no_bound_is_stated_where_nothing_was_scored():
    nothing = {"applicable": 0, "rate": None, "interval": None}
    first = audit_summary(_audit(_term(**nothing, unscored=768)))[0]
    assert first == "In 768 transcripts no rule could be scored."
    assert "no rule ever applied" in audit_summary(_audit(_term(**nothing, not_applicable=768)))[0]
    partly = audit_summary(_audit(_term(unscored=3)))[0]
    assert "as far as could be scored" in partly
    assert "at most" not in partly


# --------------------------------------------------------------------------------------------------------------- JSON
def test_numbers_without_end_survive_json():
    infinity = float("inf")
    result = BudgetResult(
        "seldom", "at most", 0.05, infinity, Interval(-infinity, infinity), 0.3, 0.05, Interval(0.0, infinity), "missed"
    )
    run = _run(check=Check((result,), 1, infinity, 0.0), model="Infinity")
    text = to_json(run)
    json.loads(text, parse_constant=pytest.fail)
    assert run_from_json(text) == run
    assert math.isnan(run_from_json(to_json(_run(seconds=float("nan")))).seconds)


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), ("[]", "not the record"), ("{}", "policy")])
def test_what_is_no_record_is_refused(text, words):
    with pytest.raises(RecordError, match=words):
        run_from_json(text)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seconds", True, "`seconds`: a value of another kind"),
        ("seconds", "3", "`seconds`: a value of another kind"),
        ("seconds", float("nan"), "NaN is no value of JSON"),
        ("seconds", float("-inf"), "-Infinity is no value of JSON"),
        ("seed", True, "`seed`: a value of another kind"),
        ("schema_version", True, "`schema_version`: a value of another kind"),
    ],
)
def test_a_record_with_values_of_other_kinds_is_refused(field, value, words):
    with pytest.raises(RecordError, match=words):
        run_from_json(json.dumps({**json.loads(to_json(_run())), field: value}))
    assert run_from_json(json.dumps({**json.loads(to_json(_run())), "seconds": 3})).seconds == 3.0


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_record_of_another_version_is_refused(version):
    data = {**json.loads(to_json(_run())), "schema_version": version, "something_new": 1}
    with pytest.raises(RecordError, match="schema version"):
        run_from_json(json.dumps(data))


# ----------------------------------------------------------------------------------------------------------- terminals
@pytest.mark.parametrize("width", [70, 80, 99, 100, 120])
def test_no_column_falls_off_the_edge_of_a_terminal(width):
    file = io.StringIO()
    render_console(_checked("met within its error", 0.004), Console(file=file, width=width))
    lines = file.getvalue().splitlines()
    header = next(number for number, line in enumerate(lines) if line.rstrip().endswith("limit"))
    start = lines[header].rstrip().rindex("limit")
    cell = "".join(line[start:] for line in lines[header + 2 :] if not line.startswith(("calibration", "check")))
    assert "metwithinitserror:0.4%underthelaw(atmost5%)" in "".join(cell.replace("–", "").split())
