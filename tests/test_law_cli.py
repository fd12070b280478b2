"""`bylaw law`: the case studies, the size of audits, and how far a model is from the law of a calibration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from price_suites import POLICY, PROMPTS, exact_suite, model, program_of, sampled_suite, write_calibration

from bylaw.compiler.law.detection import rate_test
from bylaw.compiler.law.divergence import DIVERGENCES
from bylaw.compiler.law.games import (
    LENGTHS,
    STRENGTHS,
    censorship,
    equilibrium,
    game_table,
    kolmogorov_distance,
    phishing,
)
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.record import BudgetRecord, Estimate, TermRate, load_record, save_record
from bylaw.runtime.cli import main
from bylaw.runtime.law_distance import base_distance, read, recorded_law, response_distance
from bylaw.runtime.prices.law import flatten
from bylaw.runtime.record import Interval
from bylaw.spec.trace import Message, Trace

SVG = "{http://www.w3.org/2000/svg}svg"


def law(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["law", *arguments])


# --------------------------------------------------------------------------------------------------------- paper cases
def test_paper_cases_prints_all_rows_of_both_cases() -> None:
    found = law("paper-cases", "--format", "json")
    assert found.exit_code == 0
    data = json.loads(found.stdout)
    assert data["source"] == "arXiv:2606.18424"
    assert [case["name"] for case in data["cases"]] == ["censorship", "phishing"]
    for case, shown in zip((censorship(), phishing()), data["cases"], strict=True):
        assert shown["threshold"] == str(case.threshold)
        for row, expected in zip(shown["rows"], game_table(case), strict=True):
            assert row["probabilities"] == pytest.approx(expected.probabilities)
            for name in ("strength", "utility", "entropy", "kl", "value", "flag_probability"):
                assert row[name] == getattr(expected, name)
            distances = [(each["positions"], each["distance"]) for each in row["kolmogorov_distance"]]
            law_ = equilibrium(case, row["strength"])
            assert distances == [(length, kolmogorov_distance(case, law_, length)) for length in LENGTHS]
    assert len(data["cases"][0]["rows"]) == len(STRENGTHS) == 6


@pytest.mark.parametrize("output", ["text", "markdown"])
def test_paper_cases_as_a_table(output: str) -> None:
    found = law("paper-cases", "--format", output)
    assert found.exit_code == 0
    for words in ("Case censorship", "Case phishing", "3.38774e-05", "2.10606e-06", "1.02425e-05", "16.09", "0.03632"):
        assert words in found.stdout
    assert ("| lambda |" in found.stdout) == (output == "markdown")


def test_other_divergences_strengths_and_lengths() -> None:
    found = law(
        "paper-cases", "--divergence", "total_variation", "--strength", "7", "--strength", "0.5", "--length", "12",
        "--positions", "20", "--format", "json",
    )  # fmt: skip
    assert found.exit_code == 0
    rows = json.loads(found.stdout)["cases"][0]["rows"]
    assert [row["strength"] for row in rows] == [0.5, 7.0]
    assert rows[1]["probabilities"] == pytest.approx([0.72, 0.23, 0.05], abs=1e-15)  # held at a finite strength
    assert (rows[1]["charge"], rows[1]["positions"]) == (0.0, 20)
    assert [each["positions"] for each in rows[0]["kolmogorov_distance"]] == [12]
    assert "charge" in law("paper-cases", "--divergence", "chi_squared").stdout


def test_the_plot_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    from xml.etree import ElementTree as ET

    for name in ("a.svg", "b.svg", "c.png"):
        found = law("paper-cases", "--plot", str(tmp_path / name), "--length", "10", "--strength", "1")
        assert found.exit_code == 0
        assert f"wrote {tmp_path / name}" in found.stderr
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes()
    assert ET.fromstring(first).tag == SVG
    for label in (
        "strength λ of the regulator",
        "length of a response (positions)",
        "Gaussian",
        "censorship",
        "phishing",
    ):
        assert label in first.decode()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("paper-cases", "--plot", "cases.pdf"), ".svg and .png"),
        (("paper-cases", "--plot", "nowhere/cases.svg"), "no folder `nowhere`"),
        (("paper-cases", "--strength", "-1"), "`-1` is not a strength"),
        (("paper-cases", "--strength", "nan"), "`nan` is not a strength"),
        (("paper-cases", "--strength", "inf"), "`inf` is not a strength"),
        (("paper-cases", "--length", "0"), "0"),
        (("paper-cases", "--divergence", "js"), "js"),
        (("detect", "5", "3"), "write five percent as 5% or 0.05"),
        (("detect", "ten", "5%"), "`ten` is not a share"),
        (("detect", "nan", "5%"), "between 0% and 100%"),
        (("detect", "5%", "0.05"), "both rates are 0.05"),
        (("detect", "5%", "5.0000001%"), "too close"),
        (("detect", "10%", "5%", "--error", "50%"), "between 0% and 50%"),
        (("detect", "10%", "5%", "--error", "0"), "between 0% and 50%"),
        (("detect", "10%"), "give two rates"),
        (("detect",), "give two rates"),
        (("detect", "10%", "5%", "--calibration", "x"), "give two rates"),
        (("detect", "--calibration", "missing"), "cannot be read"),
        (("distance", "missing"), "cannot be read"),
        (("nothing",), "nothing"),
    ],
)
def test_wrong_usage_is_one_message(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = law(*arguments)
    assert found.exit_code == 2
    assert words in found.stderr
    assert "Traceback" not in found.stderr
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------- detect
def test_detect_says_how_many_and_where_the_line_is() -> None:
    found = law("detect", "10%", "5%")
    assert found.exit_code == 0
    assert "Read 298 responses" in found.stdout
    assert "at most 21" in found.stdout.replace("\n", " ")
    data = json.loads(law("detect", "0.1", "5%", "--format", "json").stdout)
    expected = rate_test(0.1, 0.05, 0.05)
    assert (data["responses"], data["threshold"], data["sufficient"]) == (298, 21, expected.sufficient)
    assert data["bayes"]["least"] == expected.bayes.least
    rise = law("detect", "5%", "10%", "--format", "markdown").stdout
    assert "To see a rate rise from 5% to 10%" in rise
    assert "at least 22" in rise


def test_detect_at_the_ends() -> None:
    assert "Read 1 response, drawn" in law("detect", "0", "1").stdout
    assert json.loads(law("detect", "100%", "0%", "--format", "json").stdout)["exponent"] is None
    close = law("detect", "30%", "29.999%", "--error", "1%")
    assert close.exit_code == 0
    assert "too large to be computed exactly" in " ".join(close.stdout.split())


def test_detect_for_each_rule_of_a_calibration(tmp_path: Path) -> None:
    def rate(value: float) -> Estimate:
        return Estimate(value, Interval(value, value))

    def term(name: str, base: float | None, law_: float | None, is_share: bool = True) -> TermRate:
        both = (None if each is None else rate(each) for each in (base, law_))
        return TermRate(name, "soft", "user", is_share, *both, fired=0, draws=0, at_most=None)

    write(tmp_path, 20, 0)
    record = load_record(tmp_path)
    terms = (
        term("falls", 0.1, 0.05),
        term("same", 0.2, 0.2),
        term("length", 9.0, 4.0, False),
        term("none", None, None),
    )
    save_record(replace(record, terms=(*terms, term("close", 0.3, 0.29999))), tmp_path)
    data = json.loads(law("detect", "--calibration", str(tmp_path), "--format", "json").stdout)
    assert [rule["term"] for rule in data["rules"]] == ["falls", "same", "close"]
    assert (data["rules"][0]["test"]["responses"], data["rules"][1]["test"]) == (298, None)
    shown = law("detect", "--calibration", str(tmp_path), "--format", "markdown")
    assert shown.exit_code == 0
    assert "| falls | 10% | 5% | 298 | at most 21 |" in shown.stdout
    assert "| same | 20% | 20% | no effect | - |" in shown.stdout
    assert "| close | 30% | 30% | at most " in shown.stdout


# ----------------------------------------------------------------------------------------------------------- distance
MULTIPLIERS = {"seldom": 2.0, "often": -1.0, "within": 0.7}


@cache
def program() -> RewardProgram:
    """The tiny policy with multipliers, as a calibration would leave them."""
    plain = program_of(POLICY)
    terms = tuple(
        replace(term, multiplier=MULTIPLIERS[term.rule]) if term.kind == "budget" else term for term in plain.terms
    )
    return replace(plain, terms=terms)


def write(folder: Path, count: int, seed: int) -> None:
    """A calibration on `count` draws of the base model for each prompt, with the multipliers in its record."""
    whole = exact_suite(program())
    write_calibration(folder, program(), sampled_suite(program(), count, seed, whole))
    nothing = Estimate(0.0, Interval(0.0, 0.0))
    budgets = tuple(
        BudgetRecord(
            term=term.id, level=term.level, sense=str(term.sense), bound=float(term.bound or 0.0), is_share=True,
            among=term.among is not None, each_prompt=False, price=None, multiplier=term.multiplier,
            multiplier_interval=Interval(0.0, 0.0), base_rate=nothing, free_rate=nothing, rate=nothing, slack=0.0,
            status="binding", beyond=0, applicable=3, base_share=None, share=None, prompts=(),
        )
        for term in program().terms if term.kind == "budget"
    )  # fmt: skip
    save_record(replace(load_record(folder), budgets=budgets), folder)


@cache
def exact_laws() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """([X][Y] log base law, [X][Y] log law) of the tiny model, enumerated, from the scores of all its responses."""
    suite = exact_suite(program())
    base, law_ = [], []
    for prompt in suite.prompts:
        exponent = np.zeros(len(prompt.log_ratio))
        for column, term in enumerate(program().terms):
            value, counts = prompt.values[:, column], prompt.counts[:, column]
            if term.kind == "hard":
                exponent[prompt.violated[:, column]] = -np.inf
            elif term.kind == "budget":
                bound = float(term.bound or 0.0) if term.among is not None else 0.0
                exponent -= float(term.multiplier or 0.0) * (value - bound * counts)
            else:
                exponent += float(term.weight or 0.0) * value
        log_p0 = prompt.log_ratio - np.logaddexp.reduce(prompt.log_ratio)
        tilted = log_p0 + exponent
        base.append(log_p0)
        law_.append(tilted - np.logaddexp.reduce(tilted))
    return base, law_


def truth(name: str, model_laws: list[np.ndarray]) -> float:
    return float(np.mean([DIVERGENCES[name].value(q, p) for q, p in zip(model_laws, exact_laws()[1], strict=True)]))


def test_the_recorded_law_is_the_law_of_the_program(tmp_path: Path) -> None:
    """Weights of all responses, enumerated, against the law computed from the terms one by one."""
    write(tmp_path, 200, 0)
    found = replace(read(tmp_path), scores=flatten(exact_suite(program()), exact=True))
    weights = recorded_law(found).weights
    np.testing.assert_allclose(weights, np.exp(np.concatenate(exact_laws()[1])), atol=1e-12)


def test_distance_of_the_base_model(tmp_path: Path) -> None:
    """Within 4.5 errors of the enumerated divergences (a false alarm in 1e-5); the bound is below, the gap small."""
    write(tmp_path, 2000, 1)
    found = base_distance(read(tmp_path))
    rows = {row.divergence: row for row in found.rows}
    assert (found.prompts, found.left_out) == (3, ())
    for name in ("reverse_kl", "twice_jensen_shannon", "squared_hellinger", "total_variation"):
        row, value = rows[name], truth(name, exact_laws()[0])
        assert row.direct is not None
        assert row.gap is not None
        assert abs(row.direct.value - value) < 4.5 * row.direct.standard_error
        assert row.bound.value - 4.5 * row.bound.standard_error < value
        assert row.gap.value < 0.1 * value  # what the rules speak of is all that tells the two apart
        assert value > 10.0 * row.direct.standard_error
    for name in ("kl", "chi_squared"):  # the base model breaks the hard rule
        assert rows[name].direct is not None
        assert rows[name].direct.value == np.inf
        assert rows[name].gap is None
        assert truth(name, exact_laws()[0]) == np.inf


def transcripts(laws: list[np.ndarray], count: int, seed: int) -> list[Trace]:
    rng = np.random.default_rng(seed)
    traces = []
    for number, log_q in enumerate(laws):
        texts = model(number)[0]
        for pick in rng.choice(len(texts), count, p=np.exp(log_q)):
            messages = (Message("user", PROMPTS[number]), Message("assistant", texts[pick]))
            traces.append(Trace(messages, {}, f"p{number}"))
    return traces


def test_distance_of_responses_alone(tmp_path: Path) -> None:
    """Draws of the law itself are not told apart from it; draws of the base model nearly as far as they are."""
    write(tmp_path, 2000, 2)
    calibrated, (base, law_) = read(tmp_path), exact_laws()
    same = response_distance(calibrated, transcripts(law_, 1500, 3), "same.jsonl")
    for row in same.rows:
        assert row.direct is None
        assert row.bound.value < 3.5 * row.bound.standard_error
    far = {row.divergence: row for row in response_distance(calibrated, transcripts(base, 1500, 4), "base.jsonl").rows}
    for name in ("reverse_kl", "twice_jensen_shannon", "squared_hellinger", "total_variation"):
        value = truth(name, base)
        assert 0.85 * value < far[name].bound.value < value + 4.5 * far[name].bound.standard_error


def test_distance_of_one_response_to_each_prompt(tmp_path: Path) -> None:
    """Twenty-four prompts, one response of the base model to each: the halves are made of prompts."""
    whole = exact_suite(program())
    prompts = tuple(replace(whole.prompts[number % 3], id=f"p{number}") for number in range(24))
    suite = sampled_suite(program(), 200, 10, replace(whole, prompts=prompts))
    write_calibration(tmp_path, program_of(POLICY), suite, floor=20.0)
    pool = transcripts(exact_laws()[0], 8, 11)
    picked = [pool[number // 3 + 8 * (number % 3)] for number in range(24)]
    traces = [replace(trace, id=f"p{number}") for number, trace in enumerate(picked)]
    found = response_distance(read(tmp_path), traces, "base.jsonl")
    assert (found.split, found.prompts, found.responses, found.left_out) == ("prompts", 24, 24, ())
    assert all(np.isfinite(row.bound.value) and row.bound.standard_error > 0.0 for row in found.rows)
    assert all(row.direct is None for row in found.rows)


def as_file(path: Path, traces: list[Trace]) -> Path:
    lines = [
        json.dumps({"id": trace.id, "messages": [{"role": m.role, "content": m.content} for m in trace.messages]})
        for trace in traces
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_distance_on_the_command_line(tmp_path: Path) -> None:
    write(tmp_path / "calibration", 300, 5)
    folder = str(tmp_path / "calibration")
    found = law("distance", folder)
    assert found.exit_code == 0, found.stderr
    assert "How far tiny is from the law of tiny" in found.stdout
    assert "infinite" in found.stdout
    assert "not corrected for the bias" in found.stdout
    assert "gap" in law("distance", folder, "--format", "markdown").stdout
    data = json.loads(law("distance", folder, "--format", "json").stdout)
    assert [row["divergence"] for row in data["rows"]][:2] == ["kl", "reverse_kl"]
    assert data["rows"][0]["direct"]["value"] == "infinite"
    traces = transcripts(exact_laws()[1], 100, 6)
    strange = replace(traces[0], id="p9")
    file = as_file(tmp_path / "tuned.jsonl", [*traces[:202], strange])
    other = law("distance", folder, "--responses", str(file))
    assert other.exit_code == 3
    assert "not known" in other.stdout
    assert "not corrected for the bias" not in other.stdout
    words = " ".join(other.stdout.split())
    assert "left out: 1 response whose id is none of the calibration's prompts" in words
    assert "prompts without 4 responses of the law or of the model: `p2`" in words


def test_distance_refuses_what_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / "few", 20, 7)
    found = law("distance", str(tmp_path / "few"))
    assert found.exit_code == 1
    assert "at least 100 are needed" in found.stderr
    write(tmp_path / "good", 300, 8)
    strangers = as_file(tmp_path / "strangers.jsonl", [replace(t, id="x") for t in transcripts(exact_laws()[1], 3, 9)])
    found = law("distance", str(tmp_path / "good"), "--responses", str(strangers))
    assert found.exit_code == 1
    assert "has the id of a prompt of the calibration (such as `p0`)" in found.stderr
    few = as_file(tmp_path / "few.jsonl", transcripts(exact_laws()[1], 1, 9))
    found = law("distance", str(tmp_path / "good"), "--responses", str(few))
    assert found.exit_code == 1
    assert "one to each of 20 prompts or more" in found.stderr
    (tmp_path / "good" / "scores.npz").write_bytes(b"no archive")
    found = law("distance", str(tmp_path / "good"))
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("arguments", [("paper-cases", "--length", "10"), ("detect", "10%", "5%")])
def test_a_terminal_without_greek_letters(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bylaw", "law", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


def test_help_of_the_group_loads_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom bylaw.runtime.cli import main\n"
        "try: main(['law', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'scipy', 'matplotlib', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    for verb in ("paper-cases", "detect", "distance"):
        assert verb in done.stdout
