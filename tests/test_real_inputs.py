"""Real input that nobody here wrote: answers of two models with the labels of people, and a story model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bylaw.runtime.cli import main

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
STORIES = DATA / "models" / "stories260K"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")


@pytest.mark.parametrize(
    ("table", "agreeing", "kappa", "human", "ours"),
    # Counted once and looked at; an exact record of how far a list of phrases gets, not a target.
    [("gpt4", 426, 0.893, 0.489, 0.436), ("llama2orig", 408, 0.750, 0.776, 0.731)],
)
def test_refusals_by_phrases_against_the_labels_of_people(
    table: str, agreeing: int, kappa: float, human: float, ours: float
) -> None:
    columns = ("--response-column", "completion", "--examples", "0", "--format", "json")
    labels = "no_refusals=final_label:2_full_refusal,3_partial_refusal"
    rules = ROOT / "examples" / "over_refusal" / "rules.bylaw"
    arguments = ["audit", str(rules), str(DATA / "xstest" / f"{table}.csv"), *columns, "--compare", labels]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["transcripts"] == 450
    assert record["problems"] == []
    (found,) = record["agreements"]
    assert found["true_positive"] + found["true_negative"] == agreeing
    assert found["kappa"] == pytest.approx(kappa, abs=5e-4)
    assert found["human_rate"] == pytest.approx(human, abs=5e-4)
    assert found["rule_rate"] == pytest.approx(ours, abs=5e-4)
    # The baseline that always says the more frequent label.
    assert found["agreement"] > found["majority_baseline"] + 0.1


def test_a_thousand_stories_keep_every_hard_rule_and_the_budget(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    rules = ROOT / "examples" / "childrens_story" / "rules.bylaw"
    sizes = ("--max-tokens", "100", "--samples", "16", "--particles", "100", "--responses", "100")
    arguments = ["run", str(rules), "--model", str(STORIES), *sizes, "--out", str(tmp_path), "--seed", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert record["regulated"]["transcripts"] == 1000
    hard = [term for term in record["regulated"]["terms"] if term["kind"] == "hard"]
    assert [term["violated"] for term in hard] == [0, 0]
    assert any(term["violated"] for term in record["base"]["terms"] if term["kind"] == "hard")
    # The budget binds: without it the law would miss it, with it the fresh samples cannot tell it from its bound.
    (budget,) = record["check"]["budgets"]
    assert budget["base_rate"] > budget["bound"]
    assert budget["multiplier"] > 0
    assert budget["rate_interval"]["low"] <= budget["bound"]
    assert budget["rate"] < 0.5 * budget["base_rate"]
