"""`bylaw explain --credit`, and the implicit rewards of a trained pair of models."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tinylanguage import Tiny

from bylaw.runtime.cli import main
from bylaw.runtime.credit import CreditError
from bylaw.runtime.credit.implicit import implicit_rewards
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.models.interface import Vocabulary
from tinymodels import FloatArray, TabularModel, Tokens

RULES = """policy ferry version "1"
levels root > user

rule calm "Keep it polite" at root { must not mention "damn" }
rule thanks at root { should mention "thanks" weight 3 }
rule brief at root { prefer lower number of exclamation_marks in response weight 0.5 }
rule sorry at root { limit response mentions "sorry" to at most 10% of responses }
"""
ASKED = ("--prompt", "Is the ferry late?")


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.bylaw").write_text(RULES, encoding="utf-8")
    return "rules.bylaw"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", "--credit", *arguments])


# -------------------------------------------------------------------------------------------------------- the command
torch = pytest.importorskip("torch", reason="the tokens are those of a model")


def test_it_shows_which_token_broke_which_rule(rules: str) -> None:
    done = run(rules, *ASKED, "--response", "It is damn late! Sorry!")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[1] == "  It ␣is ⟦␣dam⟧ ⟦n⟧ ␣late !     ⟦␣S⟧ ⟦orry⟧ !     ⟦(end)⟧"
    assert lines[2].split() == ["·", "·", "·", "·", "-inf", "-0.50", "·", "·", "-0.50", "-3.00"]
    assert "  calm (rules.bylaw:4), Keep it polite: forbids the answer" in lines
    assert "    shown by tokens 3 to 4 “␣dam” “n”" in lines
    assert "    broken for good with token 5 “␣late”: no continuation keeps it" in lines
    assert "  thanks (rules.bylaw:5): -3.00 nats" in lines
    assert "    until its end the answer could still have kept it" in lines
    assert "  brief (rules.bylaw:6): -1.00 nats" in lines
    assert "  sorry (rules.bylaw:7): its multiplier is not calibrated yet, so it pays nothing" in lines
    assert lines[-1] == "reward of the answer: -inf, forbidden by a hard rule; all else pays -4.00 nats"


@pytest.mark.parametrize("placement", ["spans", "prefixes"])
def test_its_json_holds_the_same_and_sums(rules: str, placement: str) -> None:
    done = run(rules, *ASKED, "--response", "Dam̈n 😀 it is late!", "--placement", placement, "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["placement"] == placement
    assert data["implicit"] is None
    assert bytes.fromhex("".join(token["bytes"] for token in data["tokens"])).decode() == "Dam̈n 😀 it is late!"
    assert [token["is_end"] for token in data["tokens"]].index(True) == len(data["tokens"]) - 1
    assert math.fsum(token["reward"] for token in data["tokens"]) == pytest.approx(-3.5, abs=1e-12)
    assert (data["reward"], data["forbidden"]) == (pytest.approx(-3.5), False)
    by_rule = {each["rule"]: each for each in data["rules"]}
    assert by_rule["thanks"]["line"] == 5
    assert by_rule["thanks"]["tokens"] == [len(data["tokens"])]
    assert by_rule["brief"]["contribution"] == -0.5
    assert data["tokens"][-1]["breaks"] == ["thanks"]


def test_a_forbidden_answer_is_null_in_json_and_marked(rules: str) -> None:
    done = run(rules, *ASKED, "--response", "damn it", "--rule", "calm", "--json")
    data = json.loads(done.stdout)
    assert (data["reward"], data["forbidden"]) == (None, True)
    assert [token["forbidden"] for token in data["tokens"]].count(True) == 1
    (calm,) = data["rules"]
    assert (calm["term"], calm["contribution"], calm["forbidden"]) == ("calm", None, True)
    assert calm["evidence"] == [[0, 4]]
    assert 0 < len(calm["tokens"]) < calm["broken_for_good_at"]


def test_what_is_not_decided_is_said_and_pays_nothing_or_forbids(rules: str) -> None:
    undecided = """concept rude means "is rude"
rule kind at root { must not express rude }
rule mostly at root { limit response expresses rude to at most 9% of responses }
rule rather at root { should not express rude weight 2 }
"""
    Path(rules).write_text(RULES.partition("rule calm")[0] + undecided, encoding="utf-8")
    done = run(rules, *ASKED, "--response", "No")
    assert done.exit_code == 0, done.output
    assert "  kind (rules.bylaw:5): forbids the answer (undecided, which counts as broken)" in done.stdout
    _, _, open_ones = done.stdout.partition("undecided\n")
    assert "mostly (rules.bylaw:6)" in open_ones
    assert "rather (rules.bylaw:7)" in open_ones


def test_what_an_answer_spells_out_is_no_special_token(rules: str) -> None:
    done = run(rules, *ASKED, "--response", "thanks<|end|>", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["reward"] == 0.0


def test_terminal_escapes_of_an_answer_are_written_out(rules: str) -> None:
    done = run(rules, *ASKED, "--response", "thanks \x1b[31m")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "u{001b}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what the assistant answered with --response"),
        (("--response", "x", "--beta", "0"), "--beta is 0; it must be above 0"),
        (("--response", "x", "--beta", "nan"), "--beta is nan"),
        (("--response", "x", "--rule", "rude"), "there is no rule called `rude`"),
        (("--response", "x", "--model", "nowhere"), "there is no model directory `nowhere`"),
        (("--response", "x", "--trained", "nowhere"), "there is no model directory `nowhere`"),
        (("--transcript", "asked.jsonl"), "does not end with an answer"),
        (("--transcript", "absent.jsonl"), "absent.jsonl"),
        (("--response", "x", "--given", "mood"), "`mood` is not a fact"),
    ],
)
def test_wrong_input_is_one_message(rules: str, arguments: tuple[str, ...], message: str) -> None:
    asked = {"messages": [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Late?"}]}
    Path("asked.jsonl").write_text(json.dumps(asked) + "\n", encoding="utf-8")
    done = run(rules, *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_a_policy_that_is_not_sound_is_exit_code_1(rules: str) -> None:
    Path(rules).write_text("rule", encoding="utf-8")
    assert run(rules, "--response", "x").exit_code == 1


def test_it_says_how_it_is_called() -> None:
    assert "which token of an answer broke which rule" in " ".join(run("--help").stdout.split())
    assert "bylaw explain --credit --help" in CliRunner().invoke(main, ["explain", "--help"]).stdout


# ---------------------------------------------------------------------------------------------- a trained pair
def changed_model(folder: Path) -> Path:
    """The default model with other weights in one place."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(default_model_path(), folder)
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.3.mlp.down_proj.weight"
    noise = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(1))
    weights[name] = weights[name] + 0.05 * noise.to(weights[name].dtype)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def in_one_pass(folder: Path, prompt: str, answer: str) -> list[float]:
    """log π of the answer's tokens and its end, by transformers alone, over the tokens that a response may have."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    said = [{"role": "user", "content": prompt}]
    begin = tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)
    ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = network(torch.tensor([[*begin, *ids]])).logits[0, len(begin) - 1 : -1].double()
    logits[:, [index for index in tokenizer.all_special_ids if index != tokenizer.eos_token_id]] = -math.inf
    return [float(row[index]) for row, index in zip(logits.log_softmax(dim=1), ids, strict=True)]


def test_a_trained_model_says_how_much_it_likes_each_token_better(rules: str, tmp_path: Path) -> None:
    answer, trained = "It is damn late.", changed_model(tmp_path / "tuned")
    done = run(rules, *ASKED, "--response", answer, "--trained", str(trained), "--beta", "2", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    pair = [in_one_pass(folder, ASKED[1], answer) for folder in (trained, default_model_path())]
    wanted = [2 * (ours - theirs) for ours, theirs in zip(*pair, strict=True)]
    assert max(map(abs, wanted)) > 0.01
    assert [token["implicit"] for token in data["tokens"]] == pytest.approx(wanted, abs=1e-4)
    assert data["implicit"] == {"trained": "tuned", "beta": 2.0, "reward": pytest.approx(math.fsum(wanted), abs=1e-3)}
    shown = run(rules, *ASKED, "--response", answer, "--trained", str(trained)).stdout
    least = int(np.argmin(wanted)) + 1
    assert f"implicit reward of `tuned` against `default` at β 1: {math.fsum(wanted) / 2:+.2f} nats" in shown
    assert f"least with token {least} " in shown


@dataclass(frozen=True)
class Tilted:
    """p*(w|h) = p0(w|h) V(hw)/V(h) of a tabular model, by enumeration: what training would come to."""

    base: TabularModel
    reward: Any
    name: str = "tilted"
    digest: str = "1" * 64

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Tiny(self.base).vocabulary

    @cached_property
    def mass(self) -> Mapping[tuple[int, ...], float]:
        """Σ p0(y) e^R(y) over the responses that begin so; with the end token, of the one response."""
        found: dict[tuple[int, ...], float] = {}
        for response, log_p in zip(*self.base.enumerate(), strict=True):
            weight = math.exp(log_p + self.reward(self.base.text(response)))
            whole = response if len(response) == self.base.max_tokens else (*response, self.base.eos_id)
            for size in range(len(whole) + 1):
                found[whole[:size]] = found.get(whole[:size], 0.0) + weight
        return found

    def next_log_probs(self, prefixes: Sequence[Tokens]) -> FloatArray:
        rows = [[self.mass[(*h, w)] / self.mass[h] for w in range(len(self.base.vocabulary))] for h in prefixes]
        return np.log(np.array(rows))

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        return (0,)

    def session(self, prompts: Sequence[tuple[int, ...]]) -> TiltedSession:
        return TiltedSession(self, [prompt[1:] for prompt in prompts])


@dataclass(frozen=True)
class TiltedSession:
    model: Tilted
    prefixes: list[tuple[int, ...]]

    def log_probs(self) -> FloatArray:
        return self.model.next_log_probs(self.prefixes)

    def advance(self, tokens: np.ndarray) -> None:
        self.prefixes[:] = [(*prefix, int(token)) for prefix, token in zip(self.prefixes, tokens, strict=True)]

    def select(self, indices: np.ndarray) -> None:
        self.prefixes[:] = [self.prefixes[int(index)] for index in indices]


def test_partial_sums_of_implicit_rewards_are_exact_soft_values() -> None:
    """Σ_{s ≤ t} r_s = log E_p0[e^R | h_t] − log Z for the pair (p*, p0), and the token `b` is where it falls most."""
    base = TabularModel(b"abc", max_tokens=3, seed=6)
    tilted = Tilted(base, lambda text: -3.0 if b"b" in text else 0.2 * len(text))
    began: dict[tuple[int, ...], float] = {}
    for response, log_p in zip(*base.enumerate(), strict=True):
        whole = response if len(response) == 3 else (*response, base.eos_id)
        for size in range(len(whole) + 1):
            began[whole[:size]] = began.get(whole[:size], 0.0) + math.exp(log_p)
    log_z = math.log(tilted.mass[()])
    for response in base.enumerate()[0]:
        ended = len(response) < 3
        found = implicit_rewards(tilted, Tiny(base), (0,), response, ended)
        whole = (*response, base.eos_id) if ended else response
        wanted = [math.log(tilted.mass[whole[:t]] / began[whole[:t]]) - log_z for t in range(1, len(whole) + 1)]
        assert np.cumsum(found) == pytest.approx(wanted, abs=1e-12)
        if list(response).count(1) == 1:
            assert int(found.argmin()) == response.index(1)


def test_models_with_other_tokens_are_no_pair() -> None:
    base = Tiny(TabularModel(b"abc", max_tokens=3))
    with pytest.raises(CreditError, match="different tokenizers"):
        implicit_rewards(Tiny(TabularModel(b"abd", max_tokens=3)), base, (0,), (1,))
    with pytest.raises(CreditError, match="β is 0"):
        implicit_rewards(base, base, (0,), (1,), beta=0.0)
