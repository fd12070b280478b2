"""`bylaw compare shift` and `order`: what models do token by token, and what the order of rules does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.compare_shared import (
    format_option,
    plot_option,
    print_answer,
    require_picture,
    seed_option,
    unusable,
    write_picture,
)
from bylaw.runtime.cli.paths import SUFFIXES, PolicyPath
from bylaw.runtime.cli.sampling import Bars, ModelChoice, Temperature
from bylaw.runtime.cli.shared import LEFT_OUT, compile_or_exit

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardTerm
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.audit.shift import CrossSample
    from bylaw.runtime.models.interface import LanguageModel
    from bylaw.runtime.report.compare_model_tables import CrossPoint
    from bylaw.runtime.report.price_page import Section
    from bylaw.spec.trace import Trace

DEFAULT = "default"

_max_tokens = click.option(
    "--max-tokens", default=64, show_default=True, type=click.IntRange(1), help="Longest answer, in tokens."
)
_temperature = click.option(
    "--temperature", default=1.0, show_default=True, type=Temperature(), help="Sampling temperature of both laws."
)


@click.command(
    "shift", epilog="\b\nExample:\n  bylaw compare shift base tuned --prompts prompts.jsonl --cross rules.bylaw"
)
@click.argument("first")
@click.argument("second")
@click.option("--prompts", required=True, type=click.Path(), help="JSON Lines or text file with the prompts.")
@click.option("--samples", default=2, show_default=True, type=click.IntRange(1), help="Answers to each prompt.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=click.FloatRange(0, 0.7),
    help="Divergence in nats; repeatable.  [default: 0.01, 0.03, 0.1, 0.2, 0.3, 0.5]",
)
@click.option(
    "--cross",
    "rules",
    type=PolicyPath(),
    help="Cross-sampling too: how often each rule of this policy is broken when only the places above a threshold are "
    "left to SECOND.",
)
@click.option("--most-replaced", type=click.IntRange(0), help="Of the places of an answer, in cross-sampling.")
@_max_tokens
@_temperature
@click.option("--allow-download", is_flag=True, help="Fetch a model from the hub if it is not a folder.")
@seed_option
@plot_option
@format_option
def shift_verb(
    first: str, second: str, prompts: str, samples: int, thresholds: tuple[float, ...], rules: str | None,
    most_replaced: int | None, max_tokens: int, temperature: float, allow_download: bool, seed: int,
    plot: str | None, output: str,
) -> None:  # fmt: skip
    """Say where the models FIRST and SECOND differ, token by token, along answers of FIRST.

    FIRST and SECOND are Hugging Face folders with the same tokens; `default` is the model that comes with bylaw. With
    --cross, answers are written by FIRST, and by SECOND at the places that differ by more than each threshold: where
    few places bring the rules from the rates of FIRST to those of SECOND, few tokens carry the difference.

    Exit code 0, 1 when the policy is not sound, 2 for models or files that cannot be used, 3 when some prompts could
    not be read.
    """
    from bylaw.runtime.audit import shift
    from bylaw.runtime.audit.answer_files import statements

    require_picture(plot)
    limits = tuple(sorted(set(thresholds))) or shift.THRESHOLDS
    compiled = None if rules is None else compile_or_exit(rules)
    settings = Settings(samples, max_tokens, seed, limits, most_replaced)
    with unusable(), Bars(is_quiet=output == "json") as bars:
        terms = () if compiled is None else statements(compiled.require())
        read = _prompts(prompts)
        models = tuple(
            ModelChoice(None if name == DEFAULT else name, allow_download).load(temperature) for name in (first, second)
        )
        sections, data = _shift(models[0], models[1], (first, second), read.traces, terms, settings, bars, plot)
    print_answer(sections, data, output)
    raise SystemExit(LEFT_OUT if read.problems else 0)


@click.command(
    "order",
    epilog="\b\nExamples:\n  bylaw compare order verdicts.jsonl\n"
    "  bylaw compare order rules.bylaw --model default --prompts prompts.jsonl --orders 12",
)
@click.argument("source", type=PolicyPath())
@click.option("--model", help="A Hugging Face folder, or `default`; for a policy.")
@click.option("--prompts", type=click.Path(), help="JSON Lines or text file with the prompts; for a policy.")
@click.option("--orders", "most", default=12, show_default=True, type=click.IntRange(2, 1000), help="To try.")
@_max_tokens
@_temperature
@click.option("--allow-download", is_flag=True, help="Fetch the model from the hub if it is not a folder.")
@seed_option
@format_option
def order_verb(
    source: str, model: str | None, prompts: str | None, most: int, max_tokens: int, temperature: float,
    allow_download: bool, seed: int, output: str,
) -> None:  # fmt: skip
    """Say whether the order of things changes what comes out.

    SOURCE is a file of verdicts, JSON Lines {"item", "order", "verdict"}, where a judge saw each item in several orders
    (of its evidence, its options, its rules); rows of one item and order are repeats, and what they differ by is no
    fault of the order. Or SOURCE is a policy: its rules go into the system message of --model in different orders, and
    one answer to each prompt is weighed under all of them. For a model that does not mind the order, every spread is 0.

    Exit code 0, 1 when the policy is not sound, 2 for files or models that cannot be used, 3 when some prompts could
    not be read.
    """
    from bylaw.runtime.audit.order import verdict_orders
    from bylaw.runtime.audit.verdict_files import read_orders
    from bylaw.runtime.report.compare_tables import orders_sections

    if not source.endswith(SUFFIXES):
        if model is not None or prompts is not None:
            raise click.UsageError("--model and --prompts go with a policy, and `SOURCE` is a file of verdicts")
        with unusable():
            found = verdict_orders(read_orders(source))
        print_answer(orders_sections(found), asdict(found), output)
        return
    if model is None or prompts is None:
        raise click.UsageError("with a policy, --model and --prompts are needed")
    compiled = compile_or_exit(source)
    choice = ModelChoice(None if model == DEFAULT else model, allow_download)
    with unusable(), Bars(is_quiet=output == "json") as bars:
        read = _prompts(prompts)
        sections, data = _rule_orders(compiled, choice.load(temperature), read, most, max_tokens, seed, bars)
    print_answer(sections, data, output)
    raise SystemExit(LEFT_OUT if read.problems else 0)


# -------------------------------------------------------------------------------------------------------------- parts
def _prompts(path: str) -> Transcripts:
    from bylaw.runtime.audit.transcripts import read_prompts

    read = read_prompts(path)
    for problem in read.problems:
        click.echo(f"left out: {problem.source}:{problem.line}: {problem.message}", err=True)
    return read


def _encoded(model: LanguageModel, trace: Trace, system: str = "") -> tuple[int, ...]:
    messages = [{"role": each.role, "content": each.content} for each in trace.messages]
    if system and messages and messages[0]["role"] == "system":
        # templates know one system message only
        system, messages = f"{system}\n\n{messages[0]['content']}", messages[1:]
    return model.encode_chat([{"role": "system", "content": system}, *messages] if system else messages)


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are drawn and compared; thresholds in nats, rising."""

    samples: int
    max_tokens: int
    seed: int
    thresholds: tuple[float, ...]
    most_replaced: int | None


def _shift(
    first: LanguageModel,
    second: LanguageModel,
    names: tuple[str, str],
    traces: Sequence[Trace],
    terms: Sequence[RewardTerm],
    settings: Settings,
    bars: Bars,
    plot: str | None,
) -> tuple[tuple[Section, ...], dict[str, Any]]:
    from bylaw.runtime.audit import shift
    from bylaw.runtime.models.sampling import sample_base
    from bylaw.runtime.report import compare_plots
    from bylaw.runtime.report.compare_model_tables import cross_sections, shift_data, shift_sections

    shift.require_same_tokens(first, second)
    pairs = [(_encoded(first, trace), _encoded(second, trace)) for trace in traces]
    count, cap, seed = settings.samples, settings.max_tokens, settings.seed
    bars.stage("answers", len(pairs) * count)
    drawn = sample_base(first, [one for one, _ in pairs], count, cap, seed=seed, progress=bars.progress)
    answers = [shift.as_answer(each) for row in drawn for each in row]
    owners = [at for at in range(len(pairs)) for _ in range(count)]
    bars.stage("both models", len(answers))
    places = shift.places(first, second, [pairs[at] for at in owners], answers, progress=bars.progress)
    found = shift.summary(places, owners, settings.thresholds)
    points: list[CrossPoint] = []
    if terms:
        # from the first model alone to the second alone
        limits = (1.0, *reversed(settings.thresholds), -1.0)
        bars.stage("cross-sampling", len(limits))
        for number, limit in enumerate(limits, 1):
            crossed = shift.cross_sample(
                first, second, pairs, limit, cap, samples=count, seed=seed, most_replaced=settings.most_replaced
            )
            points.append(_point(limit, crossed, traces, terms, points))
            bars.progress(number, len(limits))
    write_picture(plot, "shift", lambda: compare_plots.shift_figure(found, points, [term.id for term in terms]))
    sections = shift_sections(found, first, names, answers)
    if points:
        sections += cross_sections(points, [term.id for term in terms], names)
    return sections, shift_data(found, points, [term.id for term in terms], first, answers)


def _point(
    limit: float,
    crossed: Sequence[Sequence[CrossSample]],
    traces: Sequence[Trace],
    terms: Sequence[RewardTerm],
    before: Sequence[CrossPoint],
) -> CrossPoint:
    """Rates at one threshold, paired with those of the first model (the first point)."""
    from bylaw.compiler.evaluate import Verdict
    from bylaw.runtime.audit.audit import score
    from bylaw.runtime.report.compare_model_tables import cross_point
    from bylaw.spec.trace import Message, Trace

    verdicts: list[list[bool | None]] = [[] for _ in terms]
    owners = []
    for owner, (trace, row) in enumerate(zip(traces, crossed, strict=True)):
        for each in row:
            owners.append(owner)
            answered = Trace((*trace.messages, Message("assistant", each.text)), trace.facts, trace.id)
            for place, term in enumerate(terms):
                verdict = score(term, answered).verdict
                verdicts[place].append({Verdict.VIOLATED: True, Verdict.UNSCORED: None}.get(verdict, False))
    places, replaced = (sum(getattr(each, name) for row in crossed for each in row) for name in ("places", "replaced"))
    return cross_point(limit, replaced / places, verdicts, owners, before[0] if before else None)


def _rule_orders(
    compiled: Compiled, model: LanguageModel, read: Transcripts, most: int, max_tokens: int, seed: int, bars: Bars
) -> tuple[tuple[Section, ...], dict[str, Any]]:
    from bylaw.runtime.audit.audit import clause_text
    from bylaw.runtime.audit.order import model_orders, orders
    from bylaw.runtime.models.sampling import sample_base
    from bylaw.runtime.report.compare_model_tables import rule_orders_data, rule_orders_sections

    clauses = [clause_text(compiled.source, term) for term in compiled.require().terms]
    tried = orders(len(clauses), most, seed)
    systems = ["Follow these rules.\n" + "\n".join(f"- {clauses[at]}" for at in order) for order in tried]
    asked = [[_encoded(model, trace, system) for system in systems] for trace in read.traces]
    bars.stage("answers", len(asked))
    drawn = sample_base(model, [each[0] for each in asked], 1, max_tokens, seed=seed, progress=bars.progress)
    bars.stage("orders", len(asked))
    found = []
    for number, (prompts, row) in enumerate(zip(asked, drawn, strict=True), 1):
        if row[0].tokens or row[0].ended:
            found.append(model_orders(model, prompts, row[0].tokens, ended=row[0].ended))
        bars.progress(number, len(asked))
    return rule_orders_sections(found, len(tried), model.name), rule_orders_data(found, tried)
