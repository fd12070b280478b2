"""The tree decoder against an enumerated law: its next draw in closed form, its weights, what it finds, what it costs.

Means are tested at 4 standard errors (a false alarm in 16,000 for each); seeds are fixed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from decoding_models import CAP, Exact, Tiny, counting, enumerated, hard, reward, twists_for
from prefix_models import ExactLookAhead, NextDraw, TableModel, base_rows, distance, shorter, table

from bylaw.compiler.automata.counts import add
from bylaw.compiler.automata.stops import cut
from bylaw.runtime.decoders._trie import Trie
from bylaw.runtime.decoders._trie_growth import Draw, Growing, by_mass
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, PromptLaw
from bylaw.runtime.decoders.sir import Sir, proposal_log_prob
from bylaw.runtime.decoders.tree import Mode, Tree
from bylaw.runtime.models import load_model, sample_base
from bylaw.runtime.models.interface import PARTICLE_STREAM, row_uniforms
from bylaw.runtime.models.metering import Limits
from tinymodels import TabularModel, enumerate_model


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


@pytest.fixture(scope="module")
def next_draw(exact: Exact) -> NextDraw:
    return NextDraw(table(exact), exact.task)


def grown(
    model: TableModel, task: DecodeTask, trie: Trie, first: int, count: int, together: int = 8, batch_size: int = 64
) -> list[Draw]:
    """What `count` more draws of a trie come to, the first of them being number `first`."""
    growing, found = Growing(model, [task], [trie], CAP, batch_size, greedy=False), []
    for begin in range(first, first + count, together):
        keys = [(0, number) for number in range(begin, begin + together)]
        uniforms = row_uniforms(0, PARTICLE_STREAM, keys, CAP)
        found += growing.round([Draw(0, key[1], row) for key, row in zip(keys, uniforms, strict=True)], by_mass)[0]
    return found


@pytest.mark.parametrize("kept", [256, 2])
def test_draws_have_the_law_of_the_trie_and_it_tends_to_the_target(
    exact: Exact, next_draw: NextDraw, kept: int
) -> None:
    model, trie, distances = table(exact), Trie(kept), []
    index = {tokens: at for at, tokens in enumerate(exact.responses)}
    done = 0
    for until in (8, 16, 64, 256):
        law = next_draw.law(trie)
        distances.append(distance(law, exact.target))
        # whatever is legal can be drawn, so that the weights of the next draw have the mean Z
        assert np.isfinite(law[exact.target > 0]).all()
        [*draws] = grown(model, exact.task, trie, done, 8)
        assert sum(draw.state == "finished" for draw in draws) > 4
        for draw in draws:
            if draw.state == "finished":
                assert draw.log_q == pytest.approx(law[index[draw.tokens]], abs=1e-9)
                assert draw.log_p0 == pytest.approx(exact.log_p0[index[draw.tokens]], abs=1e-9)
        grown(model, exact.task, trie, done + 8, until - done - 8)
        done = until
    distances.append(distance(next_draw.law(trie), exact.target))
    print("TV of the next draw to p* after 0, 8, 16, 64, 256 draws:", [f"{each:.3f}" for each in distances])
    assert distances[0] == pytest.approx(distance(exact.log_q(), exact.target), abs=1e-9)
    assert distances[0] > 0.35
    assert distances[-1] < 0.5 * distances[0]
    # every beginning was evaluated once, whatever draws it was needed by; again only for what was not kept
    assert len(set(model.asked)) == len(trie.nodes)
    again = len(model.asked) - len(trie.nodes)
    print(f"{len(trie.nodes)} beginnings, {again} evaluated again, with {kept} tokens kept at each")
    assert again == 0 if kept == 256 else again < 0.3 * len(trie.nodes)


def test_z_is_unbiased_and_steadier_than_without_a_tree(exact: Exact) -> None:
    model, tasks = table(exact), [exact.task] * 80
    results = Tree(draws=64, batch_size=4096).decode(model, tasks, max_tokens=CAP, seed=3)
    estimates = np.exp([result.log_z_estimate - exact.log_z for result in results])
    assert abs(estimates.mean() - 1) < 4 * estimates.std(ddof=1) / math.sqrt(len(estimates))
    static = Sir(64, batch_size=10_000).decode(model, tasks, max_tokens=CAP, seed=3)
    apart = np.exp([result.log_z_estimate - exact.log_z for result in static])
    # Sir shares the beginnings of one prompt as well, so that as many draws cost about as much
    passes = [
        np.mean(
            [each.decode(table(exact), [exact.task], max_tokens=CAP, seed=s)[0].diagnostics.passes for s in range(5)]
        )
        for each in (Tree(64), Sir(64))
    ]
    assert passes[0] < 1.15 * passes[1]
    print(f"passes for 64 draws: tree {passes[0]:.0f}, sir {passes[1]:.0f}")
    print(f"sd of Z estimates in units of Z: tree {estimates.std(ddof=1):.3f}, sir {apart.std(ddof=1):.3f}")
    assert estimates.std(ddof=1) < apart.std(ddof=1)
    assert not any(result.biased for result in results)


def test_distinct_responses_differ_and_their_weights_have_the_mean_z(exact: Exact) -> None:
    results = Tree(32, mode="distinct", batch_size=4096).decode(table(exact), [exact.task] * 80, max_tokens=CAP, seed=5)
    for result in results:
        texts = [sample.text for sample in result.responses]
        assert len(set(texts)) == len(texts) == len(result.samples)
        assert (result.particles, result.biased) == (32, True)
    estimates = np.exp([result.log_z_estimate - exact.log_z for result in results])
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    assert abs(estimates.mean() - 1) < 4 * error < 0.2
    # weighted averages over distinct responses: the mean reward under p*
    legal = np.isfinite(exact.log_reward)
    weights = [np.exp([s.log_weight for s in result.samples]) / result.particles for result in results]
    sums = np.array([w @ [s.log_reward for s in r.samples] for w, r in zip(weights, results, strict=True)])
    wanted = math.exp(exact.log_z) * float(exact.target[legal] @ exact.log_reward[legal])
    assert abs(sums.mean() - wanted) < 4 * sums.std(ddof=1) / math.sqrt(len(sums))


def test_weights_without_replacement_are_those_of_the_definition() -> None:
    """q_k is the chance of draw k given that it differs from all before it, and log Ẑ the log mean of the Z_k."""
    task, model, cap = without_dead_ends()
    decoder = Tree(6, mode="distinct", together=6)
    [result] = decoder.decode(model, [task], max_tokens=cap, seed=1)
    [alone] = Sir(6).decode(model, [task], max_tokens=cap, seed=1)  # the first round, as independent draws
    assert [sample.tokens for sample in result.samples] == [sample.tokens for sample in alone.samples]
    q = np.exp([sample.log_q for sample in alone.samples])
    left = 1 - np.concatenate([[0.0], np.cumsum(q)[:-1]])
    assert [sample.log_q for sample in result.samples] == pytest.approx(list(np.log(q / left)), abs=1e-9)
    [result] = replace(decoder, draws=9).decode(model, [task], max_tokens=cap, seed=1)
    mass = np.exp([sample.log_p0 + sample.log_reward for sample in result.samples])
    each = np.cumsum(mass) - mass + mass / np.exp([sample.log_q for sample in result.samples])
    assert len(mass) == 9
    assert result.log_z_estimate == pytest.approx(np.log(each.mean()), abs=1e-9)


def test_what_a_node_does_not_keep_is_drawn_by_its_law(exact: Exact, next_draw: NextDraw) -> None:
    """Evenly spread uniforms give each first token its share, to within two draws."""
    model, trie, count = table(exact), Trie(1), 1000
    grown(model, exact.task, trie, 0, 8)
    root, law = trie.nodes[0], np.exp(next_draw.scores[0][0] + trie.shift - trie.nodes[0].total)
    law[root.tokens] = np.exp(trie.masses(root)[:-1] - root.total)
    assert 0 < len(root.tokens) < 5
    uniforms = np.random.default_rng(0).random((count, CAP))
    uniforms[:, 0] = (np.arange(count) + 0.5) / count
    draws = [Draw(0, number, row) for number, row in enumerate(uniforms, 8)]
    done, _ = Growing(model, [exact.task], [trie], CAP, count, greedy=False).round(draws, by_mass)
    found = np.bincount([draw.tokens[0] if draw.tokens else 5 for draw in done], minlength=6)
    assert np.abs(found - count * law).max() <= 2


@pytest.mark.parametrize("kept", [256, 2])
def test_when_everything_was_drawn_z_is_exact(exact: Exact, kept: int) -> None:
    model = table(exact)
    responses, _, values = shorter(exact)
    [result] = Tree(2000, mode="distinct", together=100, kept=kept, batch_size=100).decode(
        model, [exact.task], max_tokens=CAP - 1, seed=1
    )
    assert {sample.tokens for sample in result.samples} == {
        tokens for tokens, value in zip(responses, values, strict=True) if value > -math.inf
    }
    assert result.log_z_estimate == pytest.approx(np.logaddexp.reduce(values), abs=1e-9)
    assert result.particles == len(result.samples) + result.dead_ends
    assert any("log Z is exact" in remark for remark in result.diagnostics.remarks)
    again = len(model.asked) - len(set(model.asked))
    assert (again == 0) == (kept == 256)  # what a node has forgotten must be asked for again


def without_dead_ends() -> tuple[DecodeTask, TableModel, int]:
    """One group, so that every path can be finished; with the cap on tokens."""
    tiny, cap = Tiny(TabularModel(seed=2, spread=0.5)), 5
    groups = (add([hard("1b1b"), counting("a", 0.7)]),)
    task = DecodeTask((5,), PromptLaw(groups), twists_for(tiny, groups, cap, []))
    return task, TableModel(base_rows(tiny), tiny.vocabulary), cap


def test_the_weights_are_z_once_everything_was_visited() -> None:
    task, model, cap = without_dead_ends()
    tiny = Tiny(TabularModel(seed=2, spread=0.5))
    responses, log_p0 = enumerate_model(tiny.model, cap)
    texts = [tiny.vocabulary.text(tokens) for tokens in responses]
    values = [p + 0.7 * text.count("a") for p, text in zip(log_p0, texts, strict=True) if "1b1b" in text]
    log_z = float(np.logaddexp.reduce(values))
    [result] = Tree(400).decode(model, [task], max_tokens=cap, seed=1)
    weights = [sample.log_weight for sample in result.samples]
    assert np.std(weights[:8]) > 0.1
    assert len({sample.tokens for sample in result.samples}) == len(values)
    assert weights[-1] == pytest.approx(log_z, abs=1e-9)


def test_learned_scales_are_found(exact: Exact) -> None:
    """A reward that no automaton expresses: the scale of what was not visited is learned from what was."""
    law = PromptLaw(exact.law.groups, lambda text: -4.0 - 0.3 * len(text))
    task = replace(exact.task, law=law)
    model, trie = table(exact), Trie(256)
    grown(model, task, trie, 0, 64)
    assert -6.0 < trie.shift < -4.0
    rewards = exact.log_reward + [law.beyond_groups(exact.tiny.vocabulary.text(tokens)) for tokens in exact.responses]
    log_z = float(np.logaddexp.reduce(exact.log_p0 + rewards))
    target = np.exp(exact.log_p0 + rewards - log_z)
    far = NextDraw(model, task)
    static, adapted = distance(far.law(Trie(256)), target), distance(far.law(trie), target)
    print(f"TV with a residual reward: {static:.3f} -> {adapted:.3f} after 64 draws")
    assert adapted < 0.75 * static
    # what a node does not keep is on the learned scale too, and what a batch learns is not for those of its round
    small = Trie(2)
    grown(model, task, small, 0, 64)
    assert abs(small.shift) > 1
    law_now, index = far.law(small), {tokens: at for at, tokens in enumerate(exact.responses)}
    finished = [draw for draw in grown(model, task, small, 64, 64, 64, batch_size=3) if draw.state == "finished"]
    assert [draw.log_q for draw in finished] == pytest.approx([law_now[index[draw.tokens]] for draw in finished])
    _, texts, values = shorter(exact)
    [every] = Tree(2000, mode="distinct", together=100).decode(model, [task], max_tokens=CAP - 1, seed=1)
    log_z = np.logaddexp.reduce(values + [law.beyond_groups(text) for text in texts])
    assert every.log_z_estimate == pytest.approx(log_z, abs=1e-9)


def test_rules_on_beginnings_cost_no_pass(exact: Exact) -> None:
    """No `b` before the first `1`, known only to a black box that is asked about beginnings."""

    def may(beginning: str) -> bool:
        return "b" not in beginning.split("1")[0]

    model = table(exact)
    task = replace(exact.task, law=PromptLaw(exact.law.groups, prefix_rule=may))
    [result] = Tree(2000, mode="distinct", together=100).decode(model, [task], max_tokens=CAP - 1, seed=1)
    _, texts, values = shorter(exact)
    log_z = np.logaddexp.reduce([value for value, text in zip(values, texts, strict=True) if may(text)])
    assert result.log_z_estimate == pytest.approx(log_z, abs=1e-9)
    assert all(may(exact.tiny.vocabulary.text(tokens)) for tokens in model.asked)


@pytest.mark.parametrize("spelling", [(b"\xc3", b"\xa9", b"\xa8", b"x", b"\xa9\xc3"), (b"a", b"b", b"1", b" ", b".")])
def test_split_characters_and_stop_strings(spelling: tuple[bytes, ...]) -> None:
    stops = ("b1",) if b"b" in spelling else ()
    tiny = Tiny(TabularModel(seed=6), spelling)
    vocabulary = replace(tiny.vocabulary, stops=stops)
    model = TableModel(base_rows(tiny), vocabulary)
    [result] = Tree(2000, mode="distinct", together=100, batch_size=100, kept=5).decode(
        model, [DecodeTask((5,), PromptLaw((), lambda text: 0.1 * len(text)), ())], max_tokens=4, seed=1
    )
    # by definition: every response is read to its first stop string or end
    total: dict[tuple[int, ...], float] = {}
    responses, log_p0 = enumerate_model(tiny.model, 4)
    for tokens, value in zip(responses, log_p0, strict=True):
        over = next((at for at in range(1, len(tokens) + 1) if vocabulary.stopped(tokens[:at])), len(tokens))
        total[tokens[:over]] = float(np.logaddexp(total.get(tokens[:over], -np.inf), value))
    wanted = {}
    for tokens, value in total.items():
        try:
            wanted[tokens] = value + 0.1 * len(cut(vocabulary.data(tokens).decode(), stops)[0])
        except UnicodeDecodeError:
            continue
    assert {sample.tokens for sample in result.samples} == set(wanted)
    assert result.log_z_estimate == pytest.approx(np.logaddexp.reduce(list(wanted.values())), abs=1e-9)
    assert all(
        sample.log_p0 + sample.log_reward == pytest.approx(wanted[sample.tokens], abs=1e-9) for sample in result.samples
    )


# --------------------------------------------------------------------------------------------------- greedy and search
@pytest.mark.parametrize("mode", ["greedy", "search"])
def test_biased_modes_say_so_and_bound_z_from_below(exact: Exact, mode: Mode) -> None:
    decoder = Tree(60, responses=3, mode=mode, exploration=0.5)
    [result] = decoder.decode(table(exact), [exact.task], max_tokens=CAP, seed=1)
    assert (decoder.biased, result.biased) == (True, True)
    values = [sample.log_p0 + sample.log_reward for sample in result.samples]
    assert values == sorted(values, reverse=True)
    assert [s.log_p0 + s.log_reward for s in result.responses] == values[:3]
    assert all(reward(sample.text) == pytest.approx(sample.log_reward) for sample in result.samples)
    assert result.log_z_estimate == pytest.approx(np.logaddexp.reduce(values), abs=1e-9)
    assert result.log_z_estimate < exact.log_z
    assert any("lower bound" in remark for remark in result.diagnostics.remarks)
    best = float(np.max(exact.log_p0 + exact.log_reward))
    # p* is flat here: the best response has 0.056 of its mass
    assert values[0] > best - 0.7


def test_greedy_without_exploration_ends_where_it_repeats(exact: Exact) -> None:
    model = table(exact)
    [result] = Tree(50, mode="greedy").decode(model, [exact.task], max_tokens=CAP, seed=1)
    assert 1 <= result.particles < 50
    assert len(result.responses) == 1
    assert Tree(50, mode="greedy").decode(model, [exact.task], max_tokens=CAP, seed=2)[0] == result  # no chance in it


def best_of(exact: Exact, count: int) -> list[tuple[int, ...]]:
    order = np.argsort(-(exact.log_p0 + exact.log_reward), kind="stable")[:count]
    return [exact.responses[int(at)] for at in order]


@pytest.mark.parametrize("count", [1, 5, 20])
def test_search_with_the_exact_value_expands_only_what_leads_to_the_best(exact: Exact, count: int) -> None:
    """The value of a beginning is the best response that it can become; everything else is never evaluated."""
    wanted = best_of(exact, count)
    prefixes = {tokens[:size] for tokens in wanted for size in range(min(len(tokens) + 1, CAP))}
    law = PromptLaw((), lambda text: reward(text))
    task = DecodeTask((5,), law, (), (ExactLookAhead.of(exact, np.max),))
    model = table(exact)
    decoder = Tree(1000, responses=count, mode="search", together=1)
    [result] = decoder.decode(model, [task], max_tokens=CAP, seed=0)
    assert [sample.tokens for sample in result.responses] == wanted
    assert len(model.asked) <= len(prefixes)
    # with log of the summed mass, which is not below it, the same responses are found, for more evaluations
    soft = table(exact)
    summed = replace(task, look_ahead=(ExactLookAhead.of(exact),))
    [result] = decoder.decode(soft, [summed], max_tokens=CAP, seed=0)
    assert [sample.tokens for sample in result.responses] == wanted
    print(f"the best {count}: {len(model.asked)} evaluations by the largest mass, {len(soft.asked)} by the summed mass")
    assert len(soft.asked) < 400  # of 3,906 beginnings
    assert "no other response is better" in " ".join(result.diagnostics.remarks)


@pytest.mark.parametrize("options", [{"entropy": 0.1, "exploration": 0.5}, {"kept": 1}, {"together": 8}])
def test_search_keeps_its_budget_and_finds_the_best(exact: Exact, options: dict[str, float]) -> None:
    model = table(exact)
    task = DecodeTask((5,), PromptLaw((), lambda text: reward(text)), (), (ExactLookAhead.of(exact),))
    decoder = Tree(400, responses=5, mode="search", **options)  # type: ignore[arg-type]
    [result] = decoder.decode(model, [task], max_tokens=CAP, seed=0)
    assert [sample.tokens for sample in result.responses] == best_of(exact, 5)
    short = table(exact)
    [result] = replace(decoder, draws=12).decode(short, [task], max_tokens=CAP, seed=0)
    assert len(short.asked) <= 12
    assert "no other response" not in " ".join(result.diagnostics.remarks)


# ------------------------------------------------------------------------------------------------- limits and batches
def test_equal_arguments_give_equal_results_whatever_the_batches(exact: Exact) -> None:
    tasks = [exact.task] * 3
    decoder = Tree(24, responses=4)
    one = decoder.decode(table(exact), tasks, max_tokens=CAP, seed=1)
    assert one == decoder.decode(table(exact), tasks, max_tokens=CAP, seed=1)
    assert one != decoder.decode(table(exact), tasks, max_tokens=CAP, seed=2)
    assert one[0].samples != one[1].samples
    full = table(exact, room=3)
    halved = decoder.decode(full, tasks, max_tokens=CAP, seed=1)
    assert [result.samples for result in halved] == [result.samples for result in one]
    other = replace(decoder, batch_size=5).decode(table(exact), tasks, max_tokens=CAP, seed=1)
    assert [result.responses for result in other] == [result.responses for result in one]
    for mode in ("distinct", "greedy", "search"):
        again = replace(decoder, mode=mode, exploration=0.3)
        whole = again.decode(table(exact), tasks, max_tokens=CAP, seed=1)
        halved = again.decode(table(exact, room=2), tasks, max_tokens=CAP, seed=1)
        assert [result.samples for result in halved] == [result.samples for result in whole]


@pytest.mark.parametrize("mode", ["sampling", "distinct", "greedy", "search"])
def test_limits_return_what_was_found(exact: Exact, mode: Mode) -> None:
    model = table(exact)
    decoder = Tree(200, responses=2, mode=mode, exploration=0.3)
    [result] = decoder.decode(model, [exact.task], max_tokens=CAP, seed=1, limits=Limits(passes=20))
    assert len(model.asked) <= 20
    assert result.diagnostics.passes <= 20
    assert result.diagnostics.stopped == "passes"
    assert result.samples
    assert all(np.isfinite(reward(sample.text)) for sample in result.samples)
    assert result.particles < 200
    [nothing] = decoder.decode(model, [exact.task], max_tokens=CAP, seed=1, limits=Limits(passes=0))
    assert nothing.samples == ()
    assert nothing.responses == ()
    assert nothing.diagnostics.stopped == "passes"
    if mode != "greedy" and mode != "search":
        assert nothing.diagnostics.unfinished == nothing.particles == 8


def test_a_first_round_is_the_static_proposal(exact: Exact) -> None:
    told: list[tuple[int, str]] = []
    [result] = Tree(64, 2, together=64, kept=1).decode(
        table(exact), [exact.task], max_tokens=CAP, seed=4, watch=lambda task, text: told.append((task, text))
    )
    tokens = [sample.tokens for sample in result.samples]
    forced = proposal_log_prob(exact.tiny, [(5,)] * len(tokens), tokens, exact.law, exact.twists, CAP)
    assert [sample.log_q for sample in result.samples] == pytest.approx(forced, abs=1e-9)
    assert told == [(0, result.responses[0].text)]


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        (Tree(0), "`draws`"),
        (Tree(together=0), "`together`"),
        (Tree(kept=0), "`kept`"),
        (Tree(mode="dts"), "no mode `dts`"),  # type: ignore[arg-type]
        (Tree(exploration=-1.0), "exploration"),
        (Tree(entropy=math.nan), "entropy"),
    ],
)
def test_impossible_options_are_refused(exact: Exact, decoder: Tree, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        decoder.decode(table(exact), [exact.task], max_tokens=CAP, seed=0)


def test_memory_of_a_node_does_not_grow_with_the_vocabulary() -> None:
    size, rows = 30_000, np.random.default_rng(0).normal(size=(2, 30_000))
    rows -= np.logaddexp.reduce(rows, axis=1, keepdims=True)
    trie = Trie(256)
    trie.put(-1, -1, 0.0, 0.0, rows[0], rows[0] + 0.5, [size - 1])
    node = trie.nodes[0]
    assert len(node.tokens) in (256, 257)
    assert trie.bytes < 8192
    assert node.total == pytest.approx(0.5, abs=1e-9)  # the tail counts
    assert np.logaddexp.reduce(trie.masses(node)) == pytest.approx(0.5, abs=1e-9)


STORIES = Path(__file__).parents[1].parent / "shared" / "data" / "models" / "stories260K"


@pytest.mark.skipif(not STORIES.is_dir(), reason="the shared model stories260K is not there")
@pytest.mark.parametrize("mode", ["sampling", "distinct", "search"])
def test_a_real_model_grows_a_tree(mode: Mode) -> None:
    model = load_model(STORIES)
    prompt = model.encode_chat([{"role": "user", "content": "Once upon a time,"}])
    group = hard("dog")
    samples = sample_base(model, [prompt], 64, 20, seed=1)[0]
    task = DecodeTask(prompt, PromptLaw((group,)), twists_for(model, [group], 20, samples))
    [result] = Tree(80 if mode == "search" else 24, mode=mode, kept=40).decode(model, [task], max_tokens=20, seed=2)
    assert len(result.samples) >= (1 if mode == "search" else 20)
    assert all("dog" in sample.text for sample in result.samples)
    assert (result.dead, result.diagnostics.stopped) == (0, None)
    tokens = [sample.tokens for sample in result.samples]
    log_p0 = proposal_log_prob(model, [prompt] * len(tokens), tokens, PromptLaw(()), (), 20)
    # branches are prefilled and grown in other batches than these: rounding of float32, summed over twenty tokens
    assert [sample.log_p0 for sample in result.samples] == pytest.approx(log_p0, abs=1e-2)
