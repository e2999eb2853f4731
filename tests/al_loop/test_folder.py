"""The campaign's folder: one process at a time, and nothing left behind by a start that failed."""

import pytest

from al_loop.errors import CampaignError, InputError
from al_loop.ledger.identity import ID_NAME, read_identity
from al_loop.utils.campaign_folder import LEDGER, LOCK_NAME, locked_folder


def test_a_second_process_is_refused(tmp_path):
    with locked_folder(tmp_path / "run"):
        with pytest.raises(InputError, match="already running"):
            with locked_folder(tmp_path / "run"):
                pass


def test_a_start_that_failed_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="no server"):
        with locked_folder(tmp_path / "runs" / "new") as folder:
            (folder / LEDGER).mkdir()
            raise InputError("no server")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "label.json").write_text("{}")
    with pytest.raises(InputError):
        with locked_folder(tmp_path / "old"):
            raise InputError("no server")
    assert (tmp_path / "old" / "label.json").exists()


def test_a_campaign_that_began_stays(tmp_path):
    with pytest.raises(InputError):
        with locked_folder(tmp_path / "new") as folder:
            (folder / "log.jsonl").write_text("{}")
            raise InputError("the server went away")
    assert (tmp_path / "new" / "log.jsonl").exists()


def test_other_errors_leave_everything(tmp_path):
    with pytest.raises(CampaignError):
        with locked_folder(tmp_path / "new"):
            raise CampaignError("a worker died")
    assert (tmp_path / "new" / LOCK_NAME).exists()


def test_a_folder_that_cannot_exist_is_to_be_corrected_in_the_config(tmp_path):
    with pytest.raises(InputError, match=r"^folder: .* cannot be used \(file name too long\); correct `folder`"):
        read_identity(tmp_path / ("x" * 300))
    (tmp_path / ID_NAME).mkdir()
    with pytest.raises(InputError, match=r"which says to which campaign .* restore it, or move it away"):
        read_identity(tmp_path)
