"""Export a campaign's labels and gated frames to a file, with their provenance."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from al_loop.errors import InputError
from al_loop.files import aselmdb, extxyz
from al_loop.files.gate_values import gate_values
from al_loop.ledger import Ledger
from al_loop.ledger.base import chunks
from al_loop.ledger.records import WORKER
from al_loop.records import UNGATED, Frame, LabelledFrame, Role
from al_loop.utils.paths import check_target, writing
from committee.atomic_write import replacing_path
from dft_interfaces.label import Label, LabelStatus

What = Literal["labels", "visits", "all"]
BLOCK: Final = 500


def export_file(
    ledger: Ledger,
    path: Path,
    what: What = "labels",
    rounds: Collection[int] | None = None,
    roles: Collection[Role] | None = None,
) -> int:
    """Write a campaign's frames to ``path`` (``.extxyz``, ``.xyz`` or ``.aselmdb``), which appears once it is complete.

    Args:
        ledger: of the campaign.
        path: of the file; an existing one is replaced.
        what: accepted labels, the gate's visits without labels, or both.
        rounds: of these only; by default all, and frames that no round has used yet (-1).
        roles: of these only.

    Returns:
        Number of frames written.

    Raises:
        InputError: another ending, a folder that is not there or not writable, or no such frames.
    """
    kind = file_kind(path)
    check_target("--to", path)
    frames = _frames(ledger, what, rounds, roles)
    with writing("--to", path), replacing_path(path) as part:
        try:
            count = (aselmdb.write_rows if kind == "aselmdb" else extxyz.write_frames)(part, frames)
        finally:
            part.with_name(f"{part.name}-lock").unlink(missing_ok=True)
        if count == 0:
            raise InputError(
                f"the campaign {ledger.campaign} has no {'frames' if what == 'all' else what} of these rounds and "
                "roles; nothing was written. al-loop status shows what it has"
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
    return count


def file_kind(path: Path) -> Literal["extxyz", "aselmdb"]:
    """Return the format of a file by its ending.

    Raises:
        InputError: neither.
    """
    if path.suffix in (".extxyz", ".xyz"):
        return "extxyz"
    if path.suffix == ".aselmdb":
        return "aselmdb"
    raise InputError(f"received the file {path}, expected a name that ends in .extxyz, .xyz or .aselmdb")


def named_roles(names: Collection[str] | None) -> list[Role] | None:
    """Turn names into roles; None for all.

    Raises:
        InputError: there is no such role.
    """
    known = [role.value for role in Role]
    for name in names or ():
        if name not in known:
            raise InputError(f"--role: received {name!r}, expected one of {', '.join(known)}")
    return [Role(name) for name in names] if names else None


def _frames(
    ledger: Ledger, what: What, rounds: Collection[int] | None, roles: Collection[Role] | None
) -> Iterator[Frame]:
    """Yield labels, then gated frames without a label; one block at a time is in memory."""
    every = (-1, *ledger.rounds()) if rounds is None else sorted(set(rounds))
    common = _common(ledger)
    labelled: set[str] = set()
    for round_ in every:
        for role in roles or tuple(Role):
            found = ledger.labelled((role,), (round_,))
            labelled |= {frame.frame_id for frame in found}
            if what != "visits":
                for block in chunks(found, BLOCK):
                    yield from _labels(ledger, block, common)
    if what == "labels":
        return
    for round_ in every:
        for role in roles or tuple(Role):
            yield from _visits(ledger, round_, role, labelled if what == "all" else set(), common)


def _labels(ledger: Ledger, block: Collection[LabelledFrame], common: dict[str, Any]) -> Iterator[Frame]:
    explored: dict[str, Frame] = {}
    for frame in ledger.visits(frames=[frame.frame_id for frame in block]):
        explored.setdefault(frame.frame_id, frame)
    entries = ledger.entries(frame.frame_id for frame in block)
    for frame in block:
        met = explored.get(frame.frame_id, frame)
        whole = replace(
            met,
            atoms=frame.atoms,
            role=frame.role,
            round=frame.round,
            system=frame.system,
            trajectory=frame.trajectory,
            label=frame.label,
            entries=entries[frame.frame_id],
        )
        yield replace(whole, provenance=stated_provenance(whole, common))


def _visits(ledger: Ledger, round_: int, role: Role, without: set[str], common: dict[str, Any]) -> Iterator[Frame]:
    ids = [one.frame_id for one in ledger.candidates(round_, role) if one.frame_id not in without]
    for block in chunks(ids, BLOCK):
        entries = ledger.entries(block)
        for frame in ledger.visits(round_, role, frames=block):
            yield replace(frame, provenance=stated_provenance(frame, common), entries=entries[frame.frame_id])


def _common(ledger: Ledger) -> dict[str, Any]:
    """Provenance common to all frames of a campaign."""
    stored = ledger.campaign_config() or {}
    versions: dict[str, list[str]] = {}
    for event in ledger.events():
        if event.kind == WORKER:
            for package, version in event.data.get("versions", {}).items():
                versions.setdefault(package, [])
                versions[package] += [] if version in versions[package] else [version]
    return {
        "campaign": ledger.campaign,
        "level": stored.get("level_of_theory", {}),
        "engine": stored.get("label", {}).get("engine", {}).get("engine"),
        "versions": versions,
    }


_REMARK: Final = "imported: "


def stated_provenance(frame: Frame, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an export states of a campaign's frame, as plain JSON values.

    Args:
        frame: with its label and the gate's verdict, as far as it has them.
        common: provenance of all frames of the campaign.
    """
    stated = {
        **common,
        "frame": frame.frame_id,
        "round": frame.round,
        "role": frame.role.value,
        "system": frame.system,
        "trajectory": frame.trajectory,
    }
    if frame.verdict is not UNGATED:
        stated |= gate_values(frame)
    if frame.label is None:
        return stated
    stated |= {"level_of_theory": frame.label.level_of_theory, "cost_s": frame.label.cost_s}
    earlier = _of_remark(frame.label)
    if earlier is not None:
        stated["origin"] = earlier.get("origin", earlier)  # where it was calculated, however often it travelled
    return stated


def as_remark(provenance: Mapping[str, Any]) -> str:
    """Return the remark of an imported label, which holds its provenance."""
    return _REMARK + json.dumps(provenance)


def _of_remark(label: Label) -> dict[str, Any] | None:
    """Return the provenance of an imported label, None for one that was calculated here."""
    if label.status is not LabelStatus.CONVERGED or not label.message.startswith(_REMARK):
        return None
    try:
        found = json.loads(label.message.removeprefix(_REMARK))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
