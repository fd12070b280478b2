"""`bylaw explain --credit RULES ...`: which token of an answer broke which rule, beside what a trained model says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import click

from bylaw.runtime.cli.explain_credit_output import AnswerTokens, CreditShown, print_credit, to_json
from bylaw.runtime.cli.explain_verdict import conversation_or_exit, scored_or_exit
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sampling import ModelChoice
from bylaw.runtime.cli.scoring import Scoring, scoring_options
from bylaw.runtime.cli.shared import UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardTerm
    from bylaw.runtime.credit import Placement
    from bylaw.runtime.models.huggingface import HuggingFaceModel
    from bylaw.spec.trace import Trace


@click.command("explain")
@click.argument("rules", type=PolicyPath())
@click.option("--credit", is_flag=True, hidden=True, help="Show which token broke which rule.")
@click.option("--prompt", help="What the user said.")
@click.option("--response", help="What the assistant answered.")
@click.option("--system", help="The system message.")
@click.option("--given", "facts", multiple=True, metavar="NAME=VALUE", help="A fact, such as meta.topic=billing.")
@click.option("--transcript", type=click.Path(), help="Take the conversation from a file of transcripts instead.")
@click.option("--row", type=click.IntRange(1), default=1, show_default=True, help="Which one of the file, from 1.")
@click.option("--rule", "only", multiple=True, help="Only what this rule pays; may be repeated.")
@click.option("--model", help="Whose tokens: a Hugging Face model folder. Default: the one that comes with bylaw.")
@click.option("--trained", metavar="DIR", help="A model trained from it: show its implicit reward of each token too.")
@click.option(
    "--beta", type=float, default=1.0, show_default=True, help="Nats of implicit reward per nat of log ratio."
)
@click.option(
    "--placement",
    type=click.Choice(["spans", "prefixes"]),
    default="spans",
    show_default=True,
    help="Pay on the text that breaks a rule, or, as in training, on the token after which it cannot be kept any more.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the explanation.",
)
@click.option("--json", "output", flag_value="json", help="The same as --format json.")
@scoring_options
def command(
    rules: str,
    credit: bool,
    prompt: str | None,
    response: str | None,
    system: str | None,
    facts: tuple[str, ...],
    transcript: str | None,
    row: int,
    only: tuple[str, ...],
    model: str | None,
    trained: str | None,
    beta: float,
    placement: str,
    output: str,
    scoring: Scoring,
) -> None:
    """Explain which token of an answer broke which rule, and what each token pays, in nats.

    The answer is shown in the tokens of a model, those marked that break a rule, with the nats that the rules pay for
    each below it; they sum to the reward of the answer. For every broken rule the first token is named after which no
    continuation keeps it. With --trained, the implicit reward β log π/π0 of each token stands beside: what a trained
    model has learnt of the rules, or not.

    Exit code 0 however the verdicts come out, 1 when the policy is not sound, 2 for unusable input.

    Example: bylaw explain --credit rules.bylaw --prompt "Is it late?" --response "Damn, yes." --trained out/model
    """
    from bylaw.runtime.credit import CreditError
    from bylaw.runtime.models.interface import ModelError

    if not (math.isfinite(beta) and beta > 0):
        fail(f"--beta is {beta:g}; it must be above 0", UNUSABLE)
    compiled = compile_or_exit(rules)
    trace = conversation_or_exit(prompt, response, system, facts, transcript, row)
    if trace.response is None:
        fail("the conversation does not end with an answer of the assistant", UNUSABLE)
    program = compiled.require()
    unknown = set(only) - {term.rule for term in program.terms}
    if unknown:
        _no_rule(unknown)
    terms = tuple(term for term in program.terms if not only or term.rule in only)
    trace = scored_or_exit(compiled, trace, rules, scoring)
    how: Placement = "prefixes" if placement == "prefixes" else "spans"
    try:
        found = _found(compiled, terms, trace, how, model, trained, beta)
    except (CreditError, ModelError) as error:
        fail(str(error), UNUSABLE)
    if output == "json":
        click.echo(to_json(found))
    else:
        print_credit(found)


def _no_rule(names: set[str]) -> NoReturn:
    fail(f"there is no rule called {', '.join(f'`{name}`' for name in sorted(names))} that pays anything", UNUSABLE)


def _found(
    compiled: Compiled,
    terms: tuple[RewardTerm, ...],
    trace: Trace,
    placement: Placement,
    model: str | None,
    trained: str | None,
    beta: float,
) -> CreditShown:
    from bylaw.runtime.credit import credit

    base = ModelChoice(model, False).load(1.0)
    tokens = _tokens(base, trace.response or "")
    before = replace(trace, messages=trace.messages[:-1])
    vocabulary = base.vocabulary
    shared = credit(
        terms,
        before,
        tokens.data,
        placement=placement,
        drops_leading_space=vocabulary.drops_leading_space,
        allow_undecided=True,
    )
    implicit, name = None, ""
    if trained is not None:
        from bylaw.runtime.credit.implicit import implicit_rewards

        policy = ModelChoice(trained, False).load(1.0)
        said = [{"role": message.role, "content": message.content} for message in before.messages]
        implicit = implicit_rewards(policy, base, base.encode_chat(said), tokens.ids, beta=beta)
        name = policy.name
    return CreditShown(compiled, tokens, terms, shared, placement, implicit, name, beta)


def _tokens(model: HuggingFaceModel, response: str) -> AnswerTokens:
    """The answer in the model's tokens. Raises ModelError where they do not spell it."""
    from bylaw.runtime.credit import CreditError
    from bylaw.runtime.credit.spelling import spell
    from bylaw.runtime.models.interface import ModelError

    # a special token that somebody spelt out is text here
    encoded = model.tokenizer(response, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = tuple(map(int, encoded))
    data = (*(model.vocabulary.token_bytes[index] for index in ids), None)
    try:
        spelled = spell(data, drops_leading_space=model.vocabulary.drops_leading_space).text
    except CreditError:
        spelled = None
    if spelled != response:
        raise ModelError(f"the tokenizer of `{model.name}` cannot spell this answer as it is; try another --model")
    return AnswerTokens(model, ids, data)
