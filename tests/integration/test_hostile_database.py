"""What a stranger writes into the database leads nowhere outside of the campaign's folder."""

import re

import numpy as np
import pytest
from ase.build import bulk
from bson import ObjectId

from al_loop.campaign import Campaign
from al_loop.errors import InputError
from al_loop.ledger import open_ledger
from al_loop.ledger.identity import start_campaign
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.campaign_folder import inside
from al_loop.utils.content_hash import frame_id
from committee.checkpoint import content_hash
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.jobs.result_files import result_path
from dft_interfaces.label import Label, LabelStatus

HOSTILE = ["../../x", "/etc/passwd", "..", "a/b", "round-000/../../../x", ""]


def test_a_served_model_elsewhere_is_refused(small_campaign):
    campaign = Campaign.from_file(small_campaign().config)
    model = campaign.folder / "models" / "round-099"
    model.mkdir(parents=True)
    with open_ledger(campaign.config.store, campaign.folder, campaign.config.name) as ledger:
        start_campaign(ledger, campaign.config, {})
        for round_, path in enumerate(HOSTILE):
            ledger.serve_model(ledger.add_model(round_, path, "fingerprint", "", {}), round_)
            with pytest.raises(InputError, match="which is outside of it"):
                campaign.served_model()
        for name in ("committee.json", "committee.safetensors"):
            (model / name).write_text(name)
        ledger.serve_model(ledger.add_model(99, "round-099", "fingerprint", content_hash(model), {}), 99)
        assert campaign.served_model() == model
        (model / "committee.safetensors").write_text("somebody else's")
        with pytest.raises(InputError, match=r"round-099 is another checkpoint than the one .* makes it again"):
            campaign.served_model()


def test_a_symbolic_link_does_not_lead_out(tmp_path):
    models, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    models.mkdir()
    elsewhere.mkdir()
    (models / "round-000").symlink_to(elsewhere)
    with pytest.raises(InputError, match="which is outside of it"):
        inside(models, "round-000")
    (tmp_path / "linked").symlink_to(models)  # the user's own, to another disk
    assert inside(tmp_path / "linked", "round-001").name == "round-001"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_result_lies_under_such_an_id(tmp_path, name):
    with pytest.raises(DFTInterfaceError, match="request id"):
        result_path(tmp_path, name)


DAMAGE = [
    ("frame", {"$set": {"atoms": b"no archive"}}),
    ("frame", {"$unset": {"atoms": ""}}),
    ("frame", {"$set": {"atoms_file": ObjectId("0" * 24)}, "$unset": {"atoms": ""}}),
    ("visit", {"$set": {"kind": "splendid"}}),
    ("visit", {"$set": {"atom_indices": b"abc"}}),
    ("visit", {"$set": {"descriptor": b"abc"}}),
    ("visit", {"$set": {"frame": "nobody's"}}),
    ("visit", {"$set": {"mine": 1}}),
    ("visit", {"$set": {"checks": {"spread": {"kind": 3}}}}),
    ("label", {"$set": {"status": 3}}),
    ("label", {"$set": {"forces_eV_per_A": b"abc"}}),
    ("label", {"$set": {"attempts": "[{]"}}),
    ("label", {"$set": {"stress_eV_per_A3": "text"}}),
    ("label", {"$unset": {"cost_s": ""}}),
    ("request", {"$set": {"label": "nobody's"}}),
    ("request", {"$set": {"mine": [1]}}),
    ("round", {"$set": {"stages.explore.results": "{"}}),
    ("round", {"$unset": {"stages.explore.finished_at": ""}}),
    ("campaign", {"$set": {"config": "[" * 100_000}}),
    ("campaign", {"$set": {"mine": 1}}),
    ("event", {"$set": {"data": 3}}),
    ("event", {"$unset": {"time": ""}}),
    ("model", {"$set": {"info": "\x00"}}),
]


@pytest.mark.parametrize(("collection", "damage"), DAMAGE, ids=str)
def test_a_document_of_somebody_elses_making_is_named(store, tmp_path, collection, damage):
    with open_ledger(store, tmp_path, "copper") as ledger:
        fill(ledger)
        stored = ledger._database[collection].find_one()
        ledger._database[collection].update_one({"_id": stored["_id"]}, damage)
        readers = [
            ledger.campaign_config,
            lambda: ledger.progress("explore"),
            lambda: ledger.stages(0),
            lambda: ledger.visits(0),
            lambda: ledger.candidates(0, Role.EXPLORE),
            lambda: ledger.labelled((Role.EXPLORE,), converged_only=False),
            ledger.events,
            ledger.models,
        ]
        said = [str(error) for error in map(failure, readers) if error is not None]
    assert said
    for message in said:
        assert re.search(r"^The document .* in the collection \w+ of the ledger cannot be read", message), message
        assert message.endswith("delete the document if another program wrote it")


@pytest.mark.parametrize(
    "note", [{}, {"version": "three"}, {"version": None}, {"version": [1]}, {"version": 99}], ids=str
)
def test_a_version_that_is_none(store, tmp_path, note):
    with open_ledger(store, tmp_path, "copper") as ledger:
        ledger._database["format"].replace_one({"_id": "version"}, note)
    for read_only in (False, True):
        with pytest.raises(InputError, match=r"version (99|.* cannot be read)"):
            with open_ledger(store, tmp_path, "copper", read_only=read_only):
                pass


def failure(read):
    """What a reader of the ledger raises on purpose; anything else is a failure of the test."""
    try:
        read()
    except InputError as error:
        return error
    return None


def fill(ledger):
    """One of everything."""
    atoms = bulk("Cu")
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED, "", (0,))
    visit = Frame(frame_id(atoms), atoms, Role.EXPLORE, "copper", "copper/600K/0", 5, 600.0, verdict)
    ledger.start_campaign({"seed": 1})
    ledger.replace_visits(0, [Role.EXPLORE], [visit])
    ledger.request_labels(0, Role.EXPLORE, [visit], "level")
    claimed = ledger.claim("worker", "level", 60)
    numbers = {"energy_eV": -1.0, "forces_eV_per_A": np.zeros((1, 3)), "stress_eV_per_A3": np.zeros(6)}
    assert ledger.complete(claimed, Label(LabelStatus.CONVERGED, "level", cost_s=1.0, **numbers))
    ledger.finish_stage(0, "explore", 0.1, {"frames": 1})
    ledger.event("note", "something happened")
    ledger.add_model(0, "round-000", "fingerprint", "", {})
