"""`bylaw price`: what it prints and writes, and one named message for everything that can be wrong."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from price_suites import POLICY, exact_suite, program_of, sampled_suite, write_calibration

from bylaw.runtime.cli import main
from bylaw.runtime.prices.curve import curve
from bylaw.runtime.prices.interactions import interactions
from bylaw.runtime.prices.law import flatten
from bylaw.runtime.prices.scored import ScoredError, ScoredSuite, load
from bylaw.runtime.prices.solve import solve
from bylaw.runtime.prices.table import price_table
from bylaw.runtime.report.price_files import write_prices
from bylaw.runtime.report.price_page import curve_sections
from bylaw.runtime.report.price_plots import price_figures, svg_text

FILES = {"prices.html", "prices.md", "prices.json"}
PLOTS = {"rates", "shares", "interactions", "tradeoff", "what-if"}


@pytest.fixture(scope="module")
def suite() -> ScoredSuite:
    program = program_of(POLICY)
    return sampled_suite(program, 500, 4, exact_suite(program))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, suite: ScoredSuite) -> Path:
    """A folder with rules.bylaw and its calibration in `cal`."""
    folder = tmp_path_factory.mktemp("price")
    (folder / "rules.bylaw").write_text(POLICY, encoding="utf-8")
    write_calibration(folder / "cal", program_of(POLICY), suite)
    return folder


def price(place: Path, *options: str, calibration: Path | None = None) -> Result:
    folder = place / "cal" if calibration is None else calibration
    arguments = ["price", str(place / "rules.bylaw"), "--calibration", str(folder), *options]
    return CliRunner(catch_exceptions=False).invoke(main, arguments, env={"COLUMNS": "160"})


def test_the_table_has_every_rule_and_the_interactions(place: Path, suite: ScoredSuite) -> None:
    done = price(place)
    assert (done.exit_code, done.stderr) == (0, "")
    program = program_of(POLICY)
    for term in program.terms:
        assert f"{term.id} [" in done.stdout
    assert "The policy moves the model by" in done.stdout
    assert "those of the law with these multipliers" in " ".join(done.stdout.split())
    assert "`little` and `often` pull against each other" in done.stdout
    data = json.loads(price(place, "--format", "json").stdout)
    made = price_table(solve(flatten(suite), program.terms))
    assert data["rules"] == program.digest
    assert data["prices"]["kl"]["value"] == made.kl.value
    assert [row["kl"] for row in data["prices"]["rows"]] == [row.kl for row in made.rows]
    assert data["interactions"]["pull_against_each_other"][0]["first"] == "little"
    assert np.shape(data["interactions"]["correlation"]) == (7, 7)
    written = price(place, "--format", "markdown").stdout
    assert written.startswith("## What the rules of tiny cost")
    assert written.count("\n| ") > 14


def test_what_if_and_tradeoff_are_answered_alone_and_a_report_has_everything(place: Path, tmp_path: Path) -> None:
    options = ("--what-if", "seldom=4%", "--what-if", "rarely weight 3", "--without", "asked", "--tradeoff", "often")
    done = price(place, *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (
        "What if: `seldom` at most 4% instead of 1%, `rarely` weight 3 instead of 1.5, without `asked`" in done.stdout
    )
    assert "What `often` costs at other bounds" in done.stdout
    assert "What the rules of tiny cost" not in done.stdout
    out = tmp_path / "deep" / "out"
    again = price(place, *options, "--out", str(out))
    assert again.stdout == done.stdout
    assert {each.name for each in out.iterdir()} == FILES | {
        f"{name}.{end}" for name in PLOTS for end in ("svg", "png")
    }
    page = (out / "prices.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "<script" not in page
    assert "What the rules of tiny cost" in page
    assert set(json.loads((out / "prices.json").read_text())) >= {"prices", "interactions", "tradeoff", "what_if"}
    for name in PLOTS:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<dc:date>" not in (out / f"{name}.svg").read_text(encoding="utf-8")
    # A report without plots leaves none of an earlier one.
    write_prices(out, "Prices", (), "{}", {})
    assert {each.name for each in out.iterdir()} == FILES


def test_equal_prices_give_equal_plots() -> None:
    program = program_of(POLICY)
    solved = solve(flatten(exact_suite(program), exact=True), program.terms, ess_floor=1)
    table, found = price_table(solved), interactions(solved.law)
    first, second = (svg_text(price_figures(table, found)["shares"], "shares") for _ in range(2))
    assert first == second
    assert "nats a response" in first


def test_the_curve_meets_the_law_at_its_own_bound() -> None:
    program = program_of(POLICY)
    scores = flatten(exact_suite(program), exact=True)
    solved = solve(scores, program.terms, ess_floor=1)
    found = curve(scores, program.terms, "often", ess_floor=1)
    own = next(point for point in found.points if point.bound == 0.6)
    (text,) = curve_sections(found)
    assert sum("the limit is a hard rule: no multiplier is large enough" in each for each in text.sentences) == 1
    assert "sampled support ends" not in " ".join(text.sentences)
    assert own.rate.value == pytest.approx(0.6, abs=1e-9)
    assert own.multiplier.value == pytest.approx(solved.multiplier(4).value, abs=1e-8)
    assert own.kl.value == pytest.approx(solved.solution.budget_kl, abs=1e-9)
    kl = [point.kl.value for point in found.points if point.kl]
    assert np.all(np.diff(kl) > 0)  # to ask for more costs more
    slope = np.diff(kl) / np.diff([point.bound for point in found.points if point.kl])
    assert np.all(np.diff(slope) > 0)  # and more and more
    assert found.free_rate < 0.6 < found.most


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--what-if", "seldom"), 2, "is not a change"),
        (("--what-if", "seldom=200%"), 2, "above 100 %"),
        (("--what-if", "rarely weight nan"), 2, "not a finite number"),
        (("--what-if", "rarely weight -2"), 2, "is negative"),
        (("--what-if", "rarely weight 1e308"), 2, "at most 15 digits"),
        (("--without", "seldem"), 2, "did you mean `seldom`?"),
        (("--tradeoff", "nothing"), 2, "there is no rule called `nothing`"),
        (("--tradeoff", "rarely"), 2, "`rarely` is no limit"),
        (("--tradeoff", "within"), 2, "a limit among some answers only"),
        (("--what-if", "little weight 9"), 1, "independent ones under this law, and at least 100 are needed"),
        (("--ess-floor", "100000"), 1, "at least 100000 are needed"),
        (("--model", "m"), 2, "run `bylaw calibrate RULES --model m --out DIR` first"),
        (("--ess-floor", "nan"), 2, "must be a finite number"),
    ],
)
def test_bad_questions_end_with_one_message(place: Path, options: tuple[str, ...], code: int, said: str) -> None:
    done = price(place, *options)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_that_cannot_be_met_are_shown_in_the_policy(tmp_path: Path) -> None:
    text = POLICY + 'rule seldom_c at user { limit response contains "c" to at most 90% of responses }\n'
    program = program_of(text)
    (tmp_path / "rules.bylaw").write_text(text, encoding="utf-8")
    write_calibration(tmp_path / "cal", program, sampled_suite(program, 300, 1, exact_suite(program)))
    out = tmp_path / "out"
    done = price(tmp_path, "--what-if", "seldom_c=30%", "--out", str(out))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "P703" in done.stderr
    assert "`often`" in done.stderr
    assert "`seldom_c`" in done.stderr
    assert not out.exists()


def _without_scores(folder: Path) -> None:
    (folder / "scores.npz").unlink()


def _half_the_scores(folder: Path) -> None:
    content = (folder / "scores.npz").read_bytes()
    (folder / "scores.npz").write_bytes(content[: len(content) // 2])


def _other_bytes(folder: Path) -> None:
    (folder / "scores.npz").write_bytes(b"nothing of the kind")


def _other_model(folder: Path) -> None:
    program = program_of(POLICY)
    found = sampled_suite(program, 50, 0, exact_suite(program))
    replace(found, origin=replace(found.origin, model="0" * 64)).save(folder / "scores.npz")


def _not_a_number(folder: Path) -> None:
    program = program_of(POLICY)
    found = sampled_suite(program, 50, 0, exact_suite(program))
    found.prompts[1].log_ratio[3] = np.nan
    found.save(folder / "scores.npz")


def _no_record(folder: Path) -> None:
    (folder / "calibration.json").unlink()


def _damaged_record(folder: Path) -> None:
    (folder / "calibration.json").write_text("{", encoding="utf-8")


def _bomb(folder: Path) -> None:
    """A few kilobytes that say that they are a terabyte."""
    with np.load(folder / "scores.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    with zipfile.ZipFile(folder / "scores.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                if name == "values":
                    header = {"descr": "<f8", "fortran_order": False, "shape": (10**11, 7)}
                    np.lib.format.write_array_header_1_0(member, header)
                else:
                    np.lib.format.write_array(member, array)


def _large_when_unpacked(folder: Path) -> None:
    content = bytearray((folder / "scores.npz").read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # of the last file: its size unpacked, in the directory at the end
    content[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    (folder / "scores.npz").write_bytes(bytes(content))


def _with_head(**other: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with np.load(folder / "scores.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        arrays["head"] = np.array(json.dumps({**json.loads(str(arrays["head"])), **other}))
        np.savez_compressed(folder / "scores.npz", **arrays)

    return damage


def _without_floor(folder: Path) -> None:
    """A floor that is no number would let anything pass."""
    text = (folder / "calibration.json").read_text(encoding="utf-8")
    assert text.count('"floor": 100.0') == 1
    (folder / "calibration.json").write_text(text.replace('"floor": 100.0', '"floor": "NaN"'), encoding="utf-8")


def _complex(folder: Path) -> None:
    with np.load(folder / "scores.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["values"] = arrays["values"] + 1j
    np.savez_compressed(folder / "scores.npz", **arrays)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_bomb, "is not a file of scored responses"),
        (_large_when_unpacked, "is larger than 4000000000 bytes"),
        (_with_head(sizes=[float("inf")] * 3), "numbers of responses are not whole numbers"),
        (_with_head(sizes=[-500, 1500, 500]), "numbers of responses are not whole numbers"),
        (_with_head(format=2), "format 2 of scored responses is unknown"),
        (_complex, "values is of type complex128"),
        (_without_floor, "`floor` is nan, and must be a positive number"),
        (_without_scores, "cannot be read"),
        (_half_the_scores, "is not a file of scored responses"),
        (_other_bytes, "is not a file of scored responses"),
        (_other_model, "is of another calibration (model)"),
        (_not_a_number, "not every score of prompt `p1` is a finite number"),
        (_no_record, "`bylaw calibrate`"),
        (_damaged_record, "is not the record of a calibration"),
    ],
)
def test_a_calibration_that_cannot_be_used(
    tmp_path: Path, place: Path, suite: ScoredSuite, damage: Callable[[Path], None], said: str
) -> None:
    write_calibration(tmp_path / "cal", program_of(POLICY), suite)
    damage(tmp_path / "cal")
    done = price(place, "--out", str(tmp_path / "out"), calibration=tmp_path / "cal")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_no_damage_of_scores_is_anything_but_a_named_error(tmp_path: Path, suite: ScoredSuite) -> None:
    """300 seeded files with one to three wrong bytes: zlib, zipfile and NumPy's headers have errors of their own."""
    suite.save(tmp_path / "scores.npz")
    content = (tmp_path / "scores.npz").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        wrong = bytearray(content)
        for place in rng.integers(len(wrong), size=rng.integers(1, 4)):
            wrong[place] ^= int(rng.integers(1, 256))
        (tmp_path / "wrong.npz").write_bytes(bytes(wrong))
        try:
            load(tmp_path / "wrong.npz")
        except ScoredError:
            refused += 1
    assert refused > 270


def test_a_stale_calibration_says_which_rules_changed(tmp_path: Path, place: Path) -> None:
    text = POLICY.replace("at most 1% of", "at most 3% of").replace(
        'rule rarely at user { should not end with "d" weight 1.5 }',
        'rule new_one at user { should contain "1" weight 1 }',
    )
    (tmp_path / "rules.bylaw").write_text(text, encoding="utf-8")
    done = price(tmp_path, calibration=place / "cal")
    assert done.exit_code == 2
    assert "new: `new_one`; gone: `rarely`; changed: `seldom`" in done.stderr
    # The same rules written differently are the same rules.
    (tmp_path / "rules.bylaw").write_text(f"# a remark\n{POLICY}", encoding="utf-8")
    assert price(tmp_path, calibration=place / "cal").exit_code == 0


def test_help_has_examples() -> None:
    done = CliRunner().invoke(main, ["price", "--help"])
    assert done.exit_code == 0
    assert 'bylaw price rules.bylaw --calibration calibration --what-if "few_refusals=2%"' in done.output
