"""A whole campaign on a closed foundation: CHGNet's numbers, SevenNet's features, EMT's labels."""


def test_a_campaign_corrects_a_calculator(small_campaign):
    campaign = small_campaign(
        foundation={
            "kind": "calculator",
            "import_path": "chgnet.model.dynamics.CHGNetCalculator",
            "arguments": {"use_device": "cpu"},
            "features": {"kind": "sevennet", "model": "7net-0"},
        }
    )
    campaign.finish()
    (round_,) = campaign.status()["rounds"]
    errors = round_["held_out"]
    assert errors["force_mae_served"] < errors["force_mae_foundation"] / 1.5
    assert "calculator chgnet.model.dynamics.CHGNetCalculator with 4 heads" in (
        campaign.folder / "report.html"
    ).read_text(encoding="utf-8")
