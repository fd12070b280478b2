"""A target's files with the manifest that names them all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bylaw.compiler.targets import catalog
from bylaw.compiler.targets._files import MANIFEST, json_file, sha256
from bylaw.compiler.targets.interface import Inputs, Made

SCHEMA_VERSION = 1


def bundle(name: str, inputs: Inputs) -> tuple[dict[str, Any], Made]:
    """(the manifest, all files with it): whose they are, what each holds, what the target leaves out. Raises
    TargetError."""
    made = catalog.target(name).build(inputs)
    program = inputs.program
    budgets = {term.id: term.multiplier for term in program.terms if term.multiplier is not None}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "target": name,
        "policy": program.policy,
        "version": program.version,
        "digest": program.digest,
        "bylaw": inputs.bylaw,
        **({"multipliers": budgets} if budgets else {}),
        "files": {path: f"sha256:{sha256(data)}" for path, data in sorted(made.files.items())},
        "left_out": [{"what": each.what, "reason": each.reason, "count": each.count} for each in made.left_out],
        "notes": list(made.notes),
    }
    return manifest, replace(made, files={**made.files, MANIFEST: json_file(manifest)})
