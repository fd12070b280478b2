"""Parting probes into a set to search with and a set to measure with, so that nothing is in both.

Probes that share a text they were made from are one family, whatever rules they are about: a variant of a prompt that
was searched with tells nothing new about the rate. Families are parted by chance, evenly for each rule.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bylaw.runtime.probes.probe import Probe, Set, root_of


def merged(probes: Iterable[Probe]) -> list[Probe]:
    """Each prompt once: probes with the same messages, facts and lean become one that is about all of their rules."""
    found: dict[object, Probe] = {}
    for probe in probes:
        pair = probe.aims if probe.relation else ()  # a pair stays a pair
        key = (probe.messages, tuple(sorted(probe.facts.items())), probe.lean, probe.relation, probe.part, pair)
        known = found.get(key)
        if known is None:
            found[key] = probe
            continue
        found[key] = replace(
            known,
            aims=tuple(dict.fromkeys((*known.aims, *probe.aims))),
            roots=tuple(dict.fromkeys((*known.roots, *probe.roots))),
            hangs_on_answer=known.hangs_on_answer or probe.hangs_on_answer,
        )
    unique: dict[str, Probe] = {}
    for probe in found.values():  # two leans may come to the same prompt about the same rules
        unique.setdefault(probe.id, probe)
    return list(unique.values())


def families(probes: Sequence[Probe]) -> list[str]:
    """The family of each probe: the least root of all that hang together."""
    parent: dict[str, str] = {}

    def top(root: str) -> str:
        parent.setdefault(root, root)
        while parent[root] != root:
            parent[root] = parent[parent[root]]
            root = parent[root]
        return root

    keys = [(*probe.roots, root_of(probe.text)) for probe in probes]
    for roots in keys:
        first = top(roots[0])
        for other in roots[1:]:
            low, high = sorted((first, top(other)))
            parent[high] = low
            first = low
    return [top(roots[0]) for roots in keys]


def parted(probes: Sequence[Probe], share: float, seed: int) -> tuple[Probe, ...]:
    """The probes with their families and sets. `share`: of the families of each rule that go to the search set, as near
    as whole families allow; a rule with one family has it in the estimation set, unless `share` is above one half.

    A family of which a probe is in the search set already (it was tried) goes there whole.
    """
    names = families(probes)
    aims: dict[str, set[str]] = defaultdict(set)
    fixed: dict[str, Set] = {}
    for name, probe in zip(names, probes, strict=True):
        aims[name] |= set(probe.aims)
        if probe.part is not None and fixed.get(name) != "search":
            fixed[name] = probe.part
    sets = _sets(aims, fixed, share, seed)
    return tuple(replace(probe, family=f"f-{name}", part=sets[name]) for name, probe in zip(names, probes, strict=True))


def _sets(aims: Mapping[str, set[str]], fixed: Mapping[str, Set], share: float, seed: int) -> dict[str, Set]:
    """Families in an order of chance, each to the set that its rules lack more of."""
    totals: dict[str, int] = defaultdict(int)
    for own in aims.values():
        for aim in own:
            totals[aim] += 1
    counts: dict[tuple[str, Set], int] = defaultdict(int)
    sets: dict[str, Set] = dict(fixed)
    # What many rules share goes first: families of one rule even out what that leaves uneven.
    order = sorted(aims, key=lambda name: (-len(aims[name]), hashlib.sha256(f"{seed}\0{name}".encode()).digest()))
    for name in (*(each for each in order if each in fixed), *(each for each in order if each not in fixed)):
        if name not in sets:
            for_search = sum(share * totals[aim] - counts[aim, "search"] for aim in aims[name])
            for_estimation = sum((1.0 - share) * totals[aim] - counts[aim, "estimation"] for aim in aims[name])
            sets[name] = "search" if for_search > for_estimation else "estimation"
        for aim in aims[name]:
            counts[aim, sets[name]] += 1
    return sets
