"""`bylaw plan`."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.law import Share
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sample_options import Positive
from bylaw.runtime.cli.scoring import Scoring, scorers_or_exit, scoring_options
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, compile_or_exit, fail, write_whole

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.pilot import Pilot
    from bylaw.runtime.audit.policy_plan import PerRule, PolicyPlan
    from bylaw.runtime.report.plan_text import Cost
    from bylaw.spec.trace import Trace

_EXAMPLES = """\b
Examples:
  bylaw plan rules.bylaw
  bylaw plan rules.bylaw pilot.jsonl --cluster-size 4 --plot power.svg
  bylaw plan rules.bylaw --rate few_refusals=1% --planted few_refusals=2
  bylaw plan rules.bylaw --judge-sensitivity 85% --judge-specificity 95%
"""
_SUFFIXES = (".svg", ".png")


class PerRuleNumber(click.ParamType[tuple[str, float]]):
    """A number for all rules, or `RULE=NUMBER`; shares may be written with their sign, as 5%."""

    name = "[RULE=]NUMBER"

    def __init__(self, *, is_share: bool) -> None:
        self.is_share = is_share

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        rule, _, number = str(value).rpartition("=")
        if self.is_share or number.strip().endswith("%"):
            return rule.strip(), Share().convert(number, param, ctx)
        try:
            found = float(number)
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            self.fail(f"`{value}` is no number; write it as 5%, 0.05 or RULE=5%", param, ctx)
        return rule.strip(), found


_SHARE, _NUMBER = PerRuleNumber(is_share=True), PerRuleNumber(is_share=False)


@click.command("plan", epilog=_EXAMPLES)
@click.argument("rules", type=PolicyPath())
@click.argument("pilot", type=click.Path(), required=False)
@click.option(
    "--rate",
    type=_NUMBER,
    multiple=True,
    help="The rate (of an average: the mean) that is expected; for all rules or RULE=RATE; repeatable. Default: the "
    "pilot's, else half of a limit, and for a hard rule none.",
)
@click.option("--applicable", type=_SHARE, multiple=True, help="The share of answers that a rule is about; likewise.")
@click.option("--power", type=Share(), default="80%", show_default=True, help="The chance to certify a limit.")
@click.option("--confidence", type=Share(), default="95%", show_default=True, help="To certify a limit.")
@click.option(
    "--together", is_flag=True, help="The confidence is for all limits at once; --gate needs it for each only."
)
@click.option(
    "--cluster-size", type=click.IntRange(1, 100_000), help="Answers to each prompt. Default: the pilot's, else 1."
)
@click.option("--correlation", type=Share(), help="Between answers to one prompt. Default: the pilot's, else 0.")
@click.option(
    "--judge-sensitivity", type=_SHARE, multiple=True, help="Of what scores texts, where a rule hangs on that."
)
@click.option("--judge-specificity", type=_SHARE, multiple=True, help="Likewise.")
@click.option("--label-count", type=click.IntRange(2), help="Texts that people label. Default: as many as it takes.")
@click.option(
    "--hard", type=Share(), default="1%", show_default=True, help="The rate below which a hard rule is shown."
)
@click.option(
    "--width", type=Share(), default="5%", show_default=True, help="Half the interval of a rate without a limit."
)
@click.option(
    "--planted",
    type=_NUMBER,
    multiple=True,
    metavar="RULE=MULTIPLIER",
    help="Say what finds violations planted by this multiplier (nats); repeatable.",
)
@click.option("--tokens-in", type=click.IntRange(0), help="Tokens sent for an answer. Default: as in the pilot.")
@click.option("--tokens-out", type=click.IntRange(0), help="Tokens of an answer. Default: as in the pilot.")
@click.option("--price-in", metavar="P", type=Positive(min=0), help="Price of a million tokens sent.")
@click.option("--price-out", metavar="P", type=Positive(min=0), help="Price of a million tokens answered.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the power by the number of answers (.svg, .png).")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="What to print.",
)
@scoring_options
def command(
    rules: str, pilot: str | None, plot: str | None, output: str, tokens_in: int | None, tokens_out: int | None,
    price_in: float | None, price_out: float | None, scoring: Scoring, **options: Any,
) -> None:  # fmt: skip
    """Say how many answers an audit of the policy RULES takes, before any is drawn.

    For each limit: the answers that certify it with --power, if the rate is as expected; where none breaks it, a limit
    of 1% takes 299. For each hard rule: the answers
    without any violation that show a rate below --hard. Rules that hang on what texts express take human labels as
    well. PILOT, some transcripts, tells what rates to expect.

    Exit code 0, 1 when the policy is not sound, 2 for wrong usage or unusable input, 3 when a part of the pilot could
    not be read.
    """
    from bylaw.runtime.report.plan_text import plan_json, plan_sections, power_plot

    suffix = _picture(plot)
    if (price_in is not None and tokens_in is None and pilot is None) or (
        price_out is not None and tokens_out is None and pilot is None
    ):
        raise click.UsageError("a price needs tokens: say how many with --tokens-in and --tokens-out, or give a PILOT")
    compiled = compile_or_exit(rules)
    traces: tuple[Trace, ...] = ()
    found, is_left_out = None, False
    if pilot is not None:
        traces, found, is_left_out = _pilot(compiled, rules, pilot, scoring)
    plan = _plan(compiled, found, options)
    cost = _cost(plan, traces, tokens_in, tokens_out, price_in, price_out)
    if plot is not None:
        write_whole(plot, power_plot(plan, suffix))
    if output == "json":
        click.echo(json.dumps(plan_json(plan, cost), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        _print(plan_sections(plan, cost), output)
    raise SystemExit(LEFT_OUT if is_left_out else 0)


def _print(sections: Any, output: str) -> None:
    from bylaw.runtime.report.price_render import as_markdown, print_sections
    from bylaw.runtime.report.terminal import standard_output

    if output == "markdown":
        click.echo(as_markdown(sections), nl=False)
    else:
        print_sections(sections, standard_output())


def _plan(compiled: Compiled, pilot: Pilot | None, options: dict[str, Any]) -> PolicyPlan:
    from bylaw.runtime.audit.planning import OutOfReach
    from bylaw.runtime.audit.policy_plan import Assumptions, plan_policy

    planted = dict(options["planted"])
    for rule, multiplier in planted.items():
        if not rule or not 0 < multiplier <= 100:
            raise click.UsageError("--planted is RULE=MULTIPLIER with a multiplier in nats, above 0 and at most 100")
    for name in ("power", "confidence", "hard", "width"):
        if not 0 < options[name] < 1:
            raise click.UsageError(f"--{name} lies between 0% and 100%, both excluded")
    given = Assumptions(
        rate=_per_rule("rate", options["rate"]),
        applicable=_per_rule("applicable", options["applicable"]),
        sensitivity=_per_rule("judge-sensitivity", options["judge_sensitivity"]),
        specificity=_per_rule("judge-specificity", options["judge_specificity"]),
        labels=options["label_count"],
        confidence=options["confidence"],
        power=options["power"],
        hard_limit=options["hard"],
        width=options["width"],
        cluster_size=options["cluster_size"],
        correlation=options["correlation"],
        planted=planted,
        is_together=options["together"],
    )
    try:
        return plan_policy(compiled.require(), given, pilot)
    except (ValueError, OutOfReach) as error:
        fail(str(error), UNUSABLE)


def _per_rule(name: str, given: tuple[tuple[str, float], ...]) -> PerRule:
    from bylaw.runtime.audit.policy_plan import PerRule

    common = [number for rule, number in given if not rule]
    own = {rule: number for rule, number in given if rule}
    if len(common) > 1 or len(own) + len(common) < len(given):
        raise click.UsageError(f"--{name} is said twice of the same rules: once is enough")
    return PerRule(common[0] if common else None, own)


def _pilot(compiled: Compiled, rules: str, pilot: str, scoring: Scoring) -> tuple[tuple[Trace, ...], Pilot, bool]:
    """(the transcripts, what they tell, whether a part could not be read)."""
    from bylaw.runtime.audit.inputs import ColumnNames
    from bylaw.runtime.audit.pilot import pilot_of
    from bylaw.runtime.cli.audit_steps import Request, measure_or_exit

    scorers = scorers_or_exit(compiled, rules, scoring)
    measured = measure_or_exit(Request(compiled, pilot, ColumnNames(), scorers))
    if not measured.record.transcripts:
        fail(f"`{pilot}` has no transcript that could be read: leave the pilot out, or give another", UNUSABLE)
    return tuple(measured.traces), pilot_of(measured.columns), bool(measured.record.problems)


def _cost(
    plan: PolicyPlan,
    traces: tuple[Trace, ...],
    tokens_in: int | None,
    tokens_out: int | None,
    price_in: float | None,
    price_out: float | None,
) -> Cost:
    """Requests, tokens and their price; tokens as in the pilot where they are not given."""
    from bylaw.runtime.judges.budget import estimate_text_tokens
    from bylaw.runtime.report.plan_text import Cost

    if traces:
        sent = [sum(estimate_text_tokens(each.content) + 8 for each in trace.messages[:-1]) for trace in traces]
        said = [estimate_text_tokens(trace.response or "") for trace in traces]
        tokens_in = math.ceil(sum(sent) / len(sent)) if tokens_in is None else tokens_in
        tokens_out = math.ceil(sum(said) / len(said)) if tokens_out is None else tokens_out
    totals = [None if each is None else each * plan.samples for each in (tokens_in, tokens_out)]
    prices = [
        total * price / 1e6
        for total, price in zip(totals, (price_in, price_out), strict=True)
        if total is not None and price is not None
    ]
    return Cost(plan.samples, totals[0], totals[1], sum(prices) if prices else None)


def _picture(path: str | None) -> str:
    """The ending of the plot's file, before any work: it is known, and the folder is there."""
    if path is None:
        return ""
    from pathlib import Path

    place = Path(path)
    if place.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"--plot writes {' and '.join(_SUFFIXES)} files, and `{path}` is neither")
    if not place.parent.is_dir():
        fail(f"`{path}` cannot be written: there is no folder `{place.parent}`", UNUSABLE)
    return place.suffix.lower()
