"""What a campaign serves watches a run, and what the run met waits in the campaign's ledger."""

import json

import numpy as np
from ase.build import bulk
from ase.io import read, write


def monitor(campaign, *arguments):
    return campaign.call("monitor", *arguments)


def test_a_campaigns_model_watches_and_hands_back_what_it_doubts(small_campaign):
    campaign = small_campaign()
    campaign.finish()
    far = bulk("Cu", cubic=True)
    far.rattle(0.3, rng=np.random.default_rng(0))
    write(campaign.config.parent / "far.extxyz", far)
    options = ("--model", campaign.config, "--harvest", campaign.config, "--json")
    ran = monitor(campaign, *options, "far.extxyz", "--steps", 10, "--every", 2, "--timestep", 2)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["checks"], told["own_evaluations"]) == (6, 0)
    assert told["handed_over"] == told["stored"] >= 1
    stored = read(campaign.config.parent / "monitor-alarms.extxyz", ":")
    assert len(stored) == told["stored"]

    refused = monitor(campaign, *options, "--trajectory", "monitor-alarms.extxyz")
    assert refused.returncode == 2
    assert "--snapshots: monitor-alarms.extxyz is an input" in refused.stderr
    again = monitor(campaign, *options, "--trajectory", "monitor-alarms.extxyz", "--snapshots", "again.extxyz")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["alarms"] == len(stored)
    stopped = monitor(campaign, "--model", campaign.config, "far.extxyz", "--steps", 10, "--on-alarm", "stop")
    assert stopped.returncode == 3, stopped.stderr
