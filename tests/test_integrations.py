"""The law in the loops of others: a transformers processor and generation on the shipped model, vLLM's contract.

Laws are compared number by number with the engine of the decoders. What is sampled has a fixed seed.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import numpy as np
import pytest

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.decoders.engine import factors_of
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, RegulatedSample, log_mean
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir, proposal_log_prob
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.enforcement import decode_tasks, plan_prompts
from bylaw.runtime.integrations.prefixes import PrefixLaw
from bylaw.runtime.integrations.vllm_processor import LawLogitsProcessor, Laws
from bylaw.runtime.integrations.weigh import weigh
from bylaw.runtime.models import Vocabulary, load_model, sample_base
from bylaw.runtime.models.interface import FloatArray, ModelError
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from bylaw.runtime.integrations.transformers_generate import LawGeneration, with_responses  # noqa: E402
from bylaw.runtime.integrations.transformers_processor import LawChanged, LawProcessor, changed_law  # noqa: E402
from bylaw.runtime.models.loaded import from_loaded  # noqa: E402

CAP = 20
POLICY = """policy larkmoor.short version "1"
levels root > user
rule no_thanks at root { must not contain "Thank" or contain "Sorry" }
rule says_your at root { must contain "your" }
rule no_label at user { should not contain "order" weight 1 }
rule long at user { when prompt contains "lamp" prefer higher number of words in response weight 0.1 }
"""
PROMPTS = ("Hello, my kettle is broken.", "Dear Larkmoor team, my order 29086 with the green lamp has not come.")


@dataclass(frozen=True)
class World:
    network: Any
    tokenizer: Any
    model: Any
    tasks: list[DecodeTask]
    inputs: dict[str, Any]

    @property
    def width(self) -> int:
        return int(self.inputs["input_ids"].shape[1])

    def processor(self, **more: Any) -> LawProcessor:
        return LawProcessor(self.model, self.tasks, prompt_width=self.width, max_tokens=CAP, **more)

    def responses(self, sequences: Any) -> list[tuple[int, ...]]:
        """The tokens of each row, up to the end."""
        end = self.network.generation_config.eos_token_id
        rows = sequences[:, self.width :].tolist()
        return [tuple(row[: row.index(end)] if end in row else row) for row in rows]


@pytest.fixture(scope="module")
def world() -> World:
    path = default_model_path()
    network = transformers.AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), padding_side="left")
    model = from_loaded(network, tokenizer, digest="0" * 64)
    found = compile_source(Source.of("short.bylaw", POLICY))
    assert found.ok, [diagnostic.message for diagnostic in found.diagnostics]
    traces = [Trace((Message("user", text),), {}, f"p{number}") for number, text in enumerate(PROMPTS)]
    plans = plan_prompts(found.require(), traces, model, CAP)
    base = sample_base(model, [plan.tokens for plan in plans], 32, CAP, seed=3)
    tasks = decode_tasks(plans, base, model, {}, CAP)
    width = max(len(plan.tokens) for plan in plans)
    ids = torch.full((2, width), tokenizer.pad_token_id)
    mask = torch.zeros((2, width), dtype=torch.long)
    for row, plan in enumerate(plans):
        ids[row, width - len(plan.tokens) :] = torch.tensor(plan.tokens)
        mask[row, width - len(plan.tokens) :] = 1
    assert int(mask.min()) == 0  # one prompt is padded
    assert tasks[0].law is not tasks[1].law
    return World(network, tokenizer, model, tasks, {"input_ids": ids, "attention_mask": mask})


def test_the_package_loads_no_library() -> None:
    probe = (
        "import sys, bylaw.runtime.integrations, bylaw.runtime.integrations.prefixes\n"
        "import bylaw.runtime.integrations.vllm_processor, bylaw.runtime.decode_report\n"
        "print([name for name in ('torch', 'transformers', 'vllm', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"


def is_legal(text: str) -> bool:
    return ("Thank" not in text or "Sorry" in text) and "your" in text


# ----------------------------------------------------------------------------------------------- transformers processor
@pytest.fixture(scope="module")
def drawn(world: World) -> tuple[LawProcessor, Any]:
    """200 responses, 100 to each prompt."""
    torch.manual_seed(5)
    processor = world.processor()
    sequences = world.network.generate(
        **world.inputs, logits_processor=[processor], num_return_sequences=100, **processor.sampling
    )
    return processor, sequences


def test_no_response_breaks_a_hard_rule(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    responses = world.responses(drawn[1])
    assert len(responses) == 200
    texts = [world.model.vocabulary.text(tokens) for tokens in responses]
    assert all(map(is_legal, texts))
    torch.manual_seed(5)
    plain = world.network.generate(
        **world.inputs, num_return_sequences=100, do_sample=True, top_k=0, max_new_tokens=CAP
    )
    free = [world.model.vocabulary.text(tokens, errors="replace") for tokens in world.responses(plain)]
    assert sum(map(is_legal, free)) < 150  # the rules are not kept by themselves


def test_weights_are_those_of_the_engine(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    """Up to the rounding of a network of 32 bits in other batches, summed over 20 tokens."""
    processor, sequences = drawn
    samples = processor.weights(sequences)
    responses = world.responses(sequences)
    for number, task in enumerate(world.tasks):
        own = slice(100 * number, 100 * (number + 1), 2)
        exact = proposal_log_prob(world.model, [task.prompt] * 50, responses[own], task.law, task.twists, CAP)
        forced = weigh(world.model, task, responses[own], CAP)
        for sample, log_q, other in zip(samples[own], exact, forced, strict=True):
            assert sample is not None
            assert other is not None
            assert sample.log_q == pytest.approx(log_q, abs=1e-4)
            assert sample.log_p0 == pytest.approx(other.log_p0, abs=1e-4)
            assert sample.log_reward == pytest.approx(task.law.log_reward(sample.text), abs=1e-9)
            assert (sample.tokens, sample.log_reward) == (other.tokens, pytest.approx(other.log_reward))


def test_the_weights_estimate_the_same_normaliser(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    """Within 4 standard errors of the difference to the decoder's own estimate (6e-5 for a normal mean)."""
    samples = drawn[0].weights(drawn[1])
    for number, task in enumerate(world.tasks):
        mine = np.exp([s.log_weight for s in samples[100 * number : 100 * (number + 1)] if s is not None])
        result = Sir(100).decode(world.model, [task], max_tokens=CAP, seed=9)[0]
        theirs = np.exp([s.log_weight for s in result.samples])
        theirs = np.concatenate([theirs, np.zeros(result.particles - len(theirs))])
        error = np.hypot(mine.std() / 10, theirs.std() / 10)
        assert abs(mine.mean() - theirs.mean()) < 4 * error
        assert result.log_z_estimate == pytest.approx(log_mean([s.log_weight for s in result.samples], 100))


def engine_law(world: World, task: DecodeTask, tokens: tuple[int, ...], *, masked: bool = False) -> FloatArray:
    """[V] log of the engine's own proposal behind a beginning."""
    factors = factors_of(task, world.model.vocabulary)
    frontier = Frontier(world.model, factors, [task.prompt], CAP, begun=[tokens], masked=masked)
    look = frontier.look()
    return np.asarray(look.scores[0] - look.total[0])


def processed(world: World, processor: LawProcessor, rows: Sequence[tuple[int, tuple[int, ...]]]) -> FloatArray:
    """[N, V] log probabilities behind (prompt, response) rows of one length, by the processor and its network."""
    ids = torch.tensor([[*world.inputs["input_ids"][prompt].tolist(), *tokens] for prompt, tokens in rows])
    masks = [[*world.inputs["attention_mask"][p].tolist(), *[1] * len(tokens)] for p, tokens in rows]
    mask = torch.tensor(masks)
    with torch.no_grad():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = world.network(input_ids=ids, attention_mask=mask, position_ids=positions).logits[:, -1]
    return np.asarray(torch.log_softmax(processor(ids, logits).double(), dim=-1).numpy())


@pytest.mark.parametrize("mode", ["twist", "mask"])
def test_each_step_is_the_law_of_the_engine(world: World, drawn: tuple[LawProcessor, Any], mode: str) -> None:
    responses = world.responses(drawn[1])
    long = [next(r for r in responses[100 * n : 100 * n + 100] if len(r) > 12) for n in (0, 1)]
    processor = world.processor(mode=mode)
    for size in (0, 1, 2, 9, 12):  # from 2 to 9 nothing is remembered, so the way is walked again
        found = processed(world, processor, [(n, long[n][:size]) for n in (0, 1)])
        for number, task in enumerate(world.tasks):
            exact = engine_law(world, task, long[number][:size], masked=mode == "mask")
            assert np.array_equal(np.isfinite(found[number]), np.isfinite(exact))
            at = np.isfinite(exact)
            # 1e-6 in probability; a network of 32 bits has logits of about 1e-6 times their size
            assert np.abs(np.exp(found[number][at]) - np.exp(exact[at])).max() < 1e-6
            assert np.abs(found[number][at] - exact[at]).max() < 1e-4


@pytest.mark.parametrize("mode", ["twist", "mask"])
def test_from_the_same_logits_the_same_law_comes(world: World, drawn: tuple[LawProcessor, Any], mode: str) -> None:
    """As above without the rounding of the network: the processor gets the engine's own law of the model."""
    tokens = next(r for r in world.responses(drawn[1])[:100] if len(r) > 12)
    processor = world.processor(mode=mode)
    for size in (0, 3, 12):
        base = Frontier(world.model, (), [world.tasks[0].prompt], CAP, begun=[tokens[:size]]).look().law
        ids = torch.tensor([[*world.inputs["input_ids"][0].tolist(), *tokens[:size]]] * 2)
        found = torch.log_softmax(processor(ids, torch.from_numpy(np.vstack([base, base]))), dim=-1).numpy()[0]
        exact = engine_law(world, world.tasks[0], tokens[:size], masked=mode == "mask")
        finite = np.isfinite(exact)
        assert np.array_equal(finite, np.isfinite(found))
        assert np.abs(found[finite] - exact[finite]).max() < 1e-9


def test_rows_may_be_reordered_and_repeated(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    own = [r for r in world.responses(drawn[1])[:100] if len(r) > 6][:3]
    other = [r for r in world.responses(drawn[1])[100:] if len(r) > 6][:3]
    processor = world.processor()
    rows = [(0, own[0]), (0, own[1]), (0, own[2]), (1, other[0]), (1, other[1]), (1, other[2])]
    processed(world, processor, [(n, tokens[:4]) for n, tokens in rows])
    moved = [rows[i] for i in (2, 0, 0, 5, 3, 4)]
    found = processed(world, processor, [(n, tokens[:5]) for n, tokens in moved])
    for at, (number, tokens) in enumerate(moved):
        exact = engine_law(world, world.tasks[number], tokens[:5])
        finite = np.isfinite(exact)
        assert np.abs(found[at][finite] - exact[finite]).max() < 1e-4
    assert np.array_equal(found[1], found[2])


def test_a_temperature_is_part_of_the_law(world: World) -> None:
    cool = from_loaded(world.network, world.tokenizer, temperature=0.5, digest="0" * 64)
    processor = LawProcessor(cool, world.tasks, prompt_width=world.width, max_tokens=CAP)
    torch.manual_seed(1)
    sequences = world.network.generate(
        **world.inputs, logits_processor=[processor], num_return_sequences=4, **processor.sampling
    )
    base = Frontier(cool, (), [world.tasks[0].prompt], CAP).look().law
    frontier = Frontier(cool, factors_of(world.tasks[0], cool.vocabulary), [world.tasks[0].prompt], CAP)
    exact = frontier.look().scores[0] - frontier.look().total[0]
    fresh = LawProcessor(cool, world.tasks[:1], prompt_width=world.width, max_tokens=CAP)
    given = fresh(world.inputs["input_ids"][:1], torch.from_numpy(0.5 * base))
    found = torch.log_softmax(given / 0.5, dim=-1).numpy()[0]  # as `generate` divides behind the processor
    assert np.abs(found[np.isfinite(exact)] - exact[np.isfinite(exact)]).max() < 1e-9
    samples = processor.weights(sequences)
    for number, task in enumerate(world.tasks):
        forced = weigh(cool, task, [s.tokens for s in samples[4 * number : 4 * number + 4] if s], CAP)
        for sample, other in zip(samples[4 * number : 4 * number + 4], forced, strict=True):
            assert sample is not None
            assert other is not None
            assert (sample.log_q, sample.log_p0) == pytest.approx((other.log_q, other.log_p0), abs=1e-4)


def test_samplers_that_change_the_law_are_told_of(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    config = transformers.GenerationConfig(do_sample=True, temperature=0.7, top_k=50, top_p=0.9, num_beams=1)
    with pytest.warns(LawChanged, match="`temperature` is 0.7.*`top_p` is 0.9; `top_k` is 50"):
        processor = world.processor(generation_config=config)
    assert len(processor.remarks) == 3
    with pytest.raises(DecodeError, match=r"no exact weights: `temperature` is 0\.7"):
        processor.weights(drawn[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert world.processor(generation_config=world.network.generation_config).remarks == ()
    greedy = transformers.GenerationConfig(do_sample=False)
    assert any("`do_sample` is off" in each for each in changed_law(greedy, 1.0))
    assert changed_law(transformers.GenerationConfig(do_sample=True, num_beams=3, top_k=0), 1.0)


def test_complete_rows_may_only_end(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    """Loops may ask once more before they notice that all rows are over; that forgets nothing."""
    processor, sequences = drawn
    assert sequences.shape[1] == world.width + CAP  # some rows were cut at the cap
    before = processor.weights(sequences)
    asked = processor(sequences, torch.zeros((len(sequences), len(world.model.vocabulary))))
    assert torch.isfinite(asked).nonzero()[:, 1].unique().tolist() == world.model.vocabulary.end_ids.tolist()
    assert processor.weights(sequences) == before


def test_rows_of_somebody_else_have_no_weights(world: World, drawn: tuple[LawProcessor, Any]) -> None:
    processor, sequences = drawn
    swapped = sequences.clone()
    swapped[0, world.width :], swapped[150, world.width :] = sequences[150, world.width :], sequences[0, world.width :]
    with pytest.raises(DecodeError, match="row 0 was not proposed by this processor"):
        processor.weights(swapped)
    with pytest.raises(DecodeError, match="row 0 ends neither with the end of text nor after 20 tokens"):
        processor.weights(sequences[:, : world.width + 1])
    with pytest.raises(DecodeError, match="3 rows cannot belong to 2 prompts"):
        processor.weights(sequences[:3])
    with pytest.raises(DecodeError, match="prompts of 1 tokens came where"):
        processor(sequences[:2, :1], torch.zeros((2, len(world.model.vocabulary))))


def test_tasks_that_do_not_fit_are_refused(world: World) -> None:
    with pytest.raises(DecodeError, match="look 20 tokens ahead, and responses may have 21"):
        LawProcessor(world.model, world.tasks, prompt_width=world.width, max_tokens=21)
    with pytest.raises(DecodeError, match="another vocabulary"):
        PrefixLaw(world.tasks[0], Vocabulary((b"a", None), frozenset({1})), CAP)
    with pytest.raises(DecodeError, match="`twist` or `mask`, not `hard`"):
        world.processor(mode="hard")
    learned = replace(world.tasks[0], look_ahead=(Learned(),))
    with pytest.raises(DecodeError, match="looks ahead with `learned`"):
        PrefixLaw(learned, world.model.vocabulary, CAP)
    with pytest.raises(DecodeError, match="one prompt at least"):
        LawProcessor(world.model, [], prompt_width=3, max_tokens=CAP)
    law = PrefixLaw(world.tasks[0], world.model.vocabulary, CAP)
    with pytest.raises(DecodeError, match="beyond the 20 tokens"):
        law.log_factors([(5,) * 20])
    with pytest.raises(DecodeError, match="special token"):
        law.log_factors([(0,)])


class Learned:
    name = "learned"

    def begin(self, prompts: Any, begun: Any) -> Any:
        raise AssertionError("it must not be asked")


# ---------------------------------------------------------------------------------------------------- custom_generate
def generate(world: World, law: LawGeneration, **more: Any) -> Any:
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": CAP, **more}
    return world.network.generate(**world.inputs, custom_generate=law, **options)


def test_generate_with_a_decoder_of_ours(world: World) -> None:
    law = LawGeneration(world.network, world.tokenizer, Sir(12, 1), world.tasks, seed=4, model=world.model)
    sequences = generate(world, law, num_return_sequences=3)
    assert torch.equal(sequences[:, : world.width], world.inputs["input_ids"].repeat_interleave(3, dim=0))
    direct = Sir(12, 3).decode(world.model, world.tasks, max_tokens=CAP, seed=4)
    expected = [sample.tokens for result in direct for sample in result.responses]
    assert world.responses(sequences) == expected
    assert len(law.results) == 2
    assert law.results[0].ess == direct[0].ess
    end, padding = world.network.generation_config.eos_token_id, world.network.generation_config.pad_token_id
    for row, tokens in zip(sequences[:, world.width :].tolist(), expected, strict=True):
        assert row[len(tokens) :] == ([end] + [padding] * CAP)[: len(row) - len(tokens)]
        assert is_legal(world.model.vocabulary.text(tokens))
    whole = generate(world, law, return_dict_in_generate=True)
    assert type(whole).__name__ == "GenerateDecoderOnlyOutput"
    assert whole.sequences.shape[0] == 2


def test_torch_seeds_repeat_a_generation(world: World) -> None:
    law = LawGeneration(world.network, world.tokenizer, Mask(1), world.tasks, model=world.model)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(world.responses(generate(world, law)))
    assert found[0] == found[1] != found[2]


def test_generate_refuses_what_changes_the_law(world: World) -> None:
    law = LawGeneration(world.network, world.tokenizer, Sir(4, 1), world.tasks, model=world.model)
    for options, told in (
        ({"top_k": 50}, "`top_k` is 50"),
        ({"temperature": 0.7}, "`temperature` is 0.7"),
        ({"do_sample": False}, "`do_sample` is off"),
        ({"logits_processor": [world.processor()]}, "LawProcessor"),
    ):
        with pytest.raises(DecodeError, match=told):
            generate(world, law, **options)
    alone = LawGeneration(world.network, world.tokenizer, Sir(4, 1), world.tasks[:1], model=world.model)
    with pytest.raises(DecodeError, match="no task for the prompt of row 1"):
        generate(world, alone)
    with pytest.raises(DecodeError, match="padded on the right"):
        world.network.generate(
            input_ids=world.inputs["input_ids"], attention_mask=world.inputs["attention_mask"].flip(1),
            custom_generate=law, do_sample=True, top_k=0, max_new_tokens=CAP,
        )  # fmt: skip
    with pytest.raises(DecodeError, match="cannot be told how many"):
        with_responses(Odd(), 2)  # type: ignore[arg-type]


class Odd:
    name = "odd"
    biased = False


def test_too_few_responses_are_no_responses(world: World) -> None:
    class Unlucky(Sir):
        def decode(self, *arguments: Any, **options: Any) -> Any:
            return [replace(result, responses=()) for result in super().decode(*arguments, **options)]

    law = LawGeneration(world.network, world.tokenizer, Unlucky(4, 1), world.tasks, model=world.model)
    with pytest.raises(DecodeError, match="prompt 0: 0 of 1 responses were found with 4 proposals"):
        generate(world, law)


def test_a_loaded_network_is_the_model_of_its_files(world: World) -> None:
    model = load_model(default_model_path())
    mine = from_loaded(world.network, world.tokenizer)
    assert mine.vocabulary == model.vocabulary
    prompt = world.tasks[0].prompt
    assert np.allclose(mine.session([prompt]).log_probs(), model.session([prompt]).log_probs(), atol=1e-5)
    assert mine.digest == from_loaded(world.network, world.tokenizer).digest
    assert len(mine.digest) == 64
    world.network.train()
    try:
        with pytest.raises(ModelError, match="training mode"):
            from_loaded(world.network, world.tokenizer)
    finally:
        world.network.eval()
    with pytest.raises(ModelError, match="temperature"):
        from_loaded(world.network, world.tokenizer, temperature=0.0)


# ----------------------------------------------------------------------------------------------------------------- vLLM
class Direction(Enum):
    UNIDIRECTIONAL = auto()
    SWAP = auto()


@dataclass
class Params:
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: list[str] = field(default_factory=list)
    repetition_penalty: float = 1.0
    extra_args: dict[str, Any] | None = None


@dataclass(frozen=True)
class Update:
    batch_size: int
    removed: list[int]
    added: list[tuple[int, Params, list[int], list[int]]]
    moved: list[tuple[int, int, Direction]]


@dataclass
class Asked:
    name: int
    params: Params
    output: list[int]


class StandIn:
    """A batch of rows as vLLM keeps it: new requests fill holes, the last rows move into what stays empty, and now and
    then two rows change places. Tells a logits processor as its documentation says."""

    def __init__(self, processor: LawLogitsProcessor, vocabulary: Vocabulary, logits: FloatArray, seed: int) -> None:
        self.processor, self.vocabulary, self.logits = processor, vocabulary, logits
        self.random = np.random.default_rng(seed)
        self.rows: list[Asked] = []
        self.done: list[Asked] = []
        self.kinds: set[str] = set()
        self.seen: list[tuple[Asked, FloatArray]] = []

    def run(self, waiting: list[Asked], room: int) -> None:
        while waiting or self.rows:
            self.processor.update_state(self._change(waiting, room))
            if self.rows:
                self._step()

    def _change(self, waiting: list[Asked], room: int) -> Update | None:
        empty = [i for i, asked in enumerate(self.rows) if self._is_over(asked)]
        self.done += [self.rows[i] for i in empty]
        removed, added, moved = sorted(empty, reverse=True), [], []
        while waiting and (empty or len(self.rows) < room):
            asked = waiting.pop(0)
            at = empty.pop(0) if empty else len(self.rows)
            if at in removed:
                removed.remove(at)  # its place is taken at once
            self.rows[at : at + 1] = [asked]
            added.append((at, asked.params, [1], asked.output))
        while empty:
            at, last = empty[0], len(self.rows) - 1
            if last in empty:
                empty.remove(last)
            else:
                moved.append((last, at, Direction.UNIDIRECTIONAL))
                self.rows[at] = self.rows[last]
                empty.pop(0)
            self.rows.pop()
        if len(self.rows) > 1 and self.random.random() < 0.4:
            left, right = (int(i) for i in self.random.choice(len(self.rows), 2, replace=False))
            moved.append((left, right, Direction.SWAP))
            self.rows[left], self.rows[right] = self.rows[right], self.rows[left]
        for kind, found in (("removed", removed), ("added", added)):
            self.kinds |= {kind} if found else set()
        self.kinds |= {direction.name for _, _, direction in moved}
        return Update(len(self.rows), removed, added, moved) if removed or added or moved else None

    def _step(self) -> None:
        logits = torch.tensor(self.logits[self.random.integers(len(self.logits), size=len(self.rows))])
        before = logits.clone()
        found = self.processor.apply(logits)
        for row, asked in enumerate(self.rows):
            self.seen.append((replace(asked, output=list(asked.output)), (found[row] - before[row]).numpy()))
            law = torch.softmax(found[row].double() / asked.params.temperature, dim=-1).numpy()
            asked.output.append(int(self.random.choice(len(law), p=law / law.sum())))

    def _is_over(self, asked: Asked) -> bool:
        return asked.output[-1] in self.vocabulary.eos_ids or len(asked.output) == asked.params.max_tokens


def rules_for(world: World, temperature: float = 1.0) -> type[LawLogitsProcessor]:
    class Rules(LawLogitsProcessor):
        TEMPERATURE = temperature

        @classmethod
        def laws(cls, vllm_config: Any) -> Laws:
            return Laws(world.model.vocabulary, {"kettle": world.tasks[0], "lamp": world.tasks[1]})

    return Rules


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_rows_keep_their_law_wherever_they_are_moved(world: World, temperature: float) -> None:
    size = len(world.model.vocabulary)
    # logits under which text is likely to end and rules are likely to be met: what matters is the bookkeeping
    logits = np.random.default_rng(2).normal(size=(5, size)).astype(np.float32) * 2
    logits[:, int(world.model.vocabulary.end_ids[0])] += 4
    processor = rules_for(world, temperature)(None, "cpu", False)
    assert processor.is_argmax_invariant() is False
    engine = StandIn(processor, world.model.vocabulary, logits, 7)
    names = ["kettle", "lamp", None]
    waiting = []
    for number in range(24):
        name = names[number % 3]
        given = None if name is None else {"bylaw": name}
        waiting.append(Asked(number, Params(CAP - number % 4, temperature, extra_args=given), []))
    engine.run(waiting, room=6)
    assert engine.kinds == {"removed", "added", "UNIDIRECTIONAL", "SWAP"}
    assert sorted(asked.name for asked in engine.done) == list(range(24))
    laws: dict[tuple[int, int], PrefixLaw] = {}
    for asked, added in engine.seen:
        if asked.name % 3 == 2:
            assert not added.any()
            continue
        key = asked.name % 3, asked.params.max_tokens
        law = laws.setdefault(key, PrefixLaw(world.tasks[key[0]], world.model.vocabulary, key[1]))
        exact = law.log_factors([tuple(asked.output)])[0]
        finite = np.isfinite(exact)
        assert np.array_equal(finite, np.isfinite(added))
        assert np.abs(added[finite] - temperature * exact[finite]).max() < 1e-3
    for asked in engine.done:
        if asked.name % 3 != 2:
            tokens = [token for token in asked.output if token not in world.model.vocabulary.eos_ids]
            assert is_legal(world.model.vocabulary.text(tokens))


def test_requests_that_cannot_be_served(world: World) -> None:
    rules = rules_for(world)
    rules.validate_params(Params(CAP, 0.3, top_k=5))  # it names no law
    rules.validate_params(Params(CAP, extra_args={"bylaw": "lamp"}))
    for params, told in (
        (Params(CAP, 0.0, extra_args={"bylaw": "lamp"}), "temperature 1.0, not 0.0"),
        (Params(CAP, top_k=5, extra_args={"bylaw": "lamp"}), "`top_k` changes what is drawn"),
        (Params(CAP, stop=["."], extra_args={"bylaw": "lamp"}), "`stop` changes"),
        (Params(0, extra_args={"bylaw": "lamp"}), "needs max_tokens"),
        (Params(CAP, extra_args={"bylaw": 3}), "has to be the name of a law, not 3"),
    ):
        with pytest.raises(ValueError, match=told):
            rules.validate_params(params)
    processor = rules(None, "cpu", False)
    added = [(0, Params(CAP, extra_args={"bylaw": "radio"}), [1], [])]
    with pytest.raises(DecodeError, match="no law called `radio`; there are `kettle`, `lamp`"):
        processor.update_state(Update(1, [], added, []))  # type: ignore[arg-type]
    output: list[int] = []
    processor.update_state(Update(1, [], [(0, Params(CAP, extra_args={"bylaw": "lamp"}), [1], output)], []))
    output.append(-1)
    with pytest.raises(DecodeError, match="asynchronous scheduling"):
        processor.apply(torch.zeros((1, len(world.model.vocabulary))))
    processor.update_state(None)
    with pytest.raises(NotImplementedError, match="say in `laws`"):
        LawLogitsProcessor(None, "cpu", False)
    wide = torch.zeros((1, len(world.model.vocabulary) + 7))
    output.clear()
    assert bool(torch.isinf(processor.apply(wide)[0, -7:]).all())


def test_weighing_refuses_what_is_no_response(world: World) -> None:
    task = world.tasks[0]
    with pytest.raises(DecodeError, match="21 tokens is longer than 20"):
        weigh(world.model, task, [(5,) * 21], CAP)
    with pytest.raises(DecodeError, match="special token"):
        weigh(world.model, task, [(0,)], CAP)
    thank = world.tokenizer.encode("Thank you", add_special_tokens=False)
    found: list[RegulatedSample | None] = weigh(world.model, task, [tuple(thank)], CAP)
    assert found == [None]
