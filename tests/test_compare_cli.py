"""`bylaw compare`: what it prints, and what it says to wrong input."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_compare_drift import rows_of
from test_compare_scaling import Scalar, nearest_error, scalar_samples
from test_compare_shift import base, exact, law, mixture, valid

from bylaw.runtime.cli import main
from bylaw.runtime.cli.sampling import ModelChoice

SVG = "{http://www.w3.org/2000/svg}"
POLICY = """policy letters version "1"
rule no_ab at root { must not contain "ab" }
rule few at user { should contain "c" weight 1 }
"""


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def answer(*arguments: object) -> Any:
    found = compare(*arguments, "--format", "json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "rules.bylaw"
    path.write_text(POLICY, encoding="utf-8")
    return path


def transcripts(path: Path, broken: float, prompts: int = 30, seed: int = 0) -> Path:
    """Four answers a prompt; the share `broken` of them holds `ab`."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = [
        {"prompt": f"say {prompt}", "response": ("ab" if rng.random() < broken else "c") + str(rng.integers(0, 9))}
        for prompt in range(prompts)
        for _ in range(4)
    ]
    return lines(path, rows)


# -------------------------------------------------------------------------------------------------------------- files
def test_drift_over_three_checkpoints(tmp_path: Path, policy: Path) -> None:
    files = [transcripts(tmp_path / f"step{at}.jsonl", share, seed=at) for at, share in ((0, 0.8), (5, 0.1), (9, 0.1))]
    data = answer("drift", policy, *files, "--steps", "0,500,900")
    assert data["names"] == ["step0", "step5", "step9"]
    assert data["steps"] == [0, 500, 900]
    rule = data["rules"][0]
    by_hand = [sum("ab" in line for line in file.read_text().splitlines()) / 120 for file in files]
    assert rule["rates"] == pytest.approx(by_hand)
    assert rule["change"]["difference"] == pytest.approx(by_hand[2] - by_hand[0])
    assert [(each["first"], each["last"]) for each in data["stretches"]] == [
        ("step0", "step5"), ("step5", "step9"), ("step0", "step9")
    ]  # fmt: skip
    assert data["stretches"][0]["p_value"] < 0.01 < data["stretches"][1]["p_value"]
    plot = tmp_path / "drift.svg"
    shown = compare("drift", policy, *files, "--plot", plot)
    first = plot.read_bytes()
    compare("drift", policy, *files, "--plot", plot)
    assert plot.read_bytes() == first
    texts = {"".join(each.itertext()).strip() for each in ET.fromstring(first).iter(SVG + "text")}
    assert {"training step", "no_ab", "share of answers that break the rule, 95% interval"} <= texts
    assert shown.exit_code == 0
    assert "How far behaviour moved" in shown.stdout
    assert "| no" in compare("drift", policy, *files, "--format", "markdown").stdout


def test_drift_says_what_it_leaves_out(tmp_path: Path, policy: Path) -> None:
    one, two = transcripts(tmp_path / "a.jsonl", 0.5, 5), transcripts(tmp_path / "b.jsonl", 0.5, 7)
    found = compare("drift", policy, one, two)
    assert found.exit_code == 3
    assert "left out: 2 prompts that not every file answers" in found.stderr
    lines(two, [{"prompt": "other", "response": "x"}])
    apart = compare("drift", policy, one, two)
    assert apart.exit_code == 2
    assert "sample every model on the same prompts" in apart.stderr


def test_coverage_before_and_after(tmp_path: Path, policy: Path) -> None:
    before, after = transcripts(tmp_path / "a.jsonl", 0.7), transcripts(tmp_path / "b.jsonl", 0.0, seed=1)
    data = answer("coverage", policy, before, after, "--draws", "3")
    measures = {line["name"]: line for line in data["lines"]}
    assert measures["valid answers"]["after"] == 1.0
    assert measures["valid answers"]["before"] == pytest.approx(1 - before.read_text().count("ab") / 120)
    assert measures["valid answers"]["difference"]["interval"]["low"] > 0.4
    assert data["draws"] == 3
    listed = lines(tmp_path / "answers.jsonl", [{"prompt": f"say {at}", "answers": ["c1", "c2"]} for at in range(30)])
    counted = answer("coverage", policy, before, after, "--answers", listed)["lines"]
    share = sum(line.count('"c1"') + line.count('"c2"') for line in after.read_text().splitlines()) / 120
    assert counted[0]["after"] == pytest.approx(share)
    assert counted[-1]["name"].startswith("listed answers")
    short = lines(tmp_path / "short.jsonl", [{"prompt": "say 0", "answers": ["c1"]}])
    missing = compare("coverage", policy, before, after, "--answers", short)
    assert missing.exit_code == 2
    assert "lists no answers to `say 1`" in missing.stderr
    assert "Valid answers and diversity" in compare("coverage", policy, before, after).stdout


def verdict_file(path: Path, prompts: int = 60) -> Path:
    words = {True: "satisfied", False: "violated"}
    return lines(path, [
        {"prompt": row.prompt, "rule": row.rule, "generator": row.generator, "judge": row.judge,
         "verdict": words[bool(row.kept)]}
        for row in rows_of(0.6, prompts, 3)
    ])  # fmt: skip


def test_consistency_of_verdict_files(tmp_path: Path) -> None:
    path = verdict_file(tmp_path / "verdicts.jsonl")
    data = answer("consistency", path, "--reference", "policy")
    preference = {each["judge"]: each for each in data["preferences"]}
    assert preference["x"]["interval"]["low"] > 0
    assert preference["y"]["estimate"] == 0
    assert len(data["cells"]) == 6
    shown = compare("consistency", path, "--reference", "policy")
    assert shown.exit_code == 0
    assert "Self-preference of judges" in shown.stdout
    wrong = compare("consistency", path, "--reference", "people")
    assert wrong.exit_code == 2
    assert "the reference `people` gave no verdict; there are `policy`, `x`, `y`" in wrong.stderr


def test_order_of_verdict_files(tmp_path: Path) -> None:
    rows = [
        {"item": item, "order": order, "verdict": "yes" if order == 0 or item % 2 else "no"}
        for item, order in itertools.product(range(20), range(2))
    ]
    data = answer("order", lines(tmp_path / "orders.jsonl", [*rows, {"item": 1, "order": 0, "verdict": "unscored"}]))
    assert (data["flips"]["mean"], data["unstable"], data["repeats"]) == (0.5, 10, None)
    shown = compare("order", tmp_path / "orders.jsonl")
    assert "not measured: no item was repeated" in shown.stdout


def test_scaling_of_samples_and_of_the_scalar_model(tmp_path: Path) -> None:
    wrong = Scalar(0, 1, 0.5, 2.0)
    made = scalar_samples(wrong, 80, 16, 1)
    path = lines(tmp_path / "samples.jsonl", [
        {"prompt": prompt, "reward": proxy, "solved": truth} for prompt, pairs in made.items() for proxy, truth in pairs
    ])  # fmt: skip
    data = answer("scaling", path, "--score", "reward", "--truth", "solved")
    assert data["is_overoptimised"] is True
    assert data["points"][-1]["draws"] == 16
    shown = compare("scaling", path, "--score", "reward", "--truth", "solved")
    assert "the judge is over-optimised" in " ".join(shown.stdout.split())
    plot = tmp_path / "curve.png"
    assert compare("scaling", path, "--score", "reward", "--truth", "solved", "--plot", plot).exit_code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    near = compare("scaling", path, "--score", "rewards", "--truth", "solved")
    assert near.exit_code == 2
    assert "samples.jsonl:1: the line has no `rewards`; did you mean `reward`?" in near.stderr
    scalar = answer("scaling", "--mean", 0, "--sd", 1, "--target", 1, "--judge", 1.5, "--draws", 64)
    assert scalar["best"]["draws"] == 13
    assert scalar["error"] == nearest_error(Scalar(0, 1, 1, 1.5), 64)
    assert scalar["error_at_best_temperature"] < scalar["error"]


def test_names_in_files_cannot_steer_a_terminal(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": prompt, "rule": "r", "generator": "\x1b[31mx", "judge": judge, "verdict": "satisfied"}
        for prompt, judge in itertools.product(range(3), ("people", "j\u202e"))
    ]
    path = lines(tmp_path / "v.jsonl", rows)
    for extra in (
        (path, "--reference", "people"),
        (path, path, "--reference", "people"),
        (path, "--reference", "\x1b"),
    ):
        found = compare("consistency", *extra)
        assert "\x1b" not in found.output
        assert "\u202e" not in found.output
        assert "31mx" in found.output or found.exit_code == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "v.jsonl:2: the line is not JSON"),
        ("[1]", "v.jsonl:2: the line is not a JSON object"),
        ('{"prompt": "p", "rule": "r", "generator": "g", "judge": "j", "verdict": "fine"}', "`fine` is no verdict"),
        ('{"prompt": "p", "rule": "r", "generator": "g", "verdict": "violated"}', "has no `judge`"),
        ('{"prompt": {}, "rule": "r", "generator": "g", "judge": "j", "verdict": "violated"}', "`prompt` has to be"),
        ('{"prompt": "0", "rule": "a", "generator": "x", "judge": "y", "verdict": "violated"}', "two verdicts of `y`"),
    ],
)
def test_a_line_that_cannot_be_read_ends_the_reading(tmp_path: Path, line: str, words: str) -> None:
    first = '{"prompt": "0", "rule": "a", "generator": "x", "judge": "y", "verdict": "satisfied"}'
    path = tmp_path / "v.jsonl"
    path.write_text(f"{first}\n{line}\n", encoding="utf-8")
    found = compare("consistency", path, "--reference", "y")
    assert found.exit_code == 2
    assert found.stdout == ""
    assert words in found.stderr
    assert found.stderr.count("error:") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("drift", "{policy}", "one.jsonl"), "two checkpoints at least"),
        (("drift", "{policy}", "a.jsonl", "b.jsonl", "--steps", "1"), "1 numbers for 2 files"),
        (("drift", "{policy}", "a.jsonl", "b.jsonl", "--steps", "1,x"), "no list of numbers"),
        (("drift", "{policy}", "a.jsonl", "b.jsonl"), "a.jsonl"),
        (("consistency", "none.jsonl", "--reference", "x"), "`none.jsonl` cannot be read"),
        (("drift", "{policy}", "a.jsonl", "b.jsonl", "--plot", "x.pdf"), "--plot writes .svg and .png files"),
        (("drift", "{policy}", "a.jsonl", "b.jsonl", "--plot", "/nowhere/x.svg"), "there is no folder `/nowhere`"),
        (("scaling",), "give a file of SAMPLES"),
        (("scaling", "--mean", "0"), "all of --mean"),
        (("scaling", "--mean", "0", "--sd", "0", "--target", "0", "--judge", "0"), "above 0"),
        (("order", "{policy}"), "--model and --prompts are needed"),
        (("order", "v.jsonl", "--model", "default"), "go with a policy"),
        (("shift", "nowhere", "default", "--prompts", "{policy}"), "error"),
    ],
)
def test_wrong_usage_is_one_message(policy: Path, arguments: tuple[str, ...], words: str) -> None:
    found = compare(*(each.format(policy=policy) for each in arguments))
    assert found.exit_code == 2
    assert words in found.stderr.lower() or words in found.stderr
    assert "Traceback" not in found.output


# ------------------------------------------------------------------------------------------------------------- models
@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return lines(tmp_path / "prompts.jsonl", [{"prompt": f"say {at}"} for at in range(12)])


def test_shift_and_cross_sampling_from_the_command_line(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the enumerable model and its exact law; rates within 4 standard errors of the enumerated ones (six of them: a
    false alarm of 0.04%)."""
    monkeypatch.setattr(ModelChoice, "load", lambda choice, _: {"base": base(), "law": law()}[str(choice.path)])
    rules = tmp_path / "exact.bylaw"
    rules.write_text('policy p version "1"\nrule no_ab at root { must not contain "ab" }\n'
                     'rule one at root { must contain "1" }\nrule stop at root { must end with "." }\n')  # fmt: skip
    data = answer(
        "shift", "base", "law", "--prompts", prompts, "--samples", 40, "--max-tokens", 6, "--cross", rules,
        "--threshold", 0.1, "--threshold", 0.3,
    )  # fmt: skip
    assert [each["threshold"] for each in data["cross_sampling"]] == [1.0, 0.3, 0.1, -1.0]
    texts = [exact().tiny.vocabulary.text(tokens) for tokens in exact().responses]
    for each in data["cross_sampling"]:
        expected, replaced = mixture(each["threshold"])
        assert each["replaced"] == pytest.approx(replaced, abs=0.05)
        for rule, check in zip(each["rules"], (lambda t: "ab" in t, lambda t: "1" not in t,
                                               lambda t: not t.endswith(".")), strict=True):  # fmt: skip
            rate = float(expected @ np.array([check(text) for text in texts]))
            error = math.sqrt(rate * (1 - rate) / 480)
            assert rule["broken"]["mean"] == pytest.approx(rate, abs=4 * error + 1e-9)
    last = data["cross_sampling"][-1]["rules"]
    assert all(rule["broken"]["mean"] == 0 for rule in last)
    assert last[1]["change"]["interval"]["high"] < 0
    assert 0 < data["divergence"]["mean"] < math.log(2)
    assert data["strongest"][0]["second_token"] in (*"ab1 .", "(end)")
    assert valid().any()
    plot = tmp_path / "shift.svg"
    shown = compare("shift", "base", "law", "--prompts", prompts, "--max-tokens", 6, "--cross", rules, "--plot", plot)
    assert "share of places with the second model&#39;s law".replace("&#39;", "'") in plot.read_text()
    assert shown.exit_code == 0
    assert "Cross-sampling: how few places carry the difference" in shown.stdout
    same = answer("shift", "base", "base", "--prompts", prompts, "--max-tokens", 6)
    assert (same["divergence"]["mean"], same["strongest"], same["cross_sampling"]) == (0.0, [], [])


def test_the_order_of_rules_before_the_default_model(tmp_path: Path, policy: Path, prompts: Path) -> None:
    few = lines(tmp_path / "few.jsonl", [
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Is {at} there?"}]}
        for at in range(3)
    ])  # fmt: skip
    data = answer("order", policy, "--model", "default", "--prompts", few, "--max-tokens", 4)
    assert data["orders"] == [[0, 1], [1, 0]]
    assert len(data["prompts"]) == 3
    for each in data["prompts"]:
        one, two = each["log_probs"]
        assert each["spread"] == pytest.approx(abs(one - two) / math.sqrt(2))
        assert 0 <= each["divergence"] <= math.log(2)
    assert prompts.exists()
