"""Charge, spin and initial moments from the config to the engine and into the training frames, bit for bit."""

import json

import pytest
from campaigns import SEVENNET

from al_loop import Campaign
from al_loop.ledger import open_ledger
from al_loop.records import Role
from al_loop.utils.content_hash import frame_id

pytestmark = pytest.mark.long

MOMENTS = [1.0 / 3.0, -2.0, 0.1, 0.0]


def test_charge_spin_and_moments_arrive_everywhere(small_campaign, tmp_path):
    record = tmp_path / "record.jsonl"
    engine = {"engine": "ase", "calculator": "recording_emt.RecordingEMT", "arguments": {"record_file": str(record)}}
    campaign = small_campaign(
        foundation=SEVENNET,  # the small model of the other campaigns takes a charge for molecules alone
        systems=[
            {
                "file": "copper.cif",
                "charge": 1,
                "spin_multiplicity": 4,
                "initial_magnetic_moments": MOMENTS,
                "supercell": [1, 1, 2],
            }
        ],
        explore={"temperatures_K": [600], "timestep_fs": 2.0, "steps": 6, "check_every": 2},
        hold_out={"test_frames": 2, "calibration_frames": 2},
        select={"labels_per_round": 3},
        train={"epochs": 5},
        label={"workers": 1, "engine": engine},
    )
    campaign.finish()

    received = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(received) >= 7
    assert all(one == {"charge": 1, "spin": 4, "moments": MOMENTS * 2} for one in received)

    opened = Campaign.from_file(campaign.config)
    with open_ledger(opened.config.store, opened.folder, opened.config.name) as ledger:
        frames = ledger.labelled(tuple(Role))
    assert {frame.role for frame in frames} >= {Role.EXPLORE, Role.TEST, Role.CALIBRATION}
    for frame in frames:
        assert frame.converged
        assert (frame.atoms.info["charge"], frame.atoms.info["spin"]) == (1, 4)
        assert frame.atoms.get_initial_magnetic_moments().tolist() == MOMENTS * 2
        assert frame.frame_id == frame_id(frame.atoms)
        assert len({frame.frame_id, *_ids_of_others(frame.atoms)}) == 4


def _ids_of_others(atoms):
    charged, triplet, turned = (atoms.copy() for _ in range(3))
    charged.info["charge"] = 0
    triplet.info["spin"] = 2
    turned.set_initial_magnetic_moments(-atoms.get_initial_magnetic_moments())
    return frame_id(charged), frame_id(triplet), frame_id(turned)
