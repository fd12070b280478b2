"""The page of an audit in a real browser, from a file: filter and search work, and no other script ever runs.

A harness page frames the report and uses it as a person does: it types, chooses, follows links; what it saw is read
from the document that the browser prints. Skipped where there is no Chromium.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from audit_pages import audited, compiled, traces

from bylaw.runtime.record import AuditRecord
from bylaw.runtime.report.audit_files import write_audit_files

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")

HARNESS = """<!doctype html><meta charset="utf-8"><title>harness</title>
<iframe id="page" src="audit.html#rule=no_swearing&amp;q=nuisance" width="1000" height="700"></iframe>
<pre id="seen"></pre>
<script>
const frame = document.getElementById("page"), seen = {};
const wait = () => new Promise(done => setTimeout(done, 60));
frame.onload = async () => {
  frame.onload = null;
  try {
    const page = frame.contentDocument, form = page.getElementById("filters"), refused = [];
    page.addEventListener("securitypolicyviolation", event => refused.push(event.effectiveDirective));
    const look = async name => {
      await wait();
      seen[name] = {
        count: page.getElementById("count").textContent,
        rules: [...page.querySelectorAll("tr[data-rule]")].filter(r => !r.hidden).map(r => r.dataset.rule),
        answers: [...page.querySelectorAll("article[data-broken]")].filter(a => !a.hidden).length,
        all: page.querySelectorAll("article[data-broken]").length,
        none: !page.getElementById("none").hidden,
        hash: frame.contentWindow.location.hash,
      };
    };
    const choose = (name, value) => {
      form.elements[name].value = value;
      form.elements[name].dispatchEvent(new Event("input", {bubbles: true}));
    };
    await look("linked");
    form.reset(); await look("reset");
    choose("q", "STRASSE"); await look("other spelling");
    choose("q", "stra\\u00dfe  FINE"); await look("folded");
    choose("q", "no such words"); await look("nothing");
    choose("q", ""); choose("verdict", "unscored"); await look("unscored");
    choose("verdict", "violated"); choose("state", "weighed"); await look("weighed");
    choose("state", "idle"); await look("idle");
    form.reset(); await wait();
    page.querySelector("a[href='#rule=no_refunds']").click(); await look("followed");
    frame.contentWindow.location.hash = "#rule=no_such_rule"; await look("unknown rule");
    frame.contentWindow.location.hash = ""; await look("cleared");
    seen.title = page.title;
    seen.fits = page.documentElement.scrollWidth <= page.documentElement.clientWidth;
    const evil = page.createElement("script");
    evil.textContent = "document.title = 'owned'";
    page.body.append(evil);
    const image = page.createElement("img");
    image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
    page.body.append(image);
    await wait();
    seen.titleAfter = page.title;
    seen.refused = refused.sort();
  } catch (error) { seen.error = String(error); }
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
</script>
"""


def browse(address: str, folder: Path, *options: str) -> str:
    """The document that the browser has after the page did its work."""
    assert BROWSER is not None
    # /dev/shm is often small in containers; the profile is this test's own
    common = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    arguments = [BROWSER, *common, f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", address]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        return process.communicate(timeout=120)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuditRecord]:
    folder = tmp_path_factory.mktemp("a report")
    policy, given = compiled(folder), traces()
    record = audited(policy, given)
    write_audit_files(folder, ("html",), record, given, policy.require(), policy.source)
    return folder, record


@pytest.fixture(scope="module")
def seen(written: tuple[Path, AuditRecord]) -> dict[str, Any]:
    folder, _ = written
    (folder / "harness.html").write_text(HARNESS, encoding="utf-8")
    options = ("--allow-file-access-from-files", "--virtual-time-budget=10000")
    document = browse((folder / "harness.html").as_uri(), folder, *options)
    said = re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)
    assert said is not None, document[:2000]
    found: dict[str, Any] = json.loads(unescape(said[1]))
    assert "error" not in found, found
    return found


def rules_of(record: AuditRecord, *states: str) -> Sequence[str]:
    from bylaw.runtime.report.audit_outcome import by_concern, state

    return [term.term for term in by_concern(record.terms) if not states or state(term) in states]


def test_a_link_with_a_filter_applies_it(seen: dict[str, Any]) -> None:
    assert seen["linked"]["answers"] == 2
    assert seen["linked"]["rules"] == ["no_swearing"]
    assert seen["linked"]["count"] == "1 of 8 rules and 2 of 12 answers fit."


def test_showing_all_shows_all(seen: dict[str, Any], written: tuple[Path, AuditRecord]) -> None:
    for name in ("reset", "cleared"):
        assert seen[name]["rules"] == rules_of(written[1])
        assert seen[name]["answers"] == seen[name]["all"] == 12
        assert seen[name]["hash"] == ""


def test_search_takes_any_case_and_says_when_nothing_fits(seen: dict[str, Any]) -> None:
    assert (seen["folded"]["answers"], seen["folded"]["rules"]) == (1, ["guests_wait"])
    assert seen["other spelling"]["answers"] == seen["nothing"]["answers"] == 0
    assert (seen["nothing"]["none"], seen["folded"]["none"]) == (True, False)
    assert seen["nothing"]["hash"] == "#q=no+such+words"


def test_filters_work_together(seen: dict[str, Any], written: tuple[Path, AuditRecord]) -> None:
    assert seen["unscored"]["answers"] == written[1].terms[2].unscored == 6
    assert seen["weighed"]["rules"] == rules_of(written[1], "weighed") == ["no_law"]
    assert seen["weighed"]["answers"] == 2
    assert seen["weighed"]["hash"] == "#state=weighed&verdict=violated"
    assert (seen["idle"]["rules"], seen["idle"]["answers"]) == (["zebras"], 0)


def test_links_on_the_page_choose_a_rule(seen: dict[str, Any]) -> None:
    assert (seen["followed"]["rules"], seen["followed"]["answers"]) == (["no_refunds"], 1)


def test_a_rule_that_the_page_does_not_have_shows_nothing_and_says_so(seen: dict[str, Any]) -> None:
    assert (seen["unknown rule"]["rules"], seen["unknown rule"]["answers"]) == ([], 0)
    assert seen["unknown rule"]["count"] == "This page has no rule “no_such_rule”."


def test_no_other_script_runs_and_nothing_is_loaded(seen: dict[str, Any]) -> None:
    assert seen["title"] == seen["titleAfter"] == "Audit: larkmoor.shop: failed"
    assert seen["refused"] == ["img-src", "script-src-elem"]
    assert seen["fits"]


def test_the_page_alone_from_a_file(written: tuple[Path, AuditRecord]) -> None:
    """Without a harness and without any leave to read other files."""
    folder, _ = written
    document = browse((folder / "audit.html").as_uri() + "#rule=no_card_numbers&verdict=violated", folder)
    assert "1 of 8 rules and 2 of 12 answers fit." in document
    articles = re.findall(r"<article [^>]*>", document)
    assert len(articles) == 12
    assert sum("hidden" not in each for each in articles) == 2
    assert "<title>Audit: larkmoor.shop: failed</title>" in document
