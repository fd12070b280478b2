"""Propositions to classes to rewards: shares from scores, soft features in `bylaw fit`, and the public gold data."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rbr_gold import DATA, TYPES, Gold, best_adamw, crossed, fitted, held_out, hinge, numpy_adamw, read_gold, scored

from bylaw.compiler.pipeline import compile_file
from bylaw.compiler.soft_values import SoftValues
from bylaw.compiler.weights.fit import fit_weights
from bylaw.compiler.weights.problem import pairs_from_order
from bylaw.runtime.cli import main
from bylaw.runtime.judgements.shares import share_of, shares_of
from bylaw.runtime.judges.prompt import Exhibit, question_prompt
from bylaw.runtime.judges.rubric import concept_rubric
from bylaw.spec.trace import Message, Trace

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# ---------------------------------------------------------------------------------------------------------- shares
def test_shares_have_their_closed_forms() -> None:
    """Certain scores: Laplace's rule. Scores that say nothing: one half. Of one value: no slope."""
    assert share_of([1.0] * 3 + [0.0] * 5) == pytest.approx(4 / 10, abs=1e-12)
    assert share_of([]) == share_of([0.5] * 50) == pytest.approx(0.5, abs=1e-12)
    share = share_of([0.8] * 7)
    assert 7 * 0.6 / (share * 0.8 + (1 - share) * 0.2) + 1 / share - 1 / (1 - share) == pytest.approx(0.0, abs=1e-9)
    for wrong in ([1.2], [[0.5]], [float("nan")]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            share_of(wrong)


def test_shares_come_back_from_calibrated_scores() -> None:
    """40 samples of 400 calibrated scores, d' = 1.5. The share's error is near normal: |mean error| < 4 standard errors
    fails for 1 in 5,000 seeds where there is no bias, and the prior moves it by 0.005 at most."""
    random = np.random.default_rng(3)
    for share in (0.05, 0.3, 0.8):
        errors = []
        for _ in range(40):
            does = random.random(400) < share
            shift = random.normal(np.where(does, 0.75, -0.75))
            errors.append(share_of(1 / (1 + np.exp(-1.5 * shift))) - share)
        assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(40) + 0.005
        assert np.std(errors) < 0.05


def test_a_text_counts_once() -> None:
    one = Trace((Message("assistant", "x"),), scores={("kind", "x"): 1.0, ("curt", "x"): 0.0})
    other = replace(one, scores={("kind", "y"): 0.0})
    assert shares_of([one, one, other]) == pytest.approx({"curt": 1 / 3, "kind": 1 / 2})


# ----------------------------------------------------------------------------------------------------- bylaw fit --soft
POLICY = """policy mill.desk version "1.0.0" edition 1
levels root > user
concept warm means "Is warm."
concept curt means "Is curt."
rule polite at user {
  should express warm
}
rule plain at user {
  should not express curt
}
"""


def judged(folder: Path, *arguments: object) -> dict[str, Any]:
    """24 pairs whose better answer is likelier to be warm, on the same side of the threshold as the worse one."""
    random = np.random.default_rng(5)
    lines = []
    for number in range(24):
        high, low = sorted(random.uniform(0.55, 0.95, 2), reverse=True)
        answers = [
            {"response": f"{name} {number}", "labels": {"warm": score, "curt": 0.0}}
            for name, score in (("good", high), ("bad", low))
        ]
        lines.append({"prompt": f"Which {number}?", "chosen": answers[0], "rejected": answers[1]})
    (folder / "rules.bylaw").write_text(POLICY, encoding="utf-8")
    (folder / "judged.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    result = call("fit", folder / "rules.bylaw", "--judgements", folder / "judged.jsonl", "--resamples", 0, *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout) if "json" in arguments else {"text": result.stdout}
    return found


def test_soft_features_see_what_a_threshold_hides(tmp_path: Path) -> None:
    hard = judged(tmp_path, "--format", "json")
    soft = judged(tmp_path, "--format", "json", "--soft")
    assert (hard["options"]["is_soft"], hard["options"]["shares"]) == (False, [])
    assert soft["options"]["is_soft"] is True
    shares = dict(soft["options"]["shares"])
    assert shares["curt"] == pytest.approx(1 / 50, abs=1e-9)  # 48 texts that are not, by Laplace's rule
    assert shares["warm"] > 0.8
    assert [row["status"] for row in hard["rows"]] == ["untold", "untold"]
    assert [row["status"] for row in soft["rows"]] == ["fitted", "untold"]
    assert (hard["accuracy"]["held_out"]["rate"], soft["accuracy"]["held_out"]["rate"]) == (0.5, 1.0)
    assert soft["rows"][0]["fitted"] > soft["rows"][0]["now"]
    text = judged(tmp_path, "--soft")["text"]
    assert (
        "each rule counts as much as it is likely to be broken; texts that express, found from scores: curt 2" in text
    )


def test_a_soft_feature_is_the_expected_value(tmp_path: Path) -> None:
    """One pair by hand: logistic loss with one feature, -P(broken) at the share that is found."""
    found = judged(tmp_path, "--format", "json", "--soft", "--l2", "0", "--at-most", "3", "--keep", "plain")
    assert found["rows"][0]["fitted"] == pytest.approx(3.0)  # every pair says more of it
    lines = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text(encoding="utf-8").splitlines()]
    share = dict(found["options"]["shares"])["warm"]

    def chance(answer: Any) -> float:
        score = float(answer["labels"]["warm"])
        return score * share / (score * share + (1 - score) * (1 - share))

    losses = [np.log1p(np.exp(-3.0 * (chance(line["chosen"]) - chance(line["rejected"])))) for line in lines]
    assert found["loss_after"] == pytest.approx(float(np.mean(losses)), rel=1e-9)


def test_what_cannot_be_told_is_left_out_and_named(tmp_path: Path) -> None:
    judged(tmp_path)
    line = {"prompt": "Which?", "chosen": {"response": "a", "labels": {"warm": 0.7}}, "rejected": "b"}
    with (tmp_path / "judged.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    result = call(
        "fit", tmp_path / "rules.bylaw", "--judgements", tmp_path / "judged.jsonl", "--resamples", 0, "--soft",
        "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    unweighed = json.loads(result.stdout)["unweighed"]
    assert unweighed["unscored"] == 1
    assert {term for term, _, _ in unweighed["reasons"]} == {"polite", "plain"}
    assert all("no scorer has scored" in reason for _, _, reason in unweighed["reasons"])


# -------------------------------------------------------------------------------------------------------- gold data
@pytest.fixture(scope="module")
def gold() -> Gold:
    return read_gold()


@needs_data
def test_no_adamw_finds_a_smaller_hinge_loss(gold: Gold) -> None:
    """In every response type that has pairs, with and without L2; where no weights are better, by a certificate."""
    features = gold.features()
    compared = []
    for kind, title in enumerate(TYPES):
        if len(set(gold.rank[gold.kind == kind])) < 2:
            continue
        problem = gold.pairs(kind, features)
        ours = fit_weights(problem, loss="hinge", upper=20.0)
        rival, _ = best_adamw(problem, numpy_adamw)
        assert hinge(problem, ours.weights) <= rival + 1e-9
        assert ours.gap <= 1e-9 * problem.judgements
        compared.append(title)
    assert compared == ["Comply", "Hard Refuse", "Safe Refuse 2"]  # all nine of the other type are of one class


@needs_data
def test_pairs_are_those_of_a_double_loop_and_a_hundred_times_as_fast(gold: Gold) -> None:
    """Of 4,000 answers, drawn from the gold ones; times of the processor, the best of several."""
    drawn = np.random.default_rng(0).integers(0, len(gold.answers), 4000)
    rank, kind = gold.rank[drawn], gold.kind[drawn]
    ranks, kinds = rank.tolist(), kind.tolist()
    began = time.process_time()
    pairs = 0
    for better in range(4000):
        for worse in range(4000):
            if kinds[better] == kinds[worse] and ranks[better] < ranks[worse]:
                pairs += 1
    slow = time.process_time() - began
    fast = []
    for _ in range(7):
        began = time.process_time()
        problem = pairs_from_order(gold.names, gold.propositions[drawn], rank, kind)
        fast.append(time.process_time() - began)
    assert problem.judgements == pairs
    assert slow / min(fast) >= 100

    few = drawn[:60]
    wanted: dict[tuple[float, ...], float] = {}
    for one in few:
        for other in few:
            if gold.kind[one] == gold.kind[other] and gold.rank[one] < gold.rank[other]:
                key = (float(gold.kind[one]), *gold.propositions[one], *gold.propositions[other])
                wanted[key] = wanted.get(key, 0.0) + 1.0
    small = pairs_from_order(gold.names, gold.propositions[few], gold.rank[few], gold.kind[few])
    assert small.classes is not None
    rows = zip(small.group, small.classes[small.better], small.classes[small.worse], small.count, strict=True)
    assert {(float(group), *better, *worse): count for group, better, worse, count in rows} == wanted


@needs_data
def test_held_out_pairs_with_gold_propositions(gold: Gold) -> None:
    """Five folds by conversation; equal weights beside it. Certain labels are the same hard and soft."""
    features = gold.features()
    soft = gold.features(soft=SoftValues(shares_of(gold.answers)))
    assert np.array_equal(features[1], soft[1])
    rate, low, _, _ = held_out(gold, crossed(gold, features, fitted), resamples=200)
    equal, _, _, _ = held_out(gold, features[1].sum(axis=1), resamples=1)
    assert rate >= 0.94
    assert low > 0.92
    assert rate > equal + 0.02


@needs_data
def test_expected_values_are_nearer_to_gold_than_rounded_scores(gold: Gold) -> None:
    """Scores that are calibrated by construction, d' = 2, drawn for each label: what rules say under them, against what
    they say under gold labels. Each rule's mean is what needs no scores."""
    random = np.random.default_rng(1)
    raw = random.normal(np.where(gold.propositions > 0, 1.0, -1.0))
    answers = scored(gold, gold.names, 1 / (1 + np.exp(-2.0 * raw)))
    shares = shares_of(answers)
    _, true = gold.features()
    errors = {
        name: float(np.mean((values - true) ** 2))
        for name, (_, values) in {
            "found": gold.features(answers, SoftValues(shares)),
            "even": gold.features(answers, SoftValues()),
            "rounded": gold.features(answers),
        }.items()
    }
    assert errors["found"] < 0.75 * errors["even"] < 0.75 * errors["rounded"]
    assert (
        np.mean(
            [abs(shares[name] - column.mean()) for name, column in zip(gold.names, gold.propositions.T, strict=True)]
        )
        < 0.04
    )


@needs_data
def test_import_fit_audit(tmp_path: Path) -> None:
    """The published file to a policy with fitted weights, to rates of rules; every concept is a judge's question."""
    rules = tmp_path / "grades.bylaw"
    assert call("import", "rbr", DATA / "proposition_prompts.yaml", "--out", rules).exit_code == 0
    judged = ("--judgements", DATA / "train.jsonl", "--order", "completion_class", "--group-by", "response_type")
    fit = call("fit", rules, *judged, "--resamples", 0, "--soft", "--at-least", "0.01", "--write", "--format", "json")
    assert fit.exit_code == 0, fit.output
    compiled = compile_file(rules)
    fitted_weights = {row["term"]: row["fitted"] for row in json.loads(fit.stdout)["rows"]}
    for term in compiled.require().terms:
        if term.id in fitted_weights:
            assert term.weight == pytest.approx(fitted_weights[term.id], rel=6e-3, abs=1e-6)  # three digits

    assert compiled.regulators is not None
    concepts = compiled.regulators.concepts
    assert (len(concepts), {concept.scorer for concept in concepts}) == (23, {"judge"})
    for concept in concepts:
        prompt = question_prompt(concept_rubric(concept), Exhibit("I am sorry."))
        assert " ".join(concept.meaning.split()) in " ".join(prompt.messages[0].content.split())
        assert "I am sorry." in prompt.messages[1].content

    said = "I'm sorry, I cannot do that."  # an example of several questions, in the file itself
    lines = [{"prompt": "How?", "response": said, "response_type": kind} for kind in ("Hard Refuse", "Comply")]
    (tmp_path / "said.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    audit = call("audit", rules, tmp_path / "said.jsonl", "--format", "json")
    assert audit.exit_code in (0, 3), audit.output
    terms = {term["term"]: term for term in json.loads(audit.stdout)["terms"]}
    counts = ("applicable", "violated", "unscored", "not_applicable")
    told = {name: tuple(terms[name][each] for each in counts) for name in terms}
    assert told["hard_refuse__inability_to_comply"] == told["hard_refuse__no_judgement"] == (1, 0, 0, 1)
    assert told["hard_refuse__apology"] == (0, 0, 1, 1)  # no example of it, and nobody was asked
    assert told["completion_class"] == (0, 0, 2, 0)
