"""Reward modules say exactly what the reference evaluator says, from wherever they are imported."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from target_policies import (
    EXAMPLE_FACTS,
    MIXED,
    MULTIPLIERS,
    SMALL,
    answered,
    calibrated,
    compiled,
    example,
    inputs,
    random_traces,
)

from bylaw.compiler.evaluate import Verdict, evaluate, evaluate_term
from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.targets import _messages
from bylaw.compiler.targets._law import facts_read
from bylaw.compiler.targets.bundle import bundle
from bylaw.compiler.targets.interface import Options, TargetError
from bylaw.compiler.targets.reward_functions import ChangedRewards, NotTold, RewardError, RuleRewards
from bylaw.compiler.targets.writing import write_bundle
from bylaw.runtime.audit.transcripts import read_transcripts
from bylaw.spec.trace import Message, Trace, tool_call

POLICIES = ("support", "agents", "childrens_story", "judgements", "over_refusal")


def policies() -> dict[str, Compiled]:
    return {**{name: example(name) for name in POLICIES}, "small": compiled(SMALL), "mixed": compiled(MIXED)}


def written(folder: Path, policy: Compiled, program: RewardProgram, options: Options | None = None) -> Path:
    _, made = bundle("rewards", inputs(policy, options=options, program=program))
    write_bundle(folder, made.files)
    return folder


def loaded(folder: Path) -> ModuleType:
    """The module as engines load it: from its path, under a name of theirs."""
    spec = importlib.util.spec_from_file_location("some_rewards", folder / "rewards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """The module of the small policy."""
    policy = compiled(SMALL)
    return loaded(written(tmp_path / "small", policy, policy.require().with_multipliers(MULTIPLIERS)))


# ------------------------------------------------------------------------------------------- parity with the evaluator
_CHILD = """
import importlib.util, json, sys
from pathlib import Path
folder = Path(sys.argv[1])
found = {}
for name, rows in json.loads((folder / "cases.json").read_text(encoding="utf-8")).items():
    spec = importlib.util.spec_from_file_location("rewards_of_" + name, folder / name / "rewards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    columns = {"facts": [row["facts"] for row in rows], "trainer_state": None}
    asked = {"prompts": [row["prompt"] for row in rows], "completions": [row["completion"] for row in rows], **columns}
    functions = module.functions()
    found[name] = {
        "names": list(module.NAMES), "weights": module.weights(), "called": [f.__name__ for f in functions],
        "values": [f(**asked) for f in functions],
        "scores": [
            module.compute_score("x", row["completion"][0]["content"], "", {"conversation": row["conversation"]})
            for row in rows
        ],
    }
print(json.dumps(found))
"""


def test_a_fresh_process_gives_what_the_evaluator_says(tmp_path: Path) -> None:
    """Every rule of the examples on 16 random conversations each, in a process that knows nothing but the folder."""
    cases: dict[str, Any] = {}
    expected: dict[str, tuple[RewardProgram, list[Trace]]] = {}
    for name, policy in policies().items():
        program = calibrated(policy)
        written(tmp_path / name, policy, program, Options(unscored="none"))
        facts = facts_read(program.terms)
        assert set(facts) <= set(EXAMPLE_FACTS)
        traces = random_traces(len(name), 16, facts)
        cases[name] = [
            {
                "prompt": _messages.message_data(trace.messages[:-1]),
                "completion": _messages.message_data(trace.messages[-1:]),
                "facts": dict(trace.facts),
                "conversation": _messages.conversation_text(trace.messages[:-1], trace.facts),
            }
            for trace in traces
        ]
        expected[name] = program, traces
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    child = [sys.executable, "-c", _CHILD, str(tmp_path)]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    verdicts: set[Verdict] = set()
    for name, (program, traces) in expected.items():
        verdicts |= require_parity(program, traces, found[name])
    assert verdicts == set(Verdict)


def require_parity(program: RewardProgram, traces: list[Trace], found: dict[str, Any]) -> set[Verdict]:
    """All rules but those on concepts are there, with the value and the contribution of the evaluator."""
    names, verdicts = found["names"], set()
    assert found["called"] == names
    left = {term.id for term in program.terms} - set(names)
    assert all("score" in repr(program.term(name)) for name in left)
    totals = [0.0] * len(traces)
    for name, weight, values in zip(names, found["weights"], found["values"], strict=True):
        term = program.term(name)
        for row, (trace, value) in enumerate(zip(traces, values, strict=True)):
            score = evaluate_term(term, trace)
            verdicts.add(score.verdict)
            if score.verdict in (Verdict.NOT_APPLICABLE, Verdict.UNSCORED):
                assert value is None
                assert found["scores"][row][f"applies/{name}"] == 0.0
                continue
            assert value is not None, (name, score)
            assert score.value is not None
            assert value == (score.value if term.among is None else score.value - (term.bound or 0.0))
            contribution = weight * value
            totals[row] += contribution
            if term.kind == "hard":
                assert weight > 0
                assert (contribution < 0) is (score.contribution == -math.inf)
            else:
                assert contribution == score.contribution
            assert found["scores"][row][f"rule/{name}"] == contribution
    assert [row["score"] for row in found["scores"]] == pytest.approx(totals, abs=1e-9)
    return verdicts


def test_the_weights_are_those_of_the_law(small: Any) -> None:
    assert dict(zip(small.NAMES, small.weights(), strict=True)) == {
        "no_iron": 12.5, "oats": 2.0, "brief": 0.5, "calm": -0.25, "rare": -1.5, "spare": -0.75, "longish": -0.125,
    }  # fmt: skip


def test_a_broken_hard_rule_outweighs_all_soft_ones() -> None:
    policy = compiled(SMALL)
    _, made = bundle("rewards", inputs(policy))
    assert b"HARD_PENALTY = 12.5 " in made.files["rewards.py"]
    _, made = bundle("rewards", inputs(policy, options=Options(hard_penalty=3.0)))
    assert b"HARD_PENALTY = 3.0 " in made.files["rewards.py"]
    assert any("-3 nats" in note for note in made.notes)


# ------------------------------------------------------------------------------------------------- the three signatures
def test_trl_gets_texts_or_messages_and_facts(small: Any) -> None:
    names = small.NAMES
    texts = small.functions()[names.index("oats")](prompts=["porridge?", "tea?"], completions=["Oats", "Oats"])
    chats = small.rule_oats(
        [[{"role": "user", "content": "porridge?"}], [{"role": "user", "content": [{"type": "text", "text": "tea"}]}]],
        [[{"role": "assistant", "content": "Water"}], [{"role": "assistant", "content": "Oats"}]],
        facts=['{"meta.a": 1}', None],
    )
    assert texts == [0.0, None]
    assert chats == [-1.0, None]


def test_verl_gets_one_number_and_the_same_keys_each_time(small: Any) -> None:
    conversation = _messages.conversation_text((Message("user", "porridge?"),), {})
    first = small.compute_score("mill.desk", "Iron and rye!", "", {"conversation": conversation, "num_turns": 2})
    second = small.compute_score(
        data_source="x", solution_str="Oats", ground_truth="", extra_info={"conversation": conversation}
    )
    assert list(first) == list(second)
    assert all(isinstance(value, float) for value in (*first.values(), *second.values()))
    assert first["score"] == -12.5 - 2.0 - 0.25 - 1.5 - 0.125 * 3
    assert second["score"] == 0.75 * 0.1 - 0.125
    with pytest.raises(RewardError, match="`extra_info` has no `conversation`"):
        small.compute_score("x", "Oats", "", {})


def test_openrlhf_gets_tensors_of_the_same_rewards(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for torch, of which only `tensor` is asked for."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(tensor=np.array))
    conversation = _messages.conversation_text((Message("user", "porridge?"),), {})
    prompt = "<|user|>porridge?<|assistant|>"
    given = small.reward_func([prompt + "Iron and rye!", prompt + "Oats"], [prompt, prompt], [conversation] * 2)
    assert given["rewards"].tolist() == pytest.approx([-16.625, -0.05])
    assert given["scores"].tolist() == given["rewards"].tolist()
    assert given["extra_logs"]["rule/no_iron"].tolist() == [-12.5, 0.0]
    with pytest.raises(RewardError, match="does not begin with its prompt"):
        small.reward_func(["other"], [prompt], [conversation])


# ------------------------------------------------------------------------------------------------------ what goes wrong
def test_a_program_that_was_changed_is_refused(tmp_path: Path) -> None:
    """A multiplier is no part of the digest, so the file itself is held against the module."""
    policy = compiled(SMALL)
    folder = written(tmp_path / "a", policy, policy.require().with_multipliers(MULTIPLIERS))
    path = folder / "program.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"multiplier": 1.5', '"multiplier": 0.0'), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    with pytest.raises(ChangedRewards, match="was changed after"):
        loaded(folder)
    path.unlink()
    with pytest.raises(ChangedRewards, match="cannot be read"):
        loaded(folder)


def test_what_cannot_be_told_is_an_error_and_no_reward() -> None:
    policy = compiled(
        'policy a.b version "1"\nlevels top > low\n'
        "rule page at top { must not quote meta.page more than 3 words }\n"
        "rule short at low { should have at most 3 words }\n"
    )
    trace = answered("a", "b")
    strict = RuleRewards(policy.require(), 10.0)
    with pytest.raises(NotTold, match=r"`page` cannot be told.*`facts`"):
        strict.feature("page", trace)
    with pytest.raises(NotTold):
        strict.parts(trace)
    assert RuleRewards(policy.require(), 10.0, "none").parts(trace) == {"page": None, "short": 0.0}
    assert RuleRewards(policy.require(), 10.0, "broken").parts(trace) == {"page": -10.0, "short": 0.0}
    assert strict.parts(answered("a", "b", page="a b c d"))["page"] == 0.0


def test_what_counts_as_broken_is_what_the_evaluator_calls_broken() -> None:
    """The feature for `--unscored broken` is that of an answer that does break the rule."""
    policy = compiled(SMALL)
    rewards = RuleRewards(policy.require().with_multipliers(MULTIPLIERS), 12.5, "broken")
    trace = answered("porridge", "Iron and rye, no")
    for name in ("no_iron", "oats", "rare"):
        assert rewards.feature(name, trace) == rewards.terms[name].broken
    assert rewards.feature("spare", answered("a", "oats, salt")) == rewards.terms["spare"].broken


def test_rules_on_concepts_are_left_out_by_name() -> None:
    manifest, made = bundle("rewards", inputs(compiled(MIXED)))
    reason = "it hangs on `scorn`, which a reward module has nobody to score"
    assert manifest["left_out"] == [{"what": "`kind`", "reason": reason, "count": 0}]
    assert f"- `kind`: {reason}" in made.files["README.md"].decode("utf-8")
    with pytest.raises(TargetError, match=r"no rule of this policy can be a reward function: `no_blame`"):
        bundle("rewards", inputs(example("concepts")))


def test_limits_without_a_multiplier_are_left_out_by_name() -> None:
    manifest, made = bundle("rewards", inputs(compiled(SMALL)))
    assert [each["what"] for each in manifest["left_out"]] == ["`rare`", "`spare`", "`longish`"]
    readme = made.files["README.md"].decode("utf-8")
    assert "- `rare`: the limit has no multiplier yet" in readme
    assert "| `rare` |" not in readme


def test_an_unknown_or_ambiguous_rule_of_a_module_is_told(tmp_path: Path) -> None:
    policy = compiled(
        'policy a.b version "1"\nlevels top > low\nrule a at top { must not contain "x" must not contain "y" }\n'
        'rule a_1 at low { should contain "z" }\n'
    )
    module = loaded(written(tmp_path / "a", policy, policy.require()))
    assert module.NAMES == ("a.1", "a.2", "a_1")
    assert module.rule_a_2(["q"], ["y"]) == [-1.0]
    for name in ("rule_a_1", "rule_b"):
        with pytest.raises(AttributeError, match="rules of this policy are called"):
            getattr(module, name)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (3, "a text or a list"),
        ([], "a text or a list"),
        ([{"role": "robot", "content": "x"}], "has no role"),
        ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "a part that is no text"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}], "calls a tool"),
        ([{"role": "user"}], "has no content"),
    ],
)
def test_what_is_no_conversation_is_told(prompt: Any, said: str, small: Any) -> None:
    with pytest.raises(RewardError, match=said):
        small.rule_brief([prompt], ["x"])


def test_messages_come_back_as_they_were_and_as_our_readers_read_them(tmp_path: Path) -> None:
    """Calls, outputs, names and texts of every kind: through our own form, and through the reader of transcripts."""
    messages = (
        Message("system", ""),
        Message("user", "{{ x }}\n\u2028"),
        tool_call("book.ticket", {"price": 12.5, "to": 'a "b"\nc', "is_dear": True}),
        Message("tool", "done", "book.ticket"),
        Message("assistant", "It is booked."),
    )
    data = _messages.message_data(messages)
    assert _messages.messages_of(json.loads(json.dumps(data))) == messages
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"messages": data}) + "\n", encoding="utf-8")
    assert read_transcripts(path).traces[0].messages == messages
    trace = _messages.conversation_of(_messages.conversation_text(messages, {"meta.a": True, "meta.b": 2.0}))
    assert (trace.messages, dict(trace.facts)) == (messages, {"meta.a": True, "meta.b": 2.0})


def test_together_is_the_sum_of_the_law(small: Any) -> None:
    """On answers without a broken hard rule the score is the reward of the evaluator, to rounding."""
    program = compiled(SMALL).require().with_multipliers(MULTIPLIERS)
    for trace in random_traces(5, 60, ()):
        score = evaluate(program, trace)
        total = sum(nats for nats in small.REWARDS.parts(trace).values() if nats is not None)
        if score.allowed:
            assert total == pytest.approx(score.reward, abs=1e-12)
        else:
            assert total < -2.0
