"""Learned look-ahead: identities with the exact value, rows that are kept beside a batch, and heads from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from decoding_models import CAP, Exact, enumerated, reward
from prefix_models import (
    LETTERS,
    NextDraw,
    TableModel,
    TableSession,
    base_rows,
    beginnings,
    conditionals,
    distance,
    law_of,
    place,
    table,
)
from safetensors.numpy import save_file

from bylaw.runtime.decoders.interface import DecodeTask, PromptLaw
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.tree import Tree
from bylaw.runtime.look_ahead.autoregressive_reward import AutoregressiveReward
from bylaw.runtime.look_ahead.implicit_reward import ImplicitReward
from bylaw.runtime.look_ahead.interface import LookAhead
from bylaw.runtime.look_ahead.value_head import ValueHead, load_value_head
from bylaw.runtime.models import Vocabulary, load_model
from bylaw.runtime.models.interface import FloatArray, ModelError
from bylaw.runtime.models.prefix_cache import PrefixCache
from tinymodels import Tokens

STORIES = Path(__file__).parents[1].parent / "shared" / "data" / "models" / "stories260K"
NONE_LEFT = np.zeros(1, dtype=np.int64)


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


def tuned(exact: Exact) -> TableModel:
    """p* itself: what a preference-tuned model converges to."""
    return TableModel(conditionals(exact.log_p0 + exact.log_reward), exact.tiny.vocabulary, name="tuned")


def test_the_implicit_reward_is_the_exact_value_of_a_beginning(exact: Exact) -> None:
    """Σ log(p*/p0) over a beginning = R of it + log V − log Z; R is paid with the whole response here."""
    factor = ImplicitReward(tuned(exact), table(exact), 1.0, exact.tiny.vocabulary)
    legal = [tokens for tokens, mass in zip(exact.responses, exact.target, strict=True) if mass > 0]
    chosen = sorted({tokens[:size] for tokens in legal[::40] for size in range(min(len(tokens) + 1, CAP))})
    values = exact.log_p0 + exact.log_reward
    rows = base_rows(exact.tiny)
    found = factor.begin([(LETTERS,)] * len(chosen), chosen).value(np.zeros(len(chosen), dtype=np.int64))
    for prefix, value in zip(chosen, found, strict=True):
        behind = [v for v, tokens in zip(values, exact.responses, strict=True) if tokens[: len(prefix)] == prefix]
        log_p0 = sum(rows[at][place(prefix[:at])][prefix[at]] for at in range(len(prefix)))
        # log V(h)·e^{R(h)} is the log of the mean of e^R under p0 among the responses with this beginning
        assert value == pytest.approx(np.logaddexp.reduce(behind) - log_p0 - exact.log_z, abs=1e-9)
    assert len(chosen) > 50


def test_the_implicit_reward_makes_the_proposal_the_target(exact: Exact) -> None:
    law = PromptLaw((), reward)
    task = DecodeTask((LETTERS,), law, (), (ImplicitReward(tuned(exact), table(exact), 1.0, exact.tiny.vocabulary),))
    assert distance(law_of(NextDraw(table(exact), task).proposal), exact.target) < 1e-9
    # values add up over a beginning, so a tree may mix them with what it has found
    [result] = Tree(40, together=4).decode(table(exact), [task], max_tokens=CAP, seed=1)
    assert [sample.log_weight for sample in result.samples] == pytest.approx([exact.log_z] * 40, abs=1e-9)
    # the reference is the model that writes: remembered, it is evaluated once for both
    base = table(exact)
    shared = PrefixCache(base)
    task = replace(task, look_ahead=(ImplicitReward(tuned(exact), shared, 1.0, exact.tiny.vocabulary),))
    [result] = Sir(50).decode(shared, [task], max_tokens=CAP, seed=1)
    assert len(base.asked) == len(set(base.asked))
    assert result.log_z_estimate == pytest.approx(exact.log_z, abs=1e-9)


def factors(exact: Exact) -> list[LookAhead]:
    vocabulary = exact.tiny.vocabulary
    generator = np.random.default_rng(0)
    hidden = Hidden(base_rows(exact.tiny), vocabulary)
    return [
        AutoregressiveReward(tuned(exact), 0.3, vocabulary),
        AutoregressiveReward(table(exact), -0.5, vocabulary, CAP),
        ImplicitReward(table(exact), tuned(exact), 2.0, vocabulary),
        ValueHead(hidden, generator.normal(size=(6, 4)), generator.normal(size=6)),
        ValueHead(hidden, generator.normal(size=(1, 4)), generator.normal(size=1)),
    ]


@pytest.mark.parametrize("which", range(5))
def test_rows_kept_beside_a_batch_are_those_begun_anew(exact: Exact, which: int) -> None:
    """Random steps and choices of rows: whatever was asked between them, nothing is forgotten or mixed up."""
    factor = factors(exact)[which]
    generator = np.random.default_rng(which)
    for _ in range(5):
        rows: list[Tokens] = [()] * 3
        state = factor.begin([(LETTERS,)] * 3, rows)
        for _ in range(CAP - 1):
            picked = generator.integers(0, len(rows), size=generator.integers(1, 5))
            if generator.random() < 0.6:
                state.select(picked)
                rows = [rows[int(at)] for at in picked]
            tokens = generator.integers(0, LETTERS, size=len(rows))
            state.advance(tokens)
            rows = [(*row, int(token)) for row, token in zip(rows, tokens, strict=True)]
            if generator.random() < 0.5:
                left = np.full(len(rows), CAP - len(rows[0]) - 1)
                anew = factor.begin([(LETTERS,)] * len(rows), rows)
                assert state.look_ahead(left) == pytest.approx(anew.look_ahead(left), abs=1e-9)
                assert state.final() == pytest.approx(anew.final(), abs=1e-9)
                assert state.paid == pytest.approx(anew.paid, abs=1e-9)
                if not isinstance(factor, ValueHead) or len(factor.bias) == 1:
                    assert state.value(left) == pytest.approx(anew.value(left), abs=1e-9)


def test_the_claim_for_a_token_is_the_value_behind_it(exact: Exact) -> None:
    for factor in factors(exact)[:4]:
        state = factor.begin([(LETTERS,)], [(2, 4)])
        before = state.paid
        claims = state.look_ahead(NONE_LEFT + 3)[0]
        state.advance(np.array([1]))
        assert (state.paid - before + state.value(NONE_LEFT + 3))[0] == pytest.approx(claims[1], abs=1e-9)


def test_factors_forbid_nothing_and_weights_stay_exact(exact: Exact) -> None:
    """p* forbids most beginnings, but as look-ahead it is finite."""
    for factor in (factors(exact)[0], factors(exact)[2], factors(exact)[3]):
        for depth in range(CAP):
            rows = beginnings(depth)[:50]
            left = np.full(len(rows), CAP - depth - 1)
            assert np.isfinite(factor.begin([(LETTERS,)] * len(rows), rows).look_ahead(left)).all()


def test_models_with_other_tokens_are_refused(exact: Exact) -> None:
    vocabulary = exact.tiny.vocabulary
    longer = Vocabulary((*vocabulary.token_bytes, b"!"), vocabulary.eos_ids)
    padded = Vocabulary((*vocabulary.token_bytes, None, None), vocabulary.eos_ids)
    ends = Vocabulary(vocabulary.token_bytes, frozenset({4, 5}))
    rows = base_rows(exact.tiny)
    with pytest.raises(ModelError, match=r"the reward model `table` has another vocabulary .* token 6"):
        AutoregressiveReward(TableModel(rows, longer), 1.0, vocabulary)
    with pytest.raises(ModelError, match=r"the reference model `table` ends a text by the tokens \[4, 5\]"):
        ImplicitReward(table(exact), TableModel(rows, ends), 1.0, vocabulary)
    with pytest.raises(ModelError, match="no number"):
        ImplicitReward(table(exact), table(exact), np.inf, vocabulary)
    # ids that nothing spells, at the end, are padding
    wide = [np.concatenate([each, np.full((len(each), 2), -np.inf)], axis=1) for each in rows]
    plain = AutoregressiveReward(table(exact), 1.0, vocabulary).begin([(5,)], [(1,)])
    for model, base in ((TableModel(wide, padded), vocabulary), (table(exact), padded)):
        state = AutoregressiveReward(model, 1.0, base).begin([(5,)], [(1,)])
        assert state.look_ahead(NONE_LEFT)[:, :6] == pytest.approx(plain.look_ahead(NONE_LEFT), abs=1e-12)


# ---------------------------------------------------------------------------------------------------------- value heads
@dataclass(eq=False)
class HiddenTable(TableSession):
    def last_hidden(self) -> FloatArray:
        return np.array([[1.0, len(p), p.count(1), p[-1] if p else -1.0] for p in self.prefixes])


@dataclass(eq=False)
class Hidden(TableModel):
    """Its hidden state: one, the length, how many tokens 1, the last token."""

    def session(self, prompts: Sequence[tuple[int, ...]], *, hidden: bool = False) -> HiddenTable:
        return HiddenTable(self, [prompt[1:] for prompt in prompts])


def test_heads_are_read_from_files(exact: Exact, tmp_path: Path) -> None:
    model = Hidden(base_rows(exact.tiny), exact.tiny.vocabulary)
    weight = np.arange(24, dtype=np.float32).reshape(6, 4) / 10
    save_file({"weight": weight, "bias": np.ones(6, dtype=np.float32)}, str(tmp_path / "all.safetensors"))
    state = load_value_head(tmp_path / "all.safetensors", model).begin([(5,)], [(1, 3)])
    assert state.look_ahead(NONE_LEFT)[0] == pytest.approx(weight @ [1, 2, 1, 3] + 1, abs=1e-6)
    save_file({"weight": weight[:1], "bias": np.ones(1, dtype=np.float16)}, str(tmp_path / "one.safetensors"))
    state = load_value_head(tmp_path / "one.safetensors", model).begin([(5,)], [(1, 3)])
    assert state.value(NONE_LEFT + 1)[0] == pytest.approx(weight[0] @ [1, 2, 1, 3] + 1, abs=1e-6)
    assert not state.look_ahead(NONE_LEFT).any()
    (tmp_path / "text").write_text("no tensors")
    bad = {
        "names": {"weight": weight, "offset": np.ones(6)},
        "shape": {"weight": weight[:3], "bias": np.ones(3)},
        "bias": {"weight": weight, "bias": np.ones(5)},
        "nan": {"weight": weight * np.nan, "bias": np.ones(6)},
        "whole": {"weight": weight.astype(np.int64), "bias": np.ones(6)},
        "width": {"weight": weight[:, :3].copy(), "bias": np.ones(6)},
    }
    for name, tensors in bad.items():
        save_file(tensors, str(tmp_path / name))
    for name, said in {
        "text": "cannot be read",
        "missing": "cannot be read",
        "names": "must hold `weight` and `bias`, and holds `offset`, `weight`",
        "shape": r"needs \[6, H\]",
        "bias": r"needs \[6, H\]",
        "nan": "not finite",
        "whole": "floating-point",
        "width": "reads 3 numbers, and the hidden states of `table` have 4",
    }.items():
        with pytest.raises(ModelError, match=said):
            load_value_head(tmp_path / name, model).begin([(5,)], [()]).look_ahead(NONE_LEFT)


def test_a_head_forbids_nothing_however_large_its_values(exact: Exact) -> None:
    model = Hidden(base_rows(exact.tiny), exact.tiny.vocabulary)
    large = 1e6 * np.array([1.0, -1.0, 0.0, 1.0, -1.0, 1.0])
    state = ValueHead(model, np.zeros((6, 4)), large).begin([(5,)], [()])
    assert state.look_ahead(NONE_LEFT)[0] == pytest.approx(np.clip(large, -60, 60))
    state.advance(np.array([1]))
    assert state.value(NONE_LEFT)[0] == -60
    assert ValueHead(model, np.zeros((1, 4)), large[:1]).begin([(5,)], [()]).value(NONE_LEFT + 1)[0] == 60


def test_a_reward_model_is_paid_for_the_end_of_text_only(exact: Exact) -> None:
    """Not behind a response that a stop string ends, or the cap: there p0 has no factor for it either."""
    vocabulary = replace(exact.tiny.vocabulary, stops=("b1",))
    begun = [(), (0, 1), (0, 1, 2), (0, 0, 0, 0)]
    state = AutoregressiveReward(table(exact), 0.5, vocabulary, rewarding=4).begin([(5,)] * 4, begun)
    ends = [0.5 * base_rows(exact.tiny)[len(tokens)][place(tokens)][5] for tokens in begun[:2]]
    assert state.final() == pytest.approx([*ends, 0.0, 0.0], abs=1e-12)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the shared model stories260K is not there")
def test_a_real_model_tells_its_hidden_states() -> None:
    """A head with the weights of the output layer gives the logits, whose normalised form are the laws."""
    model = load_model(STORIES)
    weight = model._network.get_output_embeddings().weight.detach().numpy().astype(np.float64)
    # scaled down, for values are held within ±60
    head = ValueHead(model, 0.25 * weight, np.zeros(len(weight)))
    prompts = [model.encode_chat([{"role": "user", "content": text}]) for text in ("Once", "The big dog ran")]
    state, session = head.begin(prompts, [(), ()]), model.session(prompts)
    regular = model.vocabulary.regular
    for step in range(4):
        logits = 4 * state.look_ahead(NONE_LEFT)[:, regular]
        laws = session.log_probs()[:, regular]
        assert logits - laws == pytest.approx(np.broadcast_to((logits - laws)[:, :1], laws.shape), abs=1e-3)
        if step == 1:
            state.select(np.array([1, 0, 1]))
            session.select(np.array([1, 0, 1]))
        tokens = np.flatnonzero(regular)[[40 + step, 50, 60][: len(laws) if step != 1 else 3]]
        state.advance(tokens)
        session.advance(tokens)
    with pytest.raises(ModelError, match="without hidden states"):
        model.session(prompts).last_hidden()
