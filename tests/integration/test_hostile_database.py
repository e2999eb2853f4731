"""What a stranger writes into the database leads nowhere outside of the campaign's folder."""

import pytest
from ase.build import bulk

from al_loop.campaign import Campaign
from al_loop.errors import InputError
from al_loop.folder import inside
from al_loop.identity import start_campaign
from al_loop.ledger import open_ledger
from committee.checkpoint import content_hash
from committee.errors import TrainingDataError
from committee.tangents import cached_tangents
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.jobs.result_files import result_path

HOSTILE = ["../../x", "/etc/passwd", "..", "a/b", "round-000/../../../x", ""]


def test_a_served_model_elsewhere_is_refused(small_campaign):
    campaign = Campaign.from_file(small_campaign().config)
    model = campaign.folder / "models" / "round-099"
    model.mkdir(parents=True)
    with open_ledger(campaign.config.store, campaign.folder, campaign.config.name) as ledger:
        start_campaign(ledger, campaign.config, {})
        for round_, path in enumerate(HOSTILE):
            ledger.serve_model(ledger.add_model(round_, path, "fingerprint", "", {}), round_)
            with pytest.raises(InputError, match="leads elsewhere"):
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
    with pytest.raises(InputError, match="leads elsewhere"):
        inside(models, "round-000")
    (tmp_path / "linked").symlink_to(models)  # the user's own, to another disk
    assert inside(tmp_path / "linked", "round-001").name == "round-001"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_result_lies_under_such_an_id(tmp_path, name):
    with pytest.raises(DFTInterfaceError, match="request id"):
        result_path(tmp_path, name)


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_cached_under_such_an_id(tmp_path, name):
    with pytest.raises(TrainingDataError, match="name of a file"):
        cached_tangents(None, [(name, bulk("Cu"))], tmp_path)
    assert list(tmp_path.iterdir()) == []
