"""Every target of the catalogue, by the laws that all of them keep; the command line; what is written where."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from target_policies import HOSTILE, HOSTILE_TEXTS, MULTIPLIERS, SMALL, SUPPORT, answers, compiled, inputs, prompts

from bylaw.compiler.targets import catalog
from bylaw.compiler.targets.bundle import bundle
from bylaw.compiler.targets.interface import Inputs, Options, TargetError, UnknownTarget, UnwritableBundle
from bylaw.compiler.targets.writing import write_bundle
from bylaw.runtime.cli import main

NAMES = catalog.names()
POLICIES = {"small": SMALL, "hostile": HOSTILE}


def made_from(name: str, text: str, options: Options | None = None) -> Inputs:
    """What a target needs, of one of the small policies with all its multipliers."""
    policy = compiled(text)
    program = policy.require().with_multipliers(MULTIPLIERS if text == SMALL else {"rarely": 2.0})
    data = {"answers": answers(), "prompts": prompts(), "none": ()}[catalog.target(name).DATA]
    return replace(inputs(policy, data, options), program=program)


# ------------------------------------------------------------------------------------------------ laws of the catalogue
def test_the_catalogue_is_the_folder() -> None:
    assert set(NAMES) == {"judge", "openrlhf", "pairs", "prompt", "rewards", "sft", "verl"}


def test_names_and_lines_come_without_importing_a_target() -> None:
    probe = (
        "import sys\nfrom bylaw.compiler.targets import catalog\n"
        "print(len([catalog.summary(n) for n in catalog.names()]))\n"
        "print([n for n in catalog.names() if f'bylaw.compiler.targets.{n}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str(len(NAMES)), "[]"]


def test_an_unknown_target_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownTarget, match="did you mean `rewards`"):
        catalog.target("reward")


@pytest.mark.parametrize("name", NAMES)
def test_a_target_says_what_it_is(name: str) -> None:
    target = catalog.target(name)
    assert 20 < len(catalog.summary(name)) < 130
    assert target.DATA in ("none", "answers", "prompts")
    assert set(target.OPTIONS) <= {*Options.__dataclass_fields__, "calibration"}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_inputs_give_the_same_bytes_and_name_the_policy(name: str, policy: str) -> None:
    given = made_from(name, POLICIES[policy])
    manifest, made = bundle(name, given)
    assert bundle(name, made_from(name, POLICIES[policy])) == (manifest, made)
    assert manifest["digest"] == given.program.digest
    assert manifest["policy"] == "mill.desk"
    assert manifest["bylaw"] == "0.0.0"
    assert json.loads(made.files["bylaw.json"]) == manifest
    assert set(manifest["files"]) == set(made.files) - {"bylaw.json"}
    for path, digest in manifest["files"].items():
        assert digest == "sha256:" + hashlib.sha256(made.files[path]).hexdigest()
    for path, data in made.files.items():
        # a prompt is read by a model, and the agent is the same for every policy: the manifest names them
        if path not in ("system_prompt.txt", "agent.py"):
            assert given.program.digest.encode() in data, path
        if path.endswith(".jsonl"):
            assert all(given.program.digest.encode() in line for line in data.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_the_same_in_another_process(name: str) -> None:
    """Where Python hashes texts with another seed."""
    probe = (
        f"import sys, hashlib; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_targets import *\n"
        "for name in NAMES:\n"
        "    _, made = bundle(name, made_from(name, HOSTILE))\n"
        "    print(name, hashlib.sha256(repr(sorted(made.files.items())).encode()).hexdigest())"
    )
    _, made = bundle(name, made_from(name, HOSTILE))
    here = f"{name} {hashlib.sha256(repr(sorted(made.files.items())).encode()).hexdigest()}"
    assert here in _probed(probe)


_FOUND: dict[str, str] = {}


def _probed(probe: str) -> str:
    if probe not in _FOUND:
        options: dict[str, Any] = {"capture_output": True, "text": True, "check": True}
        _FOUND[probe] = subprocess.run([sys.executable, "-c", probe], **options).stdout
    return _FOUND[probe]


@pytest.mark.parametrize("name", NAMES)
def test_expected_files(name: str, golden: Any) -> None:
    """The files of the hostile policy, as people would read them."""
    _, made = bundle(name, made_from(name, HOSTILE))
    for path, data in made.files.items():
        if path != "program.json":
            golden.check(f"targets/{name}/{path}", data.decode("utf-8"))


# --------------------------------------------------------------------------------------------------------- hostile text
@pytest.mark.parametrize("name", NAMES)
def test_hostile_text_stays_data(name: str) -> None:
    """Nothing in a policy or in data is a template, YAML, code or a message of its own."""
    _, made = bundle(name, made_from(name, HOSTILE))
    for path, data in made.files.items():
        text = data.decode("utf-8")
        if path.endswith(".jsonl"):
            assert all(isinstance(json.loads(line), dict) for line in text.split("\n")[:-1])
        elif path.endswith(".yaml"):
            assert isinstance(yaml.safe_load(text), dict)
        elif path.endswith(".py"):
            assert "{{" not in text.replace(ascii(made_from(name, HOSTILE).program.version), "")
            compile(text, path, "exec")
        elif path.endswith(".sh"):
            assert "rm -rf" not in text
            assert "$(touch" not in text


def test_hostile_words_reach_the_prompt_as_they_are() -> None:
    _, made = bundle("prompt", made_from("prompt", HOSTILE))
    text = made.files["system_prompt.txt"].decode("utf-8")
    assert 'does not contain "{{ 7*7 }}"' in text
    assert "A {{ title }} of {% raw %} and $(touch x) `y`." in text
    assert "(Why: Braces {{ config }} and {% for x in y %}, a second line: - with YAML: [1, 2] # and more.)" in text


def test_hostile_data_comes_back_as_it_was() -> None:
    _, made = bundle("sft", made_from("sft", SMALL, Options(keep="all")))
    said = {json.loads(line)["messages"][1]["content"] for line in made.files["sft.jsonl"].decode().split("\n")[:-1]}
    assert set(HOSTILE_TEXTS) <= said


# ---------------------------------------------------------------------------------------------------- prompt and judge
def test_the_prompt_tells_every_rule_once_and_levels_in_order() -> None:
    _, made = bundle("prompt", made_from("prompt", SMALL))
    text = made.files["system_prompt.txt"].decode("utf-8")
    assert text.index("## top") < text.index("## low")
    for said in (
        'Make sure that the answer does not mention "iron".',
        'When the user\'s message mentions "porridge": if you can, see to it that the answer mentions "oats".',
        "the answer has at most 4 words.",
        "The lower this is, the better: the number of exclamation marks in the answer.",
        'Let it be rare, in at most 5% of answers, that the answer mentions "rye".',
        'Among the answers for which the answer mentions "oats": let it be rare, in at most 10% of answers, that the '
        'answer mentions "salt".',
        "Keep the average of this at most 6: the number of words in the answer.",
    ):
        assert text.count(said) == 1, said


def test_a_prompt_that_is_too_long_is_refused_with_the_longest_rule() -> None:
    words = ", ".join(f'"word{number:05}"' for number in range(5_000))
    text = f'policy a.b version "1"\nlevels top > low\nrule long at top {{ must not mention any of [{words}] }}\n'
    with pytest.raises(TargetError, match="the longest rule is `long`"):
        bundle("prompt", inputs(compiled(text)))


def test_a_judge_is_asked_as_ours_are() -> None:
    """The exported messages, put together, are those of the runtime's own judge for the same rubric."""
    from bylaw.runtime.judges.prompt import Exhibit, question_prompt
    from bylaw.runtime.judges.rubric import rule_rubric

    manifest, made = bundle("judge", made_from("judge", HOSTILE))
    rows = [json.loads(line) for line in made.files["judge.jsonl"].decode().split("\n")[:-1]]
    assert [row["name"] for row in rows] == ["braces", "three_quotes", "rarely"]
    assert [each["what"] for each in manifest["left_out"]] == ["`shout`"]
    text = "a text with {{ braces }} and \0 marks".replace("\0", "")
    for row, broken, kept in zip(
        rows, (["{{ 7*7 }} <|im_end|>"], [], []), (["{% endraw %} '; rm -rf x; echo '"], [], []), strict=True
    ):
        criteria = "" if row["name"] == "rarely" else row["system"].split("# How it is meant\n")[1].split("\n\n#")[0]
        rubric = rule_rubric(row["name"], row["meaning"], criteria=criteria, violates=broken, complies=kept)
        ours = question_prompt(rubric, Exhibit(text), draw=lambda: "abcdefabcdefabcdefabcdef")
        parts = {"nonce": ours.nonce, "text": text}
        user = "".join(piece.get("literal") or parts[piece["slot"]] for piece in row["user"])
        assert [message.content for message in ours.messages] == [row["system"], user]


# ------------------------------------------------------------------------------------------------------------- writing
def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, made = bundle("prompt", made_from("prompt", SMALL))
    out = tmp_path / "a" / "out"
    write_bundle(out, made.files)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UnwritableBundle, match="--force"):
        write_bundle(out, made.files)
    original = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "bylaw.json":
            raise OSError(28, "No space left on device")
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UnwritableBundle, match="no space left"):
        write_bundle(out, {**made.files, "system_prompt.txt": b"other"}, force=True)
    with pytest.raises(UnwritableBundle, match="no space left"):
        write_bundle(tmp_path / "b", made.files)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert manifest["target"] == "prompt"


def test_force_replaces_what_a_target_wrote_and_nothing_else(tmp_path: Path) -> None:
    _, made = bundle("prompt", made_from("prompt", SMALL))
    out = tmp_path / "out"
    write_bundle(out, made.files)
    write_bundle(out, {**made.files, "system_prompt.txt": b"new"}, force=True)
    assert (out / "system_prompt.txt").read_bytes() == b"new"
    (out / "weights.bin").write_bytes(b"mine")
    with pytest.raises(UnwritableBundle, match="other files"):
        write_bundle(out, made.files, force=True)
    assert (out / "weights.bin").read_bytes() == b"mine"


# -------------------------------------------------------------------------------------------------------- command line
@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`bylaw compile` with a file of answers and a file of prompts beside the policy."""
    (tmp_path / "rules.bylaw").write_text(SMALL, encoding="utf-8")
    rows = [{"prompt": "porridge?", "response": text} for text in ("Oats.", "Iron.", "Water.")]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("Good morning\nWhat is porridge?\n", encoding="utf-8")

    def compile_policy(*words: str) -> Result:
        given = [str(tmp_path / word) if word.endswith((".bylaw", ".jsonl", ".txt", "OUT")) else word for word in words]
        return CliRunner().invoke(main, ["compile", *given])

    return compile_policy


def data_of(name: str) -> list[str]:
    return {"answers": ["answers.jsonl"], "prompts": ["prompts.txt"], "none": []}[catalog.target(name).DATA]


@pytest.mark.parametrize("name", NAMES)
def test_each_target_on_the_command_line(name: str, run: Any, tmp_path: Path) -> None:
    """The limits have no multiplier, which is told by name where they would be weighed."""
    result = run("rules.bylaw", *data_of(name), "--target", name, "--out", "OUT", "--format", "json")
    weighs = "calibration" in catalog.target(name).OPTIONS
    assert result.exit_code == (3 if weighs or name == "judge" else 0), result.output
    manifest = json.loads((tmp_path / "OUT" / "bylaw.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout) == manifest
    told = {each["what"] for each in manifest["left_out"]}
    if weighs:
        assert {"`rare`", "`spare`", "`longish`"} <= told
        assert "left out: `rare`: the limit has no multiplier yet" in result.stderr
    for path, digest in manifest["files"].items():
        assert "sha256:" + hashlib.sha256((tmp_path / "OUT" / path).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_that_is_not_sound_gives_1_and_no_folder(name: str, run: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.bylaw").write_text("rule a at user { must have at most 3 wrods }\n", encoding="utf-8")
    result = run("bad.bylaw", *data_of(name), "--target", name, "--out", "OUT")
    assert result.exit_code == 1
    assert "P102" in result.stderr
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rules.bylaw", "--target", "prmpt", "--out", "OUT"], "did you mean `prompt`"),
        (["rules.bylaw", "--target", "sft", "--out", "OUT"], "needs transcripts with answers"),
        (["rules.bylaw", "--target", "verl", "--out", "OUT"], "needs prompts"),
        (["rules.bylaw", "answers.jsonl", "--target", "prompt", "--out", "OUT"], "reads no data"),
        (["rules.bylaw", "--target", "prompt", "--samples", "4", "--out", "OUT"], "--samples is of no use"),
        (["rules.bylaw", "--target", "prompt", "--rough", "--out", "OUT"], "options about scores are of no use"),
        (["rules.bylaw", "--target", "rewards", "--hard-penalty", "0", "--out", "OUT"], "--hard-penalty"),
        (["rules.bylaw", "--target", "prompt"], "--out"),
        (["rules.bylaw", "absent.jsonl", "--target", "sft", "--out", "OUT"], "there is no file"),
        (["rules.bylaw", "--target", "rewards", "--calibration", "absent.jsonl", "--out", "OUT"], "cannot be read"),
    ],
)
def test_wrong_usage_gives_2_and_one_message(words: list[str], said: str, run: Any, tmp_path: Path) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "OUT").exists()


def test_the_targets_are_listed(run: Any) -> None:
    for result in (run("--target", "list"), run("--help")):
        assert result.exit_code == 0
        assert all(name in result.output for name in NAMES)


def test_lines_that_cannot_be_read_are_told(run: Any, tmp_path: Path) -> None:
    with (tmp_path / "answers.jsonl").open("a", encoding="utf-8") as file:
        file.write("no json\n")
    result = run("rules.bylaw", "answers.jsonl", "--target", "pairs", "--out", "OUT")
    assert result.exit_code == 3
    assert "answers.jsonl:4: the line is not JSON" in result.stderr


def test_the_calibration_of_other_rules_is_refused(run: Any) -> None:
    folder = SUPPORT.parent / "expected" / "calibration"
    result = run("rules.bylaw", "--target", "rewards", "--calibration", str(folder), "--out", "OUT")
    assert result.exit_code == 2
    assert "made for other rules" in result.stderr


def test_a_calibration_gives_the_limits_their_weights(tmp_path: Path) -> None:
    folder = SUPPORT.parent / "expected" / "calibration"
    words = ["compile", str(SUPPORT), "--target", "rewards", "--calibration", str(folder), "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.stderr
    manifest = json.loads((tmp_path / "o" / "bylaw.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert manifest["multipliers"] == {each["term"]: each["multiplier"] for each in record["budgets"]}
    assert manifest["left_out"] == []
