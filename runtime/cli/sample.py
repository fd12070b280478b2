"""`bylaw sample`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli import INTERRUPTED
from bylaw.runtime.cli.paths import SUFFIXES, PolicyPath
from bylaw.runtime.cli.sample_jobs import Wanted, job_of
from bylaw.runtime.cli.sample_options import sample_options
from bylaw.runtime.cli.sampling import Bars, prompts_or_exit
from bylaw.runtime.cli.scoring import Scoring, scoring_options
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.judges.budget import Meter
    from bylaw.runtime.running.export import Holding
    from bylaw.runtime.running.plan import Plan
    from bylaw.runtime.running.run import Job
    from bylaw.runtime.running.store import RunStore
    from bylaw.runtime.stopping_record import StoppingRecord


_BATCH = 20
"""Prompts between two looks at whether limits are decided."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """What is done with the samples. Prices: for a million tokens. `until`: the rules that are to be decided, and the
    seed of the order of prompts."""

    store: Path
    transcripts: Path
    again: bool
    first_try_only: bool
    dry_run: bool
    price_in: float | None
    price_out: float | None
    as_json: bool
    until: tuple[RewardProgram, int] | None = None


@click.command("sample")
@click.argument("source", metavar="RULES|PROMPTS", type=PolicyPath())
@sample_options
@scoring_options
def command(
    source: str, out: str, transcripts: str | None, first_try_only: bool, dry_run: bool, price_in: float | None,
    price_out: float | None, as_json: bool, prompts: str | None, system: str | None, seed: int, no_seed: bool,
    budget_requests: int | None, budget_tokens: int | None, budget_seconds: float | None, retry_failed: bool,
    until_decided: bool, scoring: Scoring, **others: Any,
) -> None:  # fmt: skip
    """Ask a model for the answers that an audit needs, and keep each at once.

    RULES is a policy, whose suites (or --prompts, or prompts.jsonl beside it) are asked; PROMPTS is a file of prompts.
    Killed, interrupted or out of budget: the same command goes on, and asks only what is missing. A run may get more
    prompts and more epochs.

    \b
    bylaw sample prompts.jsonl --endpoint http://127.0.0.1:8000/v1 --model large --epochs 4 --out large.samples
    bylaw audit rules.bylaw large.jsonl

    An answer is whatever the model said: also nothing, a refusal, a call of a tool, a text cut at --max-tokens. What
    the endpoint withheld or nobody could read becomes a conversation without an answer, which an audit counts as
    unscored; it is not asked for again without --retry-failed, since that would choose among the answers.

    With --until-decided prompts are asked in a random order, and no more once `bylaw audit --stop`, with the same
    --seed, would have decided every limit and hard rule.

    Exit codes: 0 every sample has an answer (or all is decided), 1 the policy cannot be enforced, 2 wrong usage or
    unusable input, 3 some samples have none, or a prompt could not be read, 4 a regulated answer failed the last check,
    130 interrupted.
    """
    from bylaw.runtime.judges.budget import Budget, Meter

    wanted = Wanted(seed=None if no_seed else seed, **others)
    _require(wanted, source, prompts, budget_requests, no_seed=no_seed, scoring=scoring)
    ways = _Ways(
        Path(out), _transcripts_place(out, transcripts, source, prompts), retry_failed, first_try_only, dry_run,
        price_in, price_out, as_json,
    )  # fmt: skip
    compiled, read = _prompts(source, prompts)
    if until_decided:
        ways = replace(ways, until=(_undecided(compiled, wanted), seed))
    meter = Meter(Budget(budget_requests, budget_tokens, budget_seconds))
    with job_of(wanted, compiled, source, scoring, read, _system(system), meter) as job:
        code = _dry_run(job.plan, ways) if dry_run else _run(job, ways, meter)
    raise SystemExit(code or (LEFT_OUT if read.problems else 0))


# ---------------------------------------------------------------------------------------------------- what is asked
def _require(
    wanted: Wanted, source: str, prompts: str | None, requests: int | None, *, no_seed: bool, scoring: Scoring
) -> None:
    is_policy = source.endswith(SUFFIXES)
    if prompts is not None and not is_policy:
        raise click.UsageError("--prompts is of use with a policy RULES only: the prompts are named already")
    if wanted.regulated and not is_policy:
        raise click.UsageError("--regulated needs a policy RULES")
    if wanted.endpoint is None:
        if wanted.endpoint_key is not None or no_seed or requests is not None:
            raise click.UsageError("--endpoint-key, --no-seed and --budget-requests are of use with --endpoint only")
        if wanted.temperature == 0:
            raise click.UsageError("a model in this process needs a --temperature above 0")
    elif wanted.regulated:
        raise click.UsageError(
            "--regulated needs a model's own probabilities, which no endpoint gives: leave out --endpoint, or use "
            "`bylaw generate --endpoint`"
        )
    if not wanted.regulated and (wanted.calibration is not None or wanted.options or scoring.is_asked_for):
        raise click.UsageError("--calibration, --option and the options about scores are of use with --regulated only")
    if any(not text for text in wanted.stop):
        raise click.UsageError("an empty --stop would end every answer before it begins")


def _undecided(compiled: Compiled | None, wanted: Wanted) -> RewardProgram:
    """The rules that answers are to decide; what cannot be followed is one message and exit code 2."""
    from bylaw.runtime.audit.followed import StoppingError, StoppingSettings
    from bylaw.runtime.audit.stopping import Stopper
    from bylaw.runtime.running.until_decided import require_plain

    if compiled is None:
        raise click.UsageError("--until-decided needs a policy RULES: its limits are what is decided")
    if wanted.regulated:
        raise click.UsageError(
            "--until-decided is not for --regulated: a decoder draws the answers of all prompts together"
        )
    try:
        require_plain(compiled.require())
        Stopper(compiled.require(), StoppingSettings(), is_repeated=wanted.epochs > 1)
    except StoppingError as error:
        fail(str(error), UNUSABLE)
    return compiled.require()


def _prompts(source: str, given: str | None) -> tuple[Compiled | None, Transcripts]:
    if source.endswith(SUFFIXES):
        compiled = compile_or_exit(source)
        read, _, _ = prompts_or_exit(compiled, given, Path(source).parent / "prompts.jsonl")
    else:
        from bylaw.runtime.audit.inputs import TranscriptError
        from bylaw.runtime.audit.transcripts import read_prompts

        compiled = None
        try:
            read = read_prompts(source)
        except TranscriptError as error:
            fail(str(error), UNUSABLE)
    for problem in read.problems:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    return compiled, read


def _system(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"`{path}` cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}", UNUSABLE)


def _transcripts_place(out: str, given: str | None, source: str, prompts: str | None) -> Path:
    """Where the transcripts go: never over what is read, nor over a file that no run of this store wrote."""
    store = Path(out)
    if not store.name or store.is_dir():
        fail(f"`{out}` is a folder: name a file for --out, like answers.samples", UNUSABLE)
    place = Path(given) if given is not None else store.with_suffix(".jsonl")
    taken = {Path(each).resolve() for each in (source, prompts) if each is not None}
    if store.resolve() in taken:
        fail(f"`{out}` is what is read: name another file for --out", UNUSABLE)
    if place.resolve() == store.resolve():
        fail(f"`{out}` cannot be both the store (SQLite) and the transcripts: name it like answers.samples", UNUSABLE)
    if place.resolve() in taken or (place.exists() and not store.exists()):
        fail(f"`{place}` is there already and is not of this run: name another file with --transcripts", UNUSABLE)
    if place.suffix.lower() not in (".jsonl", ".ndjson"):
        fail(f"transcripts are JSON Lines: let the name of `{place}` end in .jsonl", UNUSABLE)
    if not place.parent.is_dir():
        fail(f"`{place}` cannot be written: there is no folder `{place.parent}`", UNUSABLE)
    return place


# ---------------------------------------------------------------------------------------------------------- the run
def _run(job: Job, ways: _Ways, meter: Meter) -> int:
    """Brings what is missing, writes what is there, says how it stands; the exit code."""
    from bylaw.runtime.running.export import holding, summary, write_transcripts
    from bylaw.runtime.running.store import open_store

    if not ways.store.exists():
        job.require()  # what cannot be asked leaves no empty store behind
    store = open_store(ways.store)
    try:
        store.begin(job.plan)
        left: Counter[str] = Counter()
        stopped, is_interrupted = None, False
        try:
            left, stopped = _bring(job, store, ways)
        except KeyboardInterrupt:
            is_interrupted = True
        held = holding(store)
        written = write_transcripts(held, ways.transcripts, first_try_only=ways.first_try_only)
        _say(held, ways, written, left, meter, stopped)
        if is_interrupted:
            click.echo(
                f"interrupted; what is there is kept, and the same command goes on with `{ways.store}`", err=True
            )
            return INTERRUPTED
        found = summary(held)
        is_decided = stopped is not None and stopped.ended == "decided" and not found.failed
        return 0 if found.is_complete or is_decided else LEFT_OUT
    finally:
        store.close()


def _bring(job: Job, store: RunStore, ways: _Ways) -> tuple[Counter[str], StoppingRecord | None]:
    """What was left out for now, by the reason; and how the limits stand, where these say when to stop."""
    from bylaw.runtime.running.run import bring_missing, to_ask

    missing = len(to_ask(job.plan, store, again=ways.again))
    if missing:
        job.require()
    with Bars() as bars:
        if missing:
            bars.stage("samples" if ways.until is None else "samples, until decided", missing)

        def tell(done: int) -> None:
            bars.progress(done, missing)

        if ways.until is None:
            return bring_missing(job, store, tell, again=ways.again), None
        from bylaw.runtime.audit.followed import StoppingSettings
        from bylaw.runtime.running.until_decided import bring_until_decided

        program, seed = ways.until
        settings = StoppingSettings(seed, batch=_BATCH)
        return bring_until_decided(job, store, program, settings, tell, again=ways.again)


def _say(
    held: Holding, ways: _Ways, written: int, left: Counter[str], meter: Meter, stopped: StoppingRecord | None
) -> None:
    from bylaw.runtime.running.export import summary

    found = summary(held)
    spent = meter.spent
    if ways.as_json:
        body: dict[str, Any] = {
            "store": str(ways.store),
            "transcripts": {"path": str(ways.transcripts), "lines": written},
            "samples": asdict(found),
            "this_call": {
                "requests": spent.requests,
                "tokens_in": spent.tokens_in,
                "tokens_out": spent.tokens_out,
                "seconds_of_waiting": round(spent.seconds, 3),
                "not_asked": dict(sorted(left.items())),
            },
        }
        if stopped is not None:
            body["stopping"] = asdict(stopped)
        click.echo(json.dumps(body, ensure_ascii=False, indent=2))
        return
    failed = sum(found.failed.values())
    by_class = f" ({', '.join(f'{why} {count:,}' for why, count in found.failed.items())})" if failed else ""
    click.echo(
        f"{found.planned:,} samples: {found.answered:,} answered, {failed:,} without an answer{by_class}, "
        f"{found.missing:,} still to ask"
    )
    if stopped is not None:
        from bylaw.runtime.report.audit_stopping import stopping_sentence

        click.echo(stopping_sentence(stopped))
    if found.cut:
        click.echo(f"{found.cut:,} answers were cut at their limit of {held.plan.settings['max_tokens']:,} tokens")
    if found.retried:
        share = found.retried / found.answered
        click.echo(
            f"{found.retried:,} answers ({share:.1%}) took more than one attempt: --first-try-only writes the others, "
            "to see whether that makes a difference"
        )
    if len(found.models) > 1:
        told = ", ".join(f"`{name}` {count:,}" for name, count in found.models.items())
        click.echo(f"warning: the endpoint ran several models: {told}", err=True)
    for words in found.reasons:
        click.echo(f"warning: no answer: {words}", err=True)
    for words, count in left.most_common(5):
        click.echo(f"warning: {count:,} samples: {words}", err=True)
    click.echo(f"{found.tokens_in:,} tokens in, {found.tokens_out:,} tokens out in all calls together")
    click.echo(f"wrote {written:,} transcripts to {ways.transcripts}", err=True)


def _dry_run(plan: Plan, ways: _Ways) -> int:
    from bylaw.runtime.running.endpoint import cost_of
    from bylaw.runtime.running.run import to_ask
    from bylaw.runtime.running.store import open_store

    store: RunStore | None = open_store(ways.store) if ways.store.exists() else None
    try:
        if store is not None:
            store.require(plan)
        cost = cost_of(plan, to_ask(plan, store, again=ways.again))
    finally:
        if store is not None:
            store.close()
    most = None
    if ways.price_in is not None or ways.price_out is not None:
        most = (cost.tokens_in * (ways.price_in or 0) + cost.tokens_out_most * (ways.price_out or 0)) / 1e6
    if ways.as_json:
        body = {
            "samples": len(plan.samples),
            "to_ask": cost.requests,
            "tokens_in_about": cost.tokens_in,
            "tokens_out_at_most": cost.tokens_out_most,
            "price_at_most": most,
        }
        click.echo(json.dumps(body, indent=2))
        return 0
    click.echo(
        f"{len(plan.samples):,} samples, {cost.requests:,} to ask: about {cost.tokens_in:,} tokens in and at most "
        f"{cost.tokens_out_most:,} out, repeats after failures not counted"
    )
    if most is not None:
        click.echo(f"at most about {most:,.2f} at these prices")
    return 0
