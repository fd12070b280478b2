"""`bylaw probe`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.probe_models import Endpoints, endpoint_options, endpoints_of, writing_stages
from bylaw.runtime.cli.scoring import Scoring, scorers_or_exit, scoring_options, scoring_refused
from bylaw.runtime.cli.shared import GATE_FAILED, LEFT_OUT, UNUSABLE, compile_or_exit, fail
from bylaw.spec.errors import visible

if TYPE_CHECKING:
    from bylaw.compiler.analysis import Scored
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.probes.files import Finding, Folder
    from bylaw.runtime.probes.make import Made, Material
    from bylaw.spec.trace import Trace

_LEANS = ("neutral", "break", "keep", "first", "second")
_format = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
_MOST_SHOWN = 20


@click.group(
    "probe",
    epilog="\b\nExample:\n  bylaw probe make rules.bylaw --out probes\n  bylaw probe review rules.bylaw probes",
)
def command() -> None:
    """Make prompts that show how a model keeps each rule; review them; use those that were accepted."""


# ------------------------------------------------------------------------------------------------------------- make
@command.command("make", epilog="\b\nExample:\n  bylaw probe make examples/support/rules.bylaw --out probes")
@click.argument("rules", type=PolicyPath())
@click.option("--out", required=True, type=click.Path(), help="The new folder that the probes are written to.")
@click.option("--rule", "chosen", multiple=True, metavar="NAME", help="Only of this rule; repeatable.")
@click.option("--prompts", type=click.Path(), help="Prompts of your users (JSON Lines, CSV or text) to build on.")
@click.option("--templates", type=click.Path(), help="A folder of *.jinja templates, in place of the built-in ones.")
@click.option(
    "--per-rule",
    default=8,
    show_default=True,
    type=click.IntRange(1, 500),
    help="Most prompts for each condition, before templates and variants.",
)
@click.option("--variants", default=2, show_default=True, type=click.IntRange(0, 11), help="Variants of each prompt.")
@click.option("--pairs", default=10, show_default=True, type=click.IntRange(0, 500), help="Most pairs of rules.")
@click.option(
    "--search-share",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the families of prompts that go to the search set.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of all that is drawn by chance.")
@endpoint_options
@scoring_options
@_format
def make_command(
    rules: str, out: str, chosen: tuple[str, ...], prompts: str | None, templates: str | None, per_rule: int,
    variants: int, pairs: int, search_share: float, seed: int, output: str, scoring: Scoring, **endpoints: Any,
) -> None:  # fmt: skip
    """Make prompts for each rule of a policy and write them to a folder, for people to edit and review.

    A prompt for a rule meets the rule's condition: every one is checked before it is written. Prompts come from the
    examples, tests and suites of the policy, from --prompts, from the condition itself, from templates that push to
    break or to keep the rule, and from pairs of rules that pull an answer different ways; with --generator a model
    writes more of them. Each is also written in other ways (--variants).

    Half of them are to search for weak places (`search.jsonl`), half to measure with (`estimation.jsonl`). What shares
    a text is in one set. With --target the search is done here: prompts are made harder or easier until the model
    breaks the rule about half of the time, in `tried.jsonl`; prompts to measure with are then written at that
    difficulty and are not sent to it.

    The same policy, options and seed give the same probes; what models answered is kept for the next time.

    Exit code 0 when probes were made, 1 when the policy is not sound, 2 for wrong usage or unusable input, 3 when a
    rule got none or a model left a question without an answer.
    """
    from bylaw.runtime.probes.files import require_new, write_folder
    from bylaw.runtime.probes.make import Settings, make

    settings = Settings(chosen, per_rule, variants, pairs, search_share, seed)
    compiled = compile_or_exit(rules)
    with _refused():
        ends = endpoints_of(endpoints)
        require_new(out)
        material = _material(compiled, rules, scoring, prompts, templates)
        from bylaw.runtime.cli.sampling import Bars

        with Bars(is_quiet=True) as bars, writing_stages(ends, seed) as stages:
            made = make(material, settings, stages, bars.stage, bars.progress)
        manifest = write_folder(out, made, settings, _source(compiled, rules, ends))
    if output == "json":
        click.echo(json.dumps({"folder": out, **manifest}, ensure_ascii=False, indent=2))
    else:
        _say_made(made, out, rules)
    raise SystemExit(LEFT_OUT if made.left_out or made.failed else 0)


@contextmanager
def _refused() -> Iterator[None]:
    """Each way in which probes cannot be made or used is one message and exit code 2."""
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.probes.probe import ProbeError

    with scoring_refused():
        try:
            yield
        except (ProbeError, TranscriptError) as error:
            fail(str(error), UNUSABLE)


def _material(compiled: Compiled, rules: str, scoring: Scoring, prompts: str | None, templates: str | None) -> Material:
    from bylaw.runtime.probes.make import Material
    from bylaw.runtime.probes.templates import templates_in

    program, policy = compiled.require(), compiled.regulators
    assert policy is not None
    from bylaw.spec.source import Span

    words = {
        each.rule: compiled.source.slice(Span(each.rule_extent.start, each.rule_extent.end))
        for each in policy.regulators
    }
    given: tuple[Trace, ...] = ()
    if prompts is not None:
        from bylaw.runtime.audit.transcripts import read_prompts

        read = read_prompts(prompts)
        given = read.traces
        for problem in read.problems[:_MOST_SHOWN]:
            click.echo(f"warning: {problem.source}:{problem.line}: {problem.message}", err=True)
    own = () if templates is None else templates_in(templates)
    return Material(policy, program, words, given, own, _scored(compiled, rules, scoring))


def _scored(compiled: Compiled, rules: str, scoring: Scoring) -> Scored:
    """What adds scores of concepts to a conversation; nothing where no option asks for scores."""
    from bylaw.compiler.analysis import unchanged

    if not scoring.is_asked_for:
        return unchanged
    scorers = scorers_or_exit(compiled, rules, scoring)
    if not scorers.by_concept:
        return unchanged
    from bylaw.runtime.scorers._live import live_trace
    from bylaw.runtime.scorers.asking import Asker

    asker = Asker.of(compiled.require(), scorers)
    return lambda trace: live_trace(trace, asker)


def _source(compiled: Compiled, rules: str, ends: Endpoints) -> dict[str, Any]:
    """What the manifest says of where probes come from."""
    import bylaw

    program = compiled.require()
    models = {"generator": ends.generator_model, "target": ends.target_model}
    return {
        "version": bylaw.__version__,
        "policy": program.policy,
        "policy_version": program.version,
        "policy_digest": program.digest,
        "rules": Path(rules).name,
        **{name: model for name, model in models.items() if model is not None},
    }


def _say_made(made: Made, out: str, rules: str) -> None:
    for part in ("search", "estimation"):
        own = [probe for probe in made.probes if probe.part == part]
        leans = ", ".join(
            f"{sum(probe.lean == lean for probe in own)} {lean}" for lean in _LEANS if any(p.lean == lean for p in own)
        )
        families = len({probe.family for probe in own})
        click.echo(f"{out}/{part}.jsonl: {len(own)} probes in {families} families ({leans or 'none'})")
    for found in made.searched:
        steps = ", ".join(f"{s.difficulty}: {s.broken} of {s.broken + s.kept}" for s in found.steps)
        click.echo(f"`{found.aim}`: settled on difficulty {found.difficulty} (broken at difficulty {steps})")
    dropped = sum(number for _, number in made.dropped)
    if dropped:
        click.echo(f"{dropped} more were made and dropped by the check, most of them since {made.dropped[0][0]}")
    for name, reason in made.left_out:
        click.echo(f"warning: no probe for `{name}`: {reason}", err=True)
    for reason in made.failed[:_MOST_SHOWN]:
        click.echo(f"warning: {visible(reason)}", err=True)
    if made.cost.requests or made.cost.cached:
        click.echo(f"{made.cost.requests} questions were sent to the generator; {made.cost.cached} answers were kept")
    click.echo(f"next: read and edit them, then `bylaw probe review {rules} {out}`")


# ----------------------------------------------------------------------------------------------------------- review
@command.command(
    "review", epilog="\b\nExample:\n  bylaw probe review rules.bylaw probes --accept-rest --suites prompts"
)
@click.argument("rules", type=PolicyPath())
@click.argument("folder", type=click.Path())
@click.option("--accept", multiple=True, metavar="ID", help="Accept this probe as it stands now; repeatable.")
@click.option("--reject", multiple=True, metavar="ID", help="Reject this probe; repeatable.")
@click.option("--reopen", multiple=True, metavar="ID", help="Take back what was said of this probe; repeatable.")
@click.option("--accept-rest", is_flag=True, help="Accept all that are open and have nothing wrong with them.")
@click.option("--suites", type=click.Path(), help="Write the accepted probes to this folder, as files of prompts.")
@click.option("--lean", "leans", multiple=True, type=click.Choice(_LEANS), help="Into suites only these; repeatable.")
@scoring_options
@_format
def review_command(
    rules: str, folder: str, accept: tuple[str, ...], reject: tuple[str, ...], reopen: tuple[str, ...],
    accept_rest: bool, suites: str | None, leans: tuple[Any, ...], output: str, scoring: Scoring,
) -> None:  # fmt: skip
    """Check a folder of probes that people edited, note what they accept, and write what may be used.

    Every line is checked again: that its rules are there and their conditions are met, and that nothing is in both
    sets. Accepting a probe holds for its text as it is now; an edit afterwards opens it again. --suites needs a folder
    in which nothing is open or wrong.

    Exit code 0 when nothing is open or wrong, 1 when the policy is not sound, 2 for wrong usage or unusable input, 4
    when a probe is open or has something wrong with it.
    """
    from bylaw.runtime.probes.files import accepted, findings, read_folder, reviewed
    from bylaw.runtime.probes.make import Material, checker_of

    compiled = compile_or_exit(rules)
    assert compiled.regulators is not None
    named = [*((n, "accepted") for n in accept), *((n, "rejected") for n in reject), *((n, "open") for n in reopen)]
    states: dict[str, Any] = dict(named)
    if len(states) < len(named):
        raise click.UsageError("a probe is named twice; accept, reject or reopen it")
    with _refused():
        scored = _scored(compiled, rules, scoring)
        check = checker_of(Material(compiled.regulators, compiled.require(), scored=scored))
        now = read_folder(folder)
        found = findings(now, check)
        wrong = {each.line.name for each in found}
        for name in accept:
            if name in wrong:
                reason = next(each.message for each in found if each.line.name == name)
                fail(f"`{name}` cannot be accepted: {reason}", UNUSABLE)
        if accept_rest:
            rest = (line.name for line in now.lines if line.state == "open" and line.name not in wrong)
            states = dict.fromkeys(rest, "accepted") | states
        if states:
            now = reviewed(now, states)
            found = findings(now, check)
        is_open = any(line.state == "open" for line in now.lines) or bool(found)
        if suites is not None and not found:
            _write_suites(suites, {part: accepted(now, part, leans) for part in _with_lines(now)})
    if output == "json":
        click.echo(json.dumps(_review_data(now, found), ensure_ascii=False, indent=2))
    else:
        _say_review(now, found, compiled, suites)
    raise SystemExit(GATE_FAILED if is_open else 0)


def _with_lines(folder: Folder) -> list[Any]:
    return [part for part in ("search", "estimation") if any(line.probe.part == part for line in folder.lines)]


def _write_suites(place: str, probes: dict[Any, Any]) -> None:
    from bylaw.runtime.probes.files import write_suite

    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"`{place}` cannot be made: {error.strerror or error}", UNUSABLE)
    for part, own in probes.items():
        write_suite(Path(place) / f"{part}.jsonl", own)


def _counts(folder: Folder) -> dict[str, int]:
    return {state: sum(line.state == state for line in folder.lines) for state in ("accepted", "rejected", "open")}


def _review_data(folder: Folder, found: tuple[Finding, ...]) -> dict[str, Any]:
    return {
        "folder": str(folder.place),
        "probes": len(folder.lines),
        **_counts(folder),
        "edited": sum(line.is_edited for line in folder.lines),
        "findings": [
            {"file": each.line.file.name, "line": each.line.number, "id": each.line.name, "message": each.message}
            for each in found
        ],
    }


def _say_review(folder: Folder, found: tuple[Finding, ...], compiled: Compiled, suites: str | None) -> None:
    counts = _counts(folder)
    edited = sum(line.is_edited for line in folder.lines)
    told = ", ".join(f"{number} {state}" for state, number in counts.items())
    click.echo(f"{folder.place}: {len(folder.lines)} probes, {told}; {edited} edited since they were made")
    if folder.manifest.get("policy_digest") != compiled.require().digest:
        click.echo("note: the policy says something else than when these probes were made", err=True)
    for each in found[:_MOST_SHOWN]:
        click.echo(
            f"{each.line.file.name}, line {each.line.number}: `{visible(each.line.name)}`: {visible(each.message)}"
        )
    if len(found) > _MOST_SHOWN:
        click.echo(f"and {len(found) - _MOST_SHOWN} more; --format json lists all")
    if suites is not None:
        click.echo(f"written to {suites}" if not found else "nothing was written, since probes have something wrong")
