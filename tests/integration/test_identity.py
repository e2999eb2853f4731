"""One campaign, one ledger, one folder: renamed, copied, moved, restored, and run twice, on real servers."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from al_loop.campaign import Campaign
from al_loop.config import Config, StoreSettings
from al_loop.errors import CampaignError, InputError
from al_loop.ledger import Ledger, campaign_lease, identity, open_ledger
from al_loop.ledger.campaign_lease import Lease, leased
from al_loop.ledger.identity import ID_NAME, existing_campaign, read_identity
from al_loop.ledger.store import shared_server
from al_loop.tools.exchange.campaign_files import import_labels
from al_loop.tools.exchange.harvest import harvest
from al_loop.tools.preflight.starting import stored_settings
from al_loop.utils.campaign_folder import LEDGER, locked_folder
from dft_interfaces.levels.level_of_theory import LevelOfTheory

SILICON = Path(__file__).parents[2] / "configs" / "structures" / "silicon.cif"
LEASE_S = 1.0


@pytest.fixture(autouse=True)
def no_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)


@pytest.fixture(params=["private", "shared"])
def either(request: pytest.FixtureRequest) -> StoreSettings:
    """A server in the campaign's folder, and one of the user's own."""
    return StoreSettings() if request.param == "private" else request.getfixturevalue("store")


def config(folder: Path, store: StoreSettings, name: str = "silicon") -> Config:
    return Config.model_validate(
        {
            "name": name,
            "folder": folder,
            "foundation": {"kind": "sevennet"},
            "systems": [{"file": SILICON}],
            "explore": {"temperatures_K": [300.0]},
            "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
            "store": store,
        }
    )


@contextmanager
def running(asked: Config, *, go_on_here: bool = False, lease_s: float = LEASE_S) -> Iterator[tuple[Ledger, Lease]]:
    """What ``Campaign.run`` does around its rounds."""
    identity.check_folder(asked)
    with locked_folder(asked.folder), open_ledger(asked.store, asked.folder, asked.name) as ledger:
        description = stored_settings(asked, "a" * 64, LevelOfTheory("emt", "EMT"))
        known = Campaign(asked)._begin(ledger, description, go_on_here=go_on_here)
        private = shared_server(asked.store) is None
        with leased(
            ledger, asked.folder, known, private=private, go_on_here=go_on_here, lease_s=lease_s
        ) as held:  # fmt: skip
            yield ledger, held


def run(asked: Config, *, go_on_here: bool = False) -> None:
    with running(asked, go_on_here=go_on_here) as (ledger, _):
        ledger.event("ran", asked.folder.name)


def ran_in(asked: Config) -> list[str]:
    with existing_campaign(asked) as ledger:
        return [event.message for event in ledger.events("ran")]


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


def test_another_name_in_the_same_folder_is_refused(tmp_path: Path, either: StoreSettings) -> None:
    run(config(tmp_path / "run", either))
    before = sorted(tmp_path.rglob("*"))
    renamed = config(tmp_path / "run", either, "germanium")
    words = r"folder of campaign silicon, and the config's `name` is germanium.* back to silicon .*another `folder`"
    for refused in (
        lambda: Campaign(renamed).run(),
        Campaign(renamed).served_model,
        lambda: ran_in(renamed),
        lambda: harvest(renamed, [], [], "md"),
    ):
        with pytest.raises(InputError, match=words):
            refused()
    assert sorted(tmp_path.rglob("*")) == before
    run(config(tmp_path / "run", either))


def test_another_database_is_refused(tmp_path: Path, store: StoreSettings, either: StoreSettings) -> None:
    asked = config(tmp_path / "run", either)
    run(asked)
    elsewhere = StoreSettings(uri=str(store.uri).replace("/test_", "/test_other_"))
    with pytest.raises(InputError, match=r"is not that of the campaign in .*holds no campaign silicon"):
        run(config(tmp_path / "run", elsewhere))
    run(config(tmp_path / "another", elsewhere))
    with pytest.raises(InputError, match="holds another campaign of the name silicon"):
        ran_in(config(tmp_path / "run", elsewhere))
    run(asked)


def test_no_server_is_started_in_place_of_the_users(tmp_path: Path, store: StoreSettings) -> None:
    run(config(tmp_path / "run", store))
    with pytest.raises(InputError, match=r"was started with the MongoDB server at .*Set MONGODB_URI"):
        run(config(tmp_path / "run", StoreSettings()))
    assert not (tmp_path / "run" / LEDGER).exists()


def test_a_ledger_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    asked = config(tmp_path / "run", StoreSettings())
    run(asked)
    shutil.rmtree(tmp_path / "run" / LEDGER)
    with pytest.raises(InputError, match=r"ledger of campaign silicon is missing.*from a backup.*choose another one"):
        run(asked)


def test_a_moved_folder_goes_on(tmp_path: Path, either: StoreSettings) -> None:
    run(config(tmp_path / "here", either))
    (tmp_path / "here").rename(tmp_path / "there")
    moved = config(tmp_path / "there", either)
    run(moved)
    (tmp_path / "here").mkdir()
    run(moved)
    assert ran_in(moved) == ["here", "there", "there"]


def test_a_copied_folder_asks_which_one_goes_on(tmp_path: Path, store: StoreSettings) -> None:
    original = config(tmp_path / "original", store)
    run(original)
    copy = config(copied(original.folder, "copy"), store)
    words = r"is a copy: campaign silicon ran last in {} on .*--go-on-here"
    with pytest.raises(InputError, match=words.format(original.folder)):
        run(copy)
    for refused in (lambda: import_labels(copy, [SILICON]), lambda: harvest(copy, [], [], "md")):
        with pytest.raises(InputError, match=words.format(original.folder)):
            refused()
    assert harvest(original, [], [], "md").new == 0
    run(original)
    run(copy, go_on_here=True)
    run(copy)
    with pytest.raises(InputError, match=words.format(copy.folder)):
        run(original)
    assert harvest(copy, [], [], "md").new == 0
    run(original, go_on_here=True)
    with pytest.raises(InputError, match=words.format(original.folder)):
        run(copy)
    shutil.rmtree(original.folder)  # the copy is older than what was run there last
    with pytest.raises(InputError, match=words.format(original.folder)):
        run(copy)
    assert ran_in(copy) == ["original", "original", "copy", "copy", "original"]


def test_a_copy_with_a_database_of_its_own_asks_as_well(tmp_path: Path) -> None:
    original = config(tmp_path / "original", StoreSettings())
    run(original)
    copy = config(copied(original.folder, "copy"), StoreSettings())
    with pytest.raises(InputError, match=r"is a copy: .*Each has its own database"):
        run(copy)
    run(copy, go_on_here=True)
    run(original)
    assert (ran_in(original), ran_in(copy)) == (["original", "original"], ["original", "copy"])


def test_a_folder_restored_from_a_backup_asks(tmp_path: Path, store: StoreSettings) -> None:
    asked = config(tmp_path / "run", store)
    run(asked)
    backup = copied(asked.folder, "backup")
    run(asked)
    shutil.rmtree(asked.folder)
    backup.rename(asked.folder)
    with pytest.raises(InputError, match=r"has run since .*run was copied or restored.*--go-on-here"):
        run(asked)
    run(asked, go_on_here=True)
    run(asked)


def test_a_lost_folder_is_made_again_for_who_says_so(tmp_path: Path, store: StoreSettings) -> None:
    asked = config(tmp_path / "run", store)
    run(asked)
    (asked.folder / ID_NAME).write_text("{")
    with pytest.raises(InputError, match=rf"{ID_NAME}, which says .* cannot be read .*move it away.*--go-on-here"):
        run(asked, go_on_here=True)
    shutil.rmtree(asked.folder)
    with pytest.raises(InputError, match=rf"no file {ID_NAME}.*campaign silicon.*ran last in a .* on .*--go-on-here"):
        run(asked)
    run(asked, go_on_here=True)
    run(asked)


def test_a_copy_does_not_run_beside_the_original(tmp_path: Path, store: StoreSettings) -> None:
    original = config(tmp_path / "original", store)
    with running(original):
        copy = config(copied(original.folder, "copy"), store)
        for go_on_here in (False, True):
            with pytest.raises(
                InputError, match=rf"is run by another process \(process \d+ on .*, in {original.folder}"
            ):
                run(copy, go_on_here=go_on_here)
    run(copy, go_on_here=True)


HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_identity import StoreSettings, config, running
with running(config(Path(sys.argv[2]), StoreSettings(uri=sys.argv[3])), lease_s=600):
    print("runs", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_is_not_waited_for(tmp_path: Path, store: StoreSettings) -> None:
    asked = config(tmp_path / "run", store)
    words = [sys.executable, "-c", HOLDER, str(Path(__file__).parent), str(asked.folder), str(store.uri)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "runs\n"
        copy = config(copied(asked.folder, "copy"), store)
        with pytest.raises(InputError, match=rf"is run by another process \(process {holder.pid} on"):
            run(copy)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    begun = time.monotonic()
    with running(asked, lease_s=600) as (ledger, _):
        ledger.event("ran", "again")
    assert time.monotonic() - begun < 5.0


def held_elsewhere(asked: Config) -> None:
    """Leave the ledger as a process on another machine leaves it that was cut off."""
    run(asked)
    with open_ledger(asked.store, asked.folder, asked.name) as ledger:
        before = ledger.runner()
        assert before is not None
        assert not before.running
        assert ledger.take_lease(before, replace(before, machine="another", host="node7", running=True))


def test_a_process_on_another_machine_has_gone_when_it_is_silent_for_a_lease(
    tmp_path: Path, store: StoreSettings, caplog: pytest.LogCaptureFixture
) -> None:
    asked = config(tmp_path / "run", store)
    held_elsewhere(asked)
    begun = time.monotonic()
    run(asked)
    assert LEASE_S <= time.monotonic() - begun < 10 * LEASE_S
    assert "on node7" in caplog.text
    assert "Waiting up to 1 s for its heartbeat" in caplog.text


def test_a_process_on_another_machine_that_lives_is_left_alone(tmp_path: Path, store: StoreSettings) -> None:
    asked = config(tmp_path / "run", store)
    held_elsewhere(asked)
    done = threading.Event()
    with open_ledger(asked.store, asked.folder, asked.name) as ledger:
        token = getattr(ledger.runner(), "token", "")

        def live() -> None:
            while not done.wait(LEASE_S / 4):
                ledger.renew_lease(token)

        thread = threading.Thread(target=live)
        thread.start()
        try:
            with pytest.raises(InputError, match=r"is run by another process .* on node7"):
                run(asked)
        finally:
            done.set()
            thread.join()


def test_who_stood_still_and_was_taken_over_ends(tmp_path: Path, store: StoreSettings) -> None:
    asked = config(tmp_path / "run", store)
    with running(asked) as (ledger, held):
        held.check()
        mine = ledger.runner()
        assert mine is not None
        other = replace(mine, token=f"{mine.token}+", host="node7", pid=4711)
        assert ledger.take_lease(mine, other)
        deadline = time.monotonic() + 20 * LEASE_S
        with pytest.raises(CampaignError, match=r"process 4711 on node7.*took over"):
            while time.monotonic() < deadline:
                held.check()
                time.sleep(0.02)
    with open_ledger(asked.store, asked.folder, asked.name) as ledger:
        after = ledger.runner()
        assert after is not None
        assert (after.token, after.running) == (other.token, True)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("again", [False, True])
def test_a_start_that_is_killed_between_two_writes_is_repeated(
    tmp_path: Path, store: StoreSettings, monkeypatch: pytest.MonkeyPatch, writes: int, again: bool
) -> None:
    """Each write of the folder's file is the last one, of the first start or of a later one."""
    asked = config(tmp_path / "run", store)
    if again:
        run(asked)
    write, left = identity.write_identity, writes

    def cut_off(folder: Path, known: Any) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        write(folder, known)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(identity, "write_identity", cut_off)
        patch.setattr(campaign_lease, "write_identity", cut_off)
        with running(asked):
            raise Killed
    run(asked)
    run(asked)
    known = read_identity(asked.folder)
    with open_ledger(asked.store, asked.folder, asked.name) as ledger:
        assert known is not None
        assert (known.campaign_id, known.database_id) == (ledger.campaign_id(), ledger.database_id())
        assert known.starts == (getattr(ledger.runner(), "token", ""),)
