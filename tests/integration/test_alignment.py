"""A campaign whose labels do not fit its foundation stops before it trains, and goes on once that is confirmed."""

import json

import yaml

from al_loop import load_config
from al_loop.ledger import open_ledger

SLIPPED = "slipped_emt.SlippedEMT"


def run(campaign, expected):
    """Run the campaign to an exit code and return its standard error."""
    done = campaign.call("run", campaign.config, "--json")
    assert done.returncode == expected, done.stderr
    return done.stderr


def change(campaign, **blocks):
    config = yaml.safe_load(campaign.config.read_text())
    campaign.config.write_text(yaml.safe_dump({**config, **blocks}))


def events(campaign, kind):
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        return [event.message for event in ledger.events() if event.kind == kind]


def test_labels_that_do_not_fit_the_foundation_stop_until_that_is_confirmed(small_campaign):
    arguments = {"force_factor": 0.03889, "energy_spread_eV": 40.0}
    engine = {"engine": "ase", "calculator": SLIPPED, "arguments": arguments}
    campaign = small_campaign(label={"workers": 2, "lease_s": 5, "engine": engine})
    said = run(campaign, 3)
    assert "Functional: engine ase does not name one" in said
    assert "the forces are in Ry/bohr" in said
    assert "align.on_unit_mismatch: warn" in said
    assert not list(campaign.folder.glob("models/*"))
    assert any("Ry/bohr" in message for message in events(campaign, "alignment"))

    change(campaign, align={"on_unit_mismatch": "warn"})
    assert "align.accept_residual_spread_eV_per_atom" in run(campaign, 3)
    assert not list(campaign.folder.glob("models/*"))

    change(campaign, align={"on_unit_mismatch": "warn", "accept_residual_spread_eV_per_atom": 50.0})
    run(campaign, 0)
    assert len(campaign.status()["rounds"]) == 1
    noted = events(campaign, "level of theory")
    assert len(noted) == len(set(noted)) > 0
    assert "Functional: engine ase" in (campaign.folder / "report.html").read_text()

    exchange_level(campaign)
    assert "another level of theory than the engine gives now" in run(campaign, 2)


def exchange_level(campaign):
    """Leave the ledger as if a pseudopotential file had been another one then, under the same settings."""
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        stored = ledger.campaign_config()
        stored["level_of_theory"]["fingerprint"] = "0123456789abcdef"
        ledger._docs.campaign.objects(id=ledger.campaign).update_one(set__config=json.dumps(stored))
