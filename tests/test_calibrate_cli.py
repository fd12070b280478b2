"""`bylaw calibrate` as a person meets it, its record, and who loads it: `run --calibration`, `audit --calibration`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tinylanguage import Tiny

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.transcripts import read_prompts
from bylaw.runtime.calibration.record import (
    CalibrationRecord,
    CalibrationRecordError,
    StaleRecord,
    load_record,
    prompts_digest,
    require_current,
    save_record,
)
from bylaw.runtime.cli import main
from bylaw.runtime.record import writable
from bylaw.spec.source import Source
from tinymodels import TabularModel

CAP = 4
POLICY = """policy tiny version "1"
levels root > user
rule no_ba at root { must not contain "ba" }
rule rarely at user { should not end with "d" weight 1.5 }
rule seldom at user { limit response contains "a" to at most 10% of responses }
"""
PROMPTS = '{"id": "one", "prompt": "first 1"}\n{"id": "two", "prompt": "second 0"}\n'
QUICK = ("--samples", 60, "--draws", 120, "--max-tokens", CAP, "--seed", 3)


@pytest.fixture(scope="module")
def model() -> Tiny:
    return Tiny(TabularModel(letters=b"abcd1", max_tokens=CAP, seed=5), others=(TabularModel(b"abcd1", CAP, 6),))


@pytest.fixture(autouse=True)
def _tiny(model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bylaw.runtime.cli.sampling.ModelChoice.load", lambda _, temperature: model)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "rules.bylaw").write_text(POLICY, encoding="utf-8")
    (tmp_path / "prompts.jsonl").write_text(PROMPTS, encoding="utf-8")
    return tmp_path


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def calibrate(house: Path, *more: object, policy: str | None = None) -> Result:
    if policy is not None:
        (house / "rules.bylaw").write_text(policy, encoding="utf-8")
    return call("calibrate", house / "rules.bylaw", "--out", house / "out", *QUICK, *more)


def program(text: str = POLICY) -> RewardProgram:
    return compile_source(Source.of("tiny.bylaw", text)).require()


# ------------------------------------------------------------------------------------------------------ what is printed
def test_the_table_says_what_every_limit_comes_to(house: Path) -> None:
    result = calibrate(house)
    assert result.exit_code == 0, result.output
    for words in ("seldom", "binding", "10 %", "worth", "independent", "calibration.json", "of samples in"):
        assert words in result.output
    assert sorted(path.name for path in (house / "out").iterdir()) == ["calibration.json", "samples", "scores.npz"]


def test_a_pipe_has_room_for_whole_names(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "letters_that_are_seldom_used"
    calibrated = calibrate(house, policy=POLICY.replace("rule seldom", f"rule {name}")).stdout.splitlines()
    answer = json.dumps({"id": "one", "prompt": "first 1", "response": "ab"})
    (house / "answers.jsonl").write_text(answer, encoding="utf-8")
    audited = call("audit", house / "rules.bylaw", house / "answers.jsonl", "--calibration", house / "out").stdout
    beside = audited[audited.index("against the law") :].splitlines()
    for lines in (calibrated, beside):
        assert name in [line.split()[0] for line in lines if line.split()]
        assert 80 < max(map(len, lines)) <= 118


def test_the_formats_have_the_same_numbers(house: Path) -> None:
    data = json.loads(calibrate(house, "--format", "json").stdout)
    assert data == json.loads((house / "out" / "calibration.json").read_text(encoding="utf-8"))
    multiplier = data["budgets"][0]["multiplier"]
    assert f"{multiplier:.3g}" in calibrate(house, "--format", "markdown").stdout
    assert f"| seldom | at most 10 % |" in calibrate(house, "--format", "markdown").stdout.replace("\n", "")  # noqa: F541


def test_a_second_call_draws_nothing_and_writes_the_same_bytes(house: Path) -> None:
    calibrate(house)
    before = {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in house.rglob("*.jsonl")}
    assert calibrate(house).exit_code == 0
    assert {path: path.read_bytes() for path in house.rglob("*") if path.is_file()} == before
    assert {path: path.stat().st_mtime_ns for path in house.rglob("*.jsonl")} == times


def test_changed_rules_use_the_answers_of_the_model_again(house: Path) -> None:
    calibrate(house)
    base = next((house / "out" / "samples").glob("base16-60/*"))
    before = base.stat().st_mtime_ns
    result = calibrate(house, policy=POLICY.replace("10%", "15%"))
    assert result.exit_code == 0
    assert "holds the calibration of other rules of this policy; it will be replaced" in result.stderr
    assert "removed" in result.stderr
    assert base.stat().st_mtime_ns == before
    assert load_record(house / "out").budgets[0].bound == 0.15


def test_ctrl_c_says_how_to_go_on(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bylaw.runtime.calibration.pool.ratios", interrupted)
    monkeypatch.setattr("bylaw.runtime.calibration.fit.solve", interrupted)
    result = calibrate(house)
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.stderr
    assert not (house / "out" / "calibration.json").exists()


# ------------------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("options", "words"),
    [(("--elastic", "user=-1"), "a price above 0"), (("--elastic", "user=nan"), "a price above 0"),
     (("--elastic", "user"), "LEVEL=NATS"), (("--elastic", "boss=1"), "levels here: root, user"),
     (("--elastic", "user=1", "--elastic", "user=2"), "two prices"), (("--ess-floor", "nan"), "positive number"),
     (("--ess-floor", "-5"), "positive number"), (("--rounds", "0"), "0"), (("--temperature", "nan"), "nan")],
)  # fmt: skip
def test_options_that_say_nothing_are_refused(house: Path, options: tuple[str, ...], words: str) -> None:
    result = calibrate(house, *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr.replace("\n", " ")
    assert not (house / "out").exists()


@pytest.mark.parametrize(
    ("policy", "code", "words"),
    [(POLICY.replace("10%", "110%"), 1, "110"), (POLICY.replace("weight 1.5", "weight -1"), 1, "weight"),
     (POLICY + 'rule many at user { limit response contains "ab" to at least 40% of responses }\n', 1, "together"),
     (POLICY.replace('"a"', '"c"') + 'rule c at root { must contain "c" }', 1, "cannot meet this budget")],
)  # fmt: skip
def test_policies_that_ask_for_the_impossible_are_named(house: Path, policy: str, code: int, words: str) -> None:
    result = calibrate(house, policy=policy)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    if words == "together":
        assert "`seldom` asks for" in result.stderr
        assert "`many` asks for" in result.stderr
    assert not (house / "out" / "calibration.json").exists()


def test_limits_that_give_way_or_cannot_be_told_exit_with_4(house: Path) -> None:
    result = calibrate(house, "--elastic", "user=0.2")
    assert result.exit_code == 4
    assert "gave way" in result.output
    result = calibrate(
        house, policy=POLICY + 'rule z at user { limit response contains "zz" to at most 0.1% of responses }'
    )
    assert result.exit_code == 4
    assert "happened in none of 120 answers" in " ".join(result.output.split())


def test_too_few_draws_are_refused(house: Path) -> None:
    result = calibrate(house, "--ess-floor", "5000", "--rounds", 2)
    assert result.exit_code == 1
    assert "at least 5000 are needed" in " ".join(result.stderr.split())


def test_prompts_that_are_missing_or_empty_are_refused(house: Path) -> None:
    (house / "prompts.jsonl").write_text("", encoding="utf-8")
    result = calibrate(house)
    assert (result.exit_code, "there is no prompt to read" in result.stderr) == (2, True)
    (house / "prompts.jsonl").write_text(PROMPTS + "nonsense\n", encoding="utf-8")
    result = calibrate(house)
    assert (result.exit_code, "left out" in result.stderr) == (3, True)


def test_a_folder_that_cannot_be_written_or_holds_something_else_is_refused(house: Path) -> None:
    (house / "out").touch()
    result = calibrate(house)
    assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)
    (house / "out").unlink()
    assert calibrate(house).exit_code == 0
    before = (house / "out" / "calibration.json").read_bytes()
    for change, words in (
        (("--seed", 4), "the seed (3 there, 4 now)"), (("--max-tokens", 3), "the longest response (4 there, 3 now)"),
        (("--prompts", house / "other.jsonl"), "the prompts (other contents)"),
    ):  # fmt: skip
        (house / "other.jsonl").write_text(PROMPTS[:35], encoding="utf-8")
        result = calibrate(house, *change)
        assert (result.exit_code, words in " ".join(result.stderr.split())) == (2, True), result.stderr
    result = calibrate(house, policy=POLICY.replace("policy tiny", "policy small"))
    assert (result.exit_code, "holds the calibration of the policy `tiny`" in result.stderr) == (2, True)
    assert (house / "out" / "calibration.json").read_bytes() == before
    (house / "out" / "calibration.json").write_text("{}", encoding="utf-8")
    result = calibrate(house, policy=POLICY)
    assert (result.exit_code, "is not the record of a calibration" in result.stderr) == (2, True)


# ----------------------------------------------------------------------------------------------------------- the record
@pytest.fixture
def record(house: Path) -> CalibrationRecord:
    assert calibrate(house).exit_code == 0
    return load_record(house / "out" / "calibration.json")


def test_a_record_comes_back_as_it_was(record: CalibrationRecord, tmp_path: Path) -> None:
    hard = replace(
        record,
        budgets=(
            replace(
                record.budgets[0], multiplier_interval=replace(record.budgets[0].multiplier_interval, high=math.inf)
            ),
        ),  # type: ignore[type-var]
    )
    save_record(hard, tmp_path)
    assert load_record(tmp_path) == hard
    assert record.calibrated_program().digest == program().digest == record.rules
    assert record.calibrated_program().term("seldom").multiplier == record.budgets[0].multiplier
    assert record.summary().budgets[0].multiplier == record.budgets[0].multiplier


def test_records_that_were_changed_or_are_none_get_one_message(record: CalibrationRecord, tmp_path: Path) -> None:
    good = writable(asdict(record))
    path = tmp_path / "changed.json"

    def message(data: object) -> str:
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        with pytest.raises(CalibrationRecordError) as error:
            load_record(path)
        assert str(path) in str(error.value)
        return str(error.value)

    def budget(**fields: object) -> dict[str, object]:
        return {**good, "budgets": [{**good["budgets"][0], **fields}]}

    assert "it is not JSON" in message("{")
    assert "schema version is None" in message("[]")
    assert "schema version is 99" in message({**good, "schema_version": 99})
    assert "`seed`" in message({key: value for key, value in good.items() if key != "seed"})
    assert "another multiplier" in message(budget(multiplier=0.5))
    assert "another multiplier" in message(budget(multiplier="NaN"))
    assert "is not a limit" in message(budget(bound=0.5))
    assert "is not a limit" in message(budget(term="other"))
    assert "`program`" in message({**good, "program": good["program"].replace("1.5", "2.5")})
    assert "is not the digest" in message({**good, "rules": "sha256:0"})
    # Python writes and reads NaN and Infinity where JSON has no such number, and takes true for 1.
    for wrong in (math.nan, math.inf, -math.inf):
        assert "it is not JSON" in message({**good, "ess": wrong})
    for wrong in (True, "200"):
        assert "`ess`: a value of another kind" in message({**good, "ess": wrong})
    for name in ("ess", "smallest_prompt_ess", "floor", "temperature"):
        for wrong in ("NaN", "Infinity", -1.0):
            assert f"`{name}` is" in message({**good, name: wrong})
    assert "`floor` is 0, and must be a positive number" in message({**good, "floor": 0})
    assert "`converged`" in message({**good, "converged": 1})
    assert "`schema_version`" in message({**good, "schema_version": True})
    for wrong, words in ((True, "another kind"), (0.0, "a positive number"), ("NaN", "a positive number")):
        told = message(budget(price=wrong))
        assert "`budgets.0.price`" in told
        assert words in told
    assert "`budgets.0.rate`" in message(budget(rate={**good["budgets"][0]["rate"], "value": "NaN"}))
    law = {**good["proposals"][0], "scale": "NaN"}
    assert "`proposals.0.scale` is nan" in message({**good, "proposals": [law, *good["proposals"][1:]]})
    law = {**good["proposals"][-1], "multipliers": [["seldom", False]]}
    assert ".multipliers.0.1`: a value of another kind" in message({**good, "proposals": [law]})
    path.unlink()
    with pytest.raises(CalibrationRecordError, match="cannot be read"):
        load_record(path)


def test_a_stale_record_says_what_changed(house: Path, record: CalibrationRecord, model: Tiny) -> None:
    prompts = read_prompts(house / "prompts.jsonl").traces
    settings = {"temperature": 1.0, "max_tokens": CAP}
    assert prompts_digest(prompts) == record.prompts_digest
    require_current(record, program(), model, prompts, settings)
    require_current(record)
    cases = (
        ({"program": program(POLICY.replace("10%", "11%"))}, ("rules",)),
        ({"model": replace(model, digest="1" * 64)}, ("model",)),
        ({"prompts": prompts[::-1]}, ("prompts",)),
        ({"prompts": [replace(prompts[0], facts={"meta.kind": "x"}), prompts[1]]}, ("prompts",)),
        ({"settings": {"temperature": 0.7, "max_tokens": CAP}}, ("settings",)),
        ({"program": program(POLICY + "rule x { must not contain /q/ }"), "prompts": []}, ("rules", "prompts")),
    )
    for arguments, changed in cases:
        with pytest.raises(StaleRecord, match="run `bylaw calibrate` again") as error:
            require_current(record, **arguments)  # type: ignore[arg-type]
        assert error.value.changed == changed


# -------------------------------------------------------------------------------------------------------- who loads it
def run(house: Path, *more: object) -> Result:
    sizes = ("--samples", 20, "--particles", 200, "--responses", 40, "--max-tokens", CAP, "--format", "json")
    return call("run", house / "rules.bylaw", "--calibration", house / "out", "--out", house / "report", *sizes, *more)


def test_a_run_enforces_with_the_multipliers_of_the_record(house: Path, record: CalibrationRecord) -> None:
    result = run(house)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["calibration"]["budgets"][0]["multiplier"] == record.budgets[0].multiplier
    assert data["calibration"]["samples"] == record.samples
    assert data["check"]["budgets"][0]["status"] == "met within its error"
    assert "calibrating" not in result.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [(("--temperature", 0.5), "--temperature (1, now 0.5)"), (("--max-tokens", 3), "--max-tokens (4, now 3)")],
)
def test_a_run_refuses_a_record_of_something_else(
    house: Path, record: CalibrationRecord, more: tuple[object, ...], words: str
) -> None:
    assert record.budgets
    result = run(house, *more)
    assert (result.exit_code, words in " ".join(result.stderr.split())) == (2, True), result.stderr
    (house / "rules.bylaw").write_text(POLICY.replace("10%", "12%"), encoding="utf-8")
    result = run(house)
    assert (result.exit_code, "the rules" in result.stderr) == (2, True)
    assert not (house / "report").exists()


def test_an_audit_stands_beside_the_law(house: Path, record: CalibrationRecord, model: Tiny) -> None:
    """The model as it is breaks the limit and differs from the law; its own rates are those that calibration saw."""
    random = np.random.default_rng(0)
    lines = []
    for name, text, table in (("one", "first 1", model.others[0]), ("two", "second 0", model.table)):
        for tokens in table.sample(300, random):
            lines.append(json.dumps({"id": name, "prompt": text, "response": model.vocabulary.text(tokens)}))
    (house / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    asked = ("audit", house / "rules.bylaw", house / "answers.jsonl", "--calibration", house / "out")
    result = call(*asked, "--format", "json")
    law = {each["term"]: each for each in json.loads(result.stdout)["law"]}
    assert result.exit_code == 0, result.output
    assert (law["seldom"]["verdict"], law["no_ba"]["verdict"]) == ("above", "above")
    base = next(rate.base for rate in record.terms if rate.term == "seldom")
    assert base is not None
    # Two intervals that do not meet: one false alarm in 200, and the seed is fixed.
    assert law["seldom"]["measured"]["interval"]["low"] < base.interval.high
    assert law["seldom"]["measured"]["interval"]["high"] > base.interval.low
    assert law["seldom"]["law"]["value"] == pytest.approx(record.budgets[0].rate.value)
    for output in ("text", "markdown"):
        printed = call(*asked, "--format", output).stdout
        assert "above" in printed
        assert "under the law" in " ".join(printed.split())
    (house / "rules.bylaw").write_text(POLICY.replace("10%", "12%"), encoding="utf-8")
    result = call(*asked)
    assert (result.exit_code, "the rules" in result.stderr) == (2, True)
    result = call(*asked[:-1], house / "nowhere")
    assert (result.exit_code, "cannot be read" in result.stderr) == (2, True)
