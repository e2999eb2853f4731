"""What is wrong with the environment is said in one message, with exit code 2, and nothing is changed."""

import pytest


def run(campaign, command="run", **environment):
    return campaign.call(command, campaign.config, **environment)


def refused(result, *words):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_an_engine_that_is_not_installed(small_campaign):
    campaign = small_campaign(label={"engine": {"engine": "ase", "calculator": "no_such_module.Calculator"}})
    refused(run(campaign), "no_such_module")
    assert not campaign.folder.exists()


def test_elements_the_foundation_does_not_know(small_campaign, tmp_path):
    (tmp_path / "radium.xyz").write_text("1\n\nRn 0 0 0\n")
    campaign = small_campaign(systems=[{"file": "radium.xyz"}])
    refused(run(campaign), "Rn", "radium")
    assert not campaign.folder.exists()


def test_a_server_that_does_not_answer(small_campaign, tmp_path):
    secret = tmp_path / "uri"
    secret.write_text("mongodb://user:secret@localhost:9/al")
    secret.chmod(0o600)
    campaign = small_campaign(store={"uri_file": str(secret)})
    result = run(campaign)
    refused(result, "MongoDB")
    assert "secret" not in result.stderr + result.stdout
    assert not campaign.folder.exists()


def test_a_folder_that_cannot_be_written(small_campaign, tmp_path):
    (tmp_path / "file").write_text("in the way")
    campaign = small_campaign(folder=str(tmp_path / "file" / "run"))
    refused(run(campaign), "folder")


def test_a_resumed_campaign_keeps_its_settings(small_campaign):
    small_campaign().kill_in("hold_out")
    campaign = small_campaign(select={"labels_per_round": 7})
    before = campaign.status()
    refused(run(campaign), "select.labels_per_round")
    assert campaign.status() == before


@pytest.mark.parametrize("command", ["status", "report"])
def test_nothing_to_show_before_the_first_run(small_campaign, command):
    campaign = small_campaign()
    refused(run(campaign, command), "al-loop run")
    assert not campaign.folder.exists()


def test_a_guard_stops_the_campaign_with_exit_code_3(small_campaign):
    campaign = small_campaign(
        label={
            "workers": 1,
            "engine": {"engine": "ase", "calculator": "counting_emt.BrokenEMT", "arguments": {}},
            "retry": {"delay_s": 0},
        }
    )
    result = run(campaign)
    assert result.returncode == 3, result.stderr
    assert "calculations failed" in result.stderr
    assert "EMT is broken" in result.stderr
