"""A whole campaign on a closed foundation: a Lennard-Jones calculator, a distilled model's features, EMT's labels.

A closed foundation that is a network, CHGNet, is trained and served in the tests of the committee.
"""

from campaigns import DISTILLED

LENNARD_JONES = "ase.calculators.lj.LennardJones"


def test_a_campaign_corrects_a_calculator(small_campaign):
    campaign = small_campaign(
        foundation={
            "kind": "calculator",
            "import_path": LENNARD_JONES,
            "arguments": {"epsilon": 0.4, "sigma": 2.3, "rc": 6.0, "smooth": True},
            "features": DISTILLED,
        }
    )
    campaign.finish()
    (round_,) = campaign.status()["rounds"]
    errors = round_["held_out"]
    assert errors["force_mae_served"] < errors["force_mae_foundation"] / 1.5
    assert f"calculator {LENNARD_JONES} with 4 heads" in (campaign.folder / "report.html").read_text(encoding="utf-8")
