"""`bylaw test`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.scoring import Scoring, scorers_or_exit, scoring_options, scoring_refused
from bylaw.runtime.cli.shared import GATE_FAILED, POLICY_ERROR, UNUSABLE, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from bylaw.compiler.cases import Case
    from bylaw.compiler.coverage import Coverage
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardProgram
    from bylaw.spec.trace import Trace

OF_CASES = ("P501", "P502", "P504")
"""Codes of examples and tests: each is shown by its case as well."""
MARKS = {True: "ok", False: "FAILED"}


@click.command("test")
@click.argument("rules", nargs=-1, required=True, type=PolicyPath())
@click.option("-k", "pattern", default="", help="Run only cases whose name has this text in it.")
@click.option("--coverage", "is_covered", is_flag=True, help="Show what the cases leave unseen.")
@click.option(
    "--fail-under", type=click.FloatRange(0, 100), help="Exit with 4 when less than this share (%) is covered."
)
@click.option("-v", "--verbose", is_flag=True, help="List every case, not only those that fail.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    show_default=True,
    help="How to print the results.",
)
@scoring_options
def command(
    rules: tuple[str, ...], pattern: str, is_covered: bool, fail_under: float | None, verbose: bool, output: str,
    scoring: Scoring,
) -> None:  # fmt: skip
    """Run the examples and tests of policy files.

    Coverage asks three things: has every rule been seen with every verdict that it can have, every single condition
    true and false, and every threshold kept and just missed?

    What a text expresses is scored as in `bylaw audit`; a case that hangs on a score that cannot be told fails, and
    says why.

    Exit code 0 when all cases pass, 1 when one fails or a policy is not sound, 2 when a file cannot be read, 4 when
    coverage is below --fail-under.
    """
    code, files = 0, []
    for path in rules:
        done = _run(path, pattern, output != "text", scoring)
        code = max(code, done["code"])
        if done["coverage"] is not None and fail_under is not None and done["coverage"]["share"] * 100 < fail_under:
            code = max(code, GATE_FAILED)
        files.append(done)
        if output == "text":
            _print(done, is_covered or fail_under is not None, verbose)
    if output == "junit":
        click.echo(_as_junit(files))
    elif output == "json":
        shown = [{key: value for key, value in done.items() if key != "code"} for done in files]
        click.echo(json.dumps({"ok": code == 0, "files": shown}, ensure_ascii=False, indent=2))
    raise SystemExit(code)


def _run(path: str, pattern: str, is_quiet: bool, scoring: Scoring) -> dict[str, Any]:
    """One file, as JSON values: its cases, its coverage and its exit code."""
    from bylaw.compiler.cases import cases
    from bylaw.compiler.coverage import coverage
    from bylaw.compiler.pipeline import compile_file
    from bylaw.spec.errors import PolicyError, to_json

    done: dict[str, Any] = {"path": path, "code": 0, "diagnostics": [], "cases": [], "coverage": None}
    try:
        compiled = compile_file(path)
    except PolicyError as error:
        if not is_quiet:
            show(error.diagnostics, error.source)
        return done | {"code": UNUSABLE, "diagnostics": [to_json(d, error.source) for d in error.diagnostics]}
    if not is_quiet:
        show([found for found in compiled.diagnostics if found.is_error], compiled.source)
    done["diagnostics"] = [to_json(d, compiled.source) for d in compiled.diagnostics]
    done["code"] = 0 if compiled.ok else POLICY_ERROR
    if compiled.draft is None or compiled.regulators is None:
        return done
    with scoring_refused():
        all_cases = cases(compiled.regulators, compiled.draft, _scored(compiled, compiled.draft, path, scoring))
        done["coverage"] = _coverage_data(coverage(compiled.regulators, compiled.draft, all_cases), compiled)
    chosen = [case for case in all_cases if pattern in case.name]
    done["cases"] = [_case_data(case, compiled) for case in chosen]
    # A failing case is among the errors, unless only a score decides it; with -k only the chosen ones count.
    if all(found.code in OF_CASES for found in compiled.diagnostics if found.is_error):
        done["code"] = 0 if all(case.passed for case in chosen) else POLICY_ERROR
    return done


def _scored(compiled: Compiled, draft: RewardProgram, path: str, scoring: Scoring) -> Callable[[Trace], Trace]:
    """What adds scores to the conversations of cases, one question at a time."""
    from bylaw.compiler.analysis import unchanged

    scorers = scorers_or_exit(compiled, path, scoring)
    if not scorers.by_concept:
        return unchanged
    from bylaw.runtime.scorers._live import live_trace
    from bylaw.runtime.scorers.asking import Asker

    asker = Asker.of(draft, scorers)
    return lambda trace: live_trace(trace, asker)


def _case_data(case: Case, compiled: Compiled) -> dict[str, Any]:
    line, _ = compiled.source.position(case.extent.start)
    data = {"name": case.name, "kind": case.kind, "line": line, "passed": case.passed}
    why = {} if case.reason is None else {"reason": case.reason}
    return data | {"expected": case.expected, "found": dict(case.found)} | why


def _coverage_data(found: Coverage, compiled: Compiled) -> dict[str, Any]:
    def words(start: int, end: int) -> str:
        return " ".join(compiled.source.text[start:end].split())

    return {
        "share": found.share,
        "counts": {name: {"seen": seen, "possible": possible} for name, (seen, possible) in found.counts.items()},
        "rules": [
            {"rule": rule.rule, "seen": list(rule.seen), "unseen": [v for v in rule.possible if v not in rule.seen]}
            for rule in found.rules
        ],
        "conditions": [
            {
                "of": each.owner,
                "condition": each.fact or words(each.extent.start, each.extent.end),
                "seen": list(each.seen),
            }
            for each in found.conditions
        ],
        "thresholds": [
            {
                "rule": each.rule,
                "sentence": words(each.extent.start, each.extent.end),
                "nearest_kept": each.nearest_kept,
                "nearest_broken": each.nearest_broken,
                "near_miss": each.has_near_miss,
            }
            for each in found.thresholds
        ],
    }


def _as_junit(files: list[dict[str, Any]]) -> str:
    from bylaw.runtime.cli.formats import Case as Shown
    from bylaw.runtime.cli.formats import Failure, junit

    shown = []
    for done in files:
        for case in done["cases"]:
            found = ", ".join(f"{rule} {verdict}" for rule, verdict in case["found"].items()) or "nothing"
            failure = Failure(case["expected"], f"line {case['line']}: found {found}", "")
            shown.append(Shown(done["path"], case["name"], () if case["passed"] else (failure,)))
        if done["coverage"] is None:
            errors = tuple(Failure(d["code"], d["message"], "") for d in done["diagnostics"])
            shown.append(Shown(done["path"], "is sound", errors=errors))
    return junit("bylaw test", shown)


# ---------------------------------------------------------------------------------------------------------- tables
def _print(done: dict[str, Any], is_covered: bool, verbose: bool) -> None:
    for case in done["cases"]:
        if verbose or not case["passed"]:
            found = ", ".join(f"`{rule}` {verdict}" for rule, verdict in case["found"].items())
            shown = "" if case["passed"] else f"  found: {found or 'nothing'}"
            click.echo(f"{MARKS[case['passed']]:6}  line {case['line']}: {case['name']}{shown}")
            if not case["passed"] and "reason" in case:
                click.echo(f"        {case['reason']}")
    failed = sum(not case["passed"] for case in done["cases"])
    total = len(done["cases"])
    if done["coverage"] is None:
        click.echo(f"{done['path']}: not sound, so nothing was run")
        return
    share = done["coverage"]["share"]
    covered = f"; {share:.0%} covered" if is_covered else ""
    click.echo(f"{done['path']}: {total - failed} of {total} cases pass{covered}")
    if is_covered:
        _print_coverage(done["coverage"])


def _nearest(threshold: dict[str, Any]) -> str:
    if threshold["nearest_broken"] is None:
        return "nothing breaks it"
    return "nothing keeps it" if threshold["nearest_kept"] is None else f"nearest is {threshold['nearest_broken']:g}"


def _print_coverage(found: dict[str, Any]) -> None:
    names = {
        "verdicts": "verdicts of rules",
        "conditions": "conditions, true and false",
        "thresholds": "thresholds with a near miss",
    }
    for key, name in names.items():
        count = found["counts"][key]
        click.echo(f"  {name}: {count['seen']} of {count['possible']}")
    for rule in found["rules"]:
        if rule["unseen"]:
            click.echo(f"    `{rule['rule']}` was never seen with: {', '.join(rule['unseen'])}")
    for each in found["conditions"]:
        missing = [value for value in (True, False) if value not in each["seen"]]
        if missing:
            never = " or ".join(str(value).lower() for value in missing)
            click.echo(f"    `{each['of']}`: never {never}: {each['condition']}")
    for each in found["thresholds"]:
        if not each["near_miss"]:
            nearest = _nearest(each)
            click.echo(f"    `{each['rule']}`: no near miss ({nearest}): {each['sentence']}")
