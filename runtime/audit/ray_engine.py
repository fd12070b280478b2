"""The audit as a Ray Data job on a cluster: the same record as on one machine, bit for bit.

Each part of the files is a row of the job's data set, and a worker reads it where it runs: texts travel neither through
Ray's memory nor to the driver. All machines have to see the files under the same path. Parts are done by tasks, not by
actors: Ray does the tasks of a machine that is lost again on any other at once, while an actor waits for a free core
to start anew, and the parts that it was given wait with it.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import pickle
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bylaw
from bylaw.compiler.program import RewardProgram, scores_in, to_json
from bylaw.runtime.audit.audit import MAXIMUM_FINDINGS, Audited, gather
from bylaw.runtime.audit.file_parts import PART_BYTES, FilePart, cut
from bylaw.runtime.audit.inputs import DEFAULT_LIMITS, ColumnNames, Limits
from bylaw.runtime.audit.part_answers import Answer, join
from bylaw.runtime.audit.ray_worker import Job, audit_batch, verdict_file
from bylaw.spec.source import Source

RETRIES = 8
"""How often a part is done again whose worker or machine was lost, before the audit ends with an error."""
_LOCAL_STORE = 200_000_000
_SECONDS_TO_CONNECT = 5
_LAST_PORT = 65_535

Progress = Callable[[int, int], None]


class RayError(Exception):
    """The audit cannot be done on Ray; text fit for users."""


@dataclass(frozen=True, slots=True)
class RayAudit:
    """The audit and what it ran on. `lost` is how many machines were gone at the end of those at its beginning."""

    audited: Audited
    machines: int
    lost: int
    parts: int


def audit_on_ray(
    program: RewardProgram,
    path: str | Path,
    *,
    policy: Source,
    columns: ColumnNames | None = None,
    limits: Limits = DEFAULT_LIMITS,
    address: str = "auto",
    max_findings: int = MAXIMUM_FINDINGS,
    verdicts: str | Path | None = None,
    progress: Progress | None = None,
    part_bytes: int | None = None,
) -> RayAudit:
    """Audits the transcripts of a file or a folder on a Ray cluster, as `read_transcripts` and `measure` do here.

    `address` is that of the cluster: `auto` finds the one that this machine belongs to, `local` starts Ray on this
    machine alone. Where this process is connected already, that connection is used and kept. `verdicts` is a folder to
    make, on all machines the same, for a table of Parquet with the verdicts on each part; it is whole or missing.
    `progress` is told (parts done, parts). A table is cut into parts of about `part_bytes` of text (else 64 MB).
    Raises RayError (no Ray, no cluster, rules that ask what a text expresses, machines without the files, a part that
    keeps failing), TranscriptError as `read_transcripts`.
    """
    _require_deterministic(program)
    ray = _library()
    source, path = str(path), Path(path)
    files = cut(path, limits, PART_BYTES if part_bytes is None else part_bytes)
    with _new_folder(verdicts) as beside, _quiet(), _connected(ray, address):
        job = Job(
            to_json(program, None), bylaw.__version__, columns or ColumnNames(), limits, max_findings,
            None if beside is None else str(beside.absolute()),
        )  # fmt: skip
        machines = _machines(ray)
        answers = _answers(ray, [part for file in files for part in file.parts], job, progress)
        joined = join(path, files, answers, limits)
        if beside is not None:
            _require_verdicts(beside, joined.used, len(answers))
        lost = len(machines - _machines(ray))
    audited = gather(
        program, joined.tallied, source=source, policy=policy, problems=joined.problems, max_findings=max_findings
    )
    return RayAudit(audited, len(machines), lost, len(answers))


def _require_deterministic(program: RewardProgram) -> None:
    for term in program.terms:
        for each in scores_in(term):
            raise RayError(
                f"the rule `{term.rule}` asks whether a text expresses `{each.concept.name}`, and scorers of concepts "
                "stay on this machine: on Ray only rules are audited that need none; leave out --engine ray"
            )


def _library() -> Any:
    try:
        importlib.import_module("pyarrow")
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError:
        raise RayError(
            "auditing on Ray needs the extra `ray` (ray or pyarrow is missing): "
            "install bylaw with it, as in pip install '.[ray]'"
        ) from None
    return ray


# -------------------------------------------------------------------------------------------------------- the cluster
@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """A connection to the cluster; one that was there before stays."""
    if ray.is_initialized():
        yield
        return
    _require_reachable(address)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    with _own_folder(address) as folder:
        if folder is not None:
            options |= {"include_dashboard": False, "object_store_memory": _LOCAL_STORE, "_temp_dir": folder}
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError, OSError, AssertionError, SystemExit) as error:
            raise _unreachable(address, _first_line(error).split(". ")[0]) from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _own_folder(address: str) -> Iterator[str | None]:
    """A temporary folder of its own for Ray on this machine alone: another Ray here shares nothing with it. The paths
    of its sockets must be short. None for a cluster that runs already."""
    if address != "local":
        yield None
        return
    place = "/tmp" if os.path.isdir("/tmp") else None
    with tempfile.TemporaryDirectory(prefix="bylaw-ray-", dir=place, ignore_cleanup_errors=True) as folder:
        yield folder


def _require_reachable(address: str) -> None:
    """Raises RayError where nobody listens at the address: Ray itself would try for minutes, and end the process."""
    asked = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if asked in ("auto", "local"):
        return
    host, _, port = asked.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise RayError(f"`{asked}` is no address of a Ray cluster: write HOST:PORT, `auto` or `local`")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise _unreachable(asked, (error.strerror or str(error)).lower()) from None


def _unreachable(address: str, reason: str) -> RayError:
    return RayError(
        f"the Ray cluster at `{address}` cannot be used ({reason}): start one with `ray start --head`, name its "
        "address with --ray-address HOST:PORT, or use --ray-address local for this machine alone"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray reports nothing to its makers, and its own messages do not mix with what is printed: it prints some of them
    on standard output. What matters of them is in the errors and in `RayAudit`."""
    names = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    before = {name: os.environ.get(name) for name in names}
    loggers = [(logger, logger.level) for logger in map(logging.getLogger, ("ray", "ray.data"))]
    os.environ.update(names)
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in loggers:
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _machines(ray: Any) -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _answers(ray: Any, parts: Sequence[FilePart], job: Job, progress: Progress | None) -> list[Answer]:
    """What became of each part, in order. Raises RayError where a machine cannot do its work, or the job fails."""
    if not parts:
        return []
    context = ray.data.DataContext.get_current()
    shown, context.enable_progress_bars = context.enable_progress_bars, False
    found: dict[int, Answer] = {}
    try:
        rows = [{"number": number, "part": pickle.dumps(part)} for number, part in enumerate(parts)]
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        with warnings.catch_warnings():  # Ray 2.64 wants the number of retries said in another way
            warnings.simplefilter("ignore", DeprecationWarning)
            work = data.map_batches(audit_batch, fn_kwargs={"job": job}, batch_size=1, num_cpus=1, max_retries=RETRIES)
        for row in work.iter_rows():
            one: Answer = pickle.loads(row["answer"])
            if one.refused is not None:
                raise RayError(one.refused)
            found[one.number] = one
            if progress is not None:
                progress(len(found), len(parts))
    except ray.exceptions.RayError as error:
        raise RayError(_failed(error)) from None
    finally:
        context.enable_progress_bars = shown
    if len(found) < len(parts):
        raise RayError(f"the job gave back {len(found):,} of {len(parts):,} parts")
    return [found[number] for number in range(len(parts))]


def _failed(error: BaseException) -> str:
    if "No module named 'bylaw" in str(error):
        return f"bylaw is not installed on all machines of the cluster: install {bylaw.__version__} there as here"
    return f"the job on Ray failed: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:300]


# ---------------------------------------------------------------------------------------------------------- verdicts
@contextmanager
def _new_folder(wanted: str | Path | None) -> Iterator[Path | None]:
    """A folder beside the one that is wanted, which takes its name at the end; nothing is left where that fails."""
    if wanted is None:
        yield None
        return
    place = Path(wanted)
    beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
        if place.exists():
            raise RayError(f"`{place}` is there already: verdicts go into a new folder")
        beside.mkdir(parents=True)
        yield beside
        beside.rename(place)
    except OSError as error:
        raise RayError(f"`{place}` cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(beside)


def _require_verdicts(folder: Path, used: Iterable[int], count: int) -> None:
    """Takes away what belongs to files that were left out. Raises RayError where tables are missing here."""
    wanted = {verdict_file(number) for number in used}
    for number in range(count):
        name = verdict_file(number)
        if name not in wanted:
            (folder / name).unlink(missing_ok=True)
    missing = sum(not (folder / name).exists() for name in wanted)
    if missing:
        raise RayError(
            f"{missing:,} of {len(wanted):,} tables of verdicts are not here: `{folder.parent}` has to be the same "
            "folder on all machines of the cluster"
        )
    for rest in folder.glob(".part-*.tmp"):  # of a machine that was lost while it wrote
        rest.unlink(missing_ok=True)
