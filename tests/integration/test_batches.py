"""Rounds in batches, with a quorum, and started by what comes from outside: small real campaigns."""

import json
import signal
import subprocess
import sys
import time

import pytest
from ase.build import bulk
from campaigns import add_labels

from al_loop import load_config
from al_loop.ledger import open_ledger
from al_loop.ledger.import_log import note_atom_energies
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from dft_interfaces.engines import build_engine

pytestmark = pytest.mark.long

PATIENCE_S = 240
EXPLORE = {"temperatures_K": [600], "timestep_fs": 2.0, "steps": 30, "check_every": 5, "replicas": 2, "batches": 2}
FAST = {"train": {"epochs": 10}, "promote": {"nve_steps": 10, "foundation_frames": 2}}


def training_set(campaign):
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        frames = ledger.labelled((Role.EXPLORE,))
        stages = {name: stage["results"] for name, stage in ledger.stages(0).items()}
    return {(f.round, f.frame_id, f.label.energy_eV) for f in frames}, stages


def test_a_kill_within_batches_leaves_the_training_set_as_it_would_have_been(small_campaign, tmp_path):
    campaign = small_campaign(explore=EXPLORE, **FAST)
    campaign.finish()
    undisturbed, stages = training_set(campaign)
    assert stages["select"]["selected"] == 2
    assert stages["select-2"]["selected"] == 3
    assert [e["stage"] for e in events(campaign, "stage")][1:5] == ["explore", "select", "explore-2", "select-2"]
    assert len(undisturbed) == 5

    (tmp_path / "run").rename(tmp_path / "run-undisturbed")
    campaign.count_file.unlink()
    for stage in ("explore", "select", "explore-2", "select-2", "label"):
        campaign.kill_in(stage, delay_s=0.02)
    campaign.finish()
    disturbed, again = training_set(campaign)
    assert disturbed == undisturbed
    assert again["select-2"] == stages["select-2"]
    assert set(campaign.calculations().values()) == {1}


def test_a_quorum_goes_on_without_stragglers_and_loses_none(small_campaign):
    """A worker holds the first frame for longer than all others take; the next round has it."""
    campaign = small_campaign(
        rounds=2, explore=EXPLORE, **FAST, label={"workers": 2, "quorum": 0.4, "engine": slow(small_campaign)}
    )
    campaign.finish()
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        trained = [ledger.stage_results(round_, "train")["labels"] for round_ in (0, 1)]
        frames = ledger.labelled((Role.EXPLORE,))
        asked = sum(ledger.stage_results(r, name)["selected"] for r in (0, 1) for name in ("select", "select-2"))
        assert ledger.open_requests() == 0
    assert 2 <= trained[0] < 5
    assert trained[1] == len(frames) == asked
    assert sum(r["labels"] for r in campaign.status()["rounds"]) == asked
    assert sum(r["labels_held_out"] for r in campaign.status()["rounds"]) == 14


def slow(small_campaign):
    made = small_campaign()
    return {
        "engine": "ase",
        "calculator": "counting_emt.CountingEMT",
        "arguments": {"count_file": str(made.count_file), "pause_s": 0.5},
    }


def test_watching_starts_a_round_for_what_comes_in_and_ends_with_ctrl_c(small_campaign):
    campaign = small_campaign(explore=EXPLORE, watch={"suspects": 3, "labels": 2, "every_s": 0.2}, **FAST)
    with (campaign.config.parent / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "al_loop.cli", "run", str(campaign.config), "--watch"],
            stdout=output,
            stderr=output,
            env=campaign.environment(),
            cwd=campaign.config.parent,
        )
    try:
        watched(campaign, process)
        wait_until_it_watches(campaign, process, times=3)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, campaign.output()
    assert "The watching has ended." in campaign.output()
    assert len(campaign.status()["rounds"]) == 3


def watched(campaign, process):
    """Let frames and labels come in until two further rounds are done."""
    wait_for_report(campaign, process, 0)
    config = load_config(campaign.config)
    level = build_engine(config.label.engine).level_of_theory.fingerprint
    with open_ledger(config.store, config.folder, config.name) as ledger:
        assert ledger.add_harvested([harvested(seed) for seed in range(2)]) == 2
        assert ledger.add_harvested([harvested(seed) for seed in range(3)]) == 1  # what is known is not new
        wait_for_report(campaign, process, 1)
        assert ledger.stage_results(1, "explore")["harvested"] == 3
        chosen = {f for name in ("select", "select-2") for f in ledger.stage_results(1, name)["frames"]}
        assert chosen & {harvested(seed).frame_id for seed in range(3)}

        labels = [f.label for f in ledger.labelled((Role.EXPLORE,), (0,))][:2]
        imported = [harvested(10 + i) for i in range(2)]
        assert {label.level_of_theory for label in labels} == {level}
        note_atom_energies(ledger, level, {"Cu": 3.5}, {"Cu": "atoms.xyz, frame 0"})
        assert add_labels(ledger, imported, labels) == 2
        assert add_labels(ledger, imported, labels) == 0
        wait_for_report(campaign, process, 2)
        trained = {f.frame_id for f in ledger.labelled((Role.EXPLORE,), (2,))}
        assert {visit.frame_id for visit in imported} <= trained
        explored = [ledger.stage_results(round_, "explore") for round_ in (1, 2)]
        assert len(explored[1]["asked_before"]) == 2
        assert [results["isolated_atoms_eV"] for results in explored] == [{}, {"Cu": 3.5}]
        said = {round_: " ".join(e.message for e in ledger.events("alignment", round_)) for round_ in (1, 2)}
        assert "Isolated atoms alone" not in said[1]
        assert "Isolated atoms alone would leave" in said[2]


def wait_until_it_watches(campaign, process, times):
    """Wait until the campaign says so again: Ctrl-C during a round stops that round."""
    deadline = time.monotonic() + PATIENCE_S
    while (campaign.config.parent / "output.txt").read_text().count("Watching for") < times:
        assert process.poll() is None, campaign.output()
        assert time.monotonic() < deadline, campaign.output()
        time.sleep(0.1)


def wait_for_report(campaign, process, round_):
    deadline = time.monotonic() + PATIENCE_S
    while not any(e["round"] == round_ for e in events(campaign, "round")):
        assert process.poll() is None, campaign.output()
        assert time.monotonic() < deadline, campaign.output()
        time.sleep(0.1)


def events(campaign, kind):
    log = campaign.folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [e for e in (json.loads(line) for line in lines if line.endswith("}")) if e["event"] == kind]


def harvested(seed):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=100 + seed)
    atoms.info["charge"] = 0
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "0.4 eV/Å")
    return Frame(frame_id(atoms), atoms, Role.HARVESTED, "copper", f"production/{seed}", 7, 600.0, verdict, 0.4, 2.0)
