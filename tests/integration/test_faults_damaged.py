"""A campaign is resumed in a folder in which each kind of file was damaged, in each way: made again, or one message.

Each test notes its trials; docs/reliability.md is made from these notes (benchmarks/fault_table.py).
"""

import shutil
from itertools import cycle, islice

import pytest
from campaigns import make_campaign
from damages import DAMAGES, contents, interrupted, left_behind, made_a_file, made_a_folder, read_only
from faults import PATIENCE_S, record
from forked_command import OBEY_PERMISSIONS

pytestmark = pytest.mark.long

MADE_AGAIN = {
    "explore": (
        "trajectories/*/explore/state.npz",
        "trajectories/*/explore/0-*.extxyz",
        "dft/workers/worker_000/jobs.db",
        "log.jsonl",
        "report.html",
    ),
    "promote": (
        "models/round-000/committee.json",
        "models/round-000/committee.safetensors",
        "validation.json",
    ),
}
RESULTS = "dft/results/*.json"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return interrupted(make_campaign(tmp_path_factory.mktemp("damaged"), store={"wait_s": 5}))


@pytest.mark.parametrize("turn", [0, 4, 7])
@pytest.mark.parametrize("stage", list(MADE_AGAIN))
def test_fault_damaged_files(stopped, stage, turn):
    """Each kind of file that can be made again, each with another damage, which all take turns."""
    campaign = stopped.at(stage)
    own = {path.name for path in campaign.results()}
    if stage == "explore":  # results that the ledger has not heard of, as after a kill of everything
        shutil.rmtree(campaign.folder / "dft", ignore_errors=True)
        shutil.copytree(stopped.kept / "promote" / "dft", campaign.folder / "dft")
    for name in ("validation.json", "report.html"):
        (campaign.folder / name).write_text('{"kind": "\\ud800"}')
    results = sorted(path for path in campaign.results() if path.name not in own)[: len(DAMAGES)]
    assert stage != "explore" or len(results) == len(DAMAGES)
    damaged = [sorted(campaign.folder.glob(pattern))[0] for pattern in MADE_AGAIN[stage]] + results
    # All of them: the foundation's last bits depend on which frames it is asked about together.
    damaged += sorted(campaign.folder.glob("tangents/*/*.npz"))
    for path, way in zip(damaged, islice(cycle(DAMAGES), turn, None), strict=False):
        DAMAGES[way](path)
    done = campaign.call("run", campaign.config, **{OBEY_PERMISSIONS: "1"})
    assert done.returncode == 0, done.stderr + campaign.output()
    assert "Traceback" not in done.stderr
    stopped.survived()
    assert campaign.calculations().total() == len(results)  # what lay on disk undamaged was not calculated again
    record("damaged_files", trials=len(damaged), ends="the file is made again, and the campaign goes on")


def refused(campaign, *words, command="run", database=False):
    """Assert that a command says one thing, with exit code 2, and leaves every file as it was."""
    before = contents(campaign.folder, database=database)
    done = campaign.call(command, campaign.config, **{OBEY_PERMISSIONS: "1"})
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for word in words:
        assert str(word) in done.stderr
    assert contents(campaign.folder, database=database) == before
    assert not left_behind(campaign.folder)
    return done.stderr


@pytest.mark.parametrize("command", ["run", "status"])
def test_fault_identity_damaged(stopped, command):
    for damage in (*DAMAGES.values(), made_a_folder):
        campaign = stopped.at("promote")
        damage(campaign.folder / "campaign.id")
        refused(campaign, campaign.folder, "campaign.id", "--go-on-here", command=command)
    record("identity_damaged", trials=len(DAMAGES) + 1, ends="one message, exit code 2, nothing changed")


INSTEAD_OF_FILES = (
    *("campaign.lock", "campaign.running", "log.jsonl", "logs/worker_000.log", "ledger/start.lock"),
    *("ledger/mongod.log", "ledger/data/mongod.lock", "dft/workers/worker_000/jobs.db", RESULTS, "tangents/*/*.npz"),
    *("models/round-000/committee.json", "trajectories/*/explore/state.npz", "trajectories/*/hold_out/0-*.extxyz"),
)
INSTEAD_OF_FOLDERS = (
    *("dft", "dft/results", "dft/workers/worker_000", "logs", "models", "models/round-000", "ledger/data"),
    *("tangents", "tangents/*", "trajectories", "trajectories/*/explore"),
)
UNREADABLE = ("campaign.lock", "logs/worker_000.log", "ledger/mongod.log", "models", "trajectories/*/explore", "ledger")


def test_fault_folder_for_file(stopped):
    cases = [*((one, made_a_folder) for one in INSTEAD_OF_FILES), *((one, made_a_file) for one in INSTEAD_OF_FOLDERS)]
    cases += [(one, DAMAGES["unreadable"]) for one in UNREADABLE]
    for pattern, damage in cases:
        campaign = stopped.at("promote")
        (path,) = sorted(campaign.folder.glob(pattern))[:1]
        damage(path)
        try:
            refused(campaign, path if pattern != "ledger/data" else campaign.folder / "ledger")
        finally:
            path.chmod(0o700)
    record("folder_for_file", trials=len(cases), ends="one message, exit code 2, nothing changed")


DATABASE = (
    *(("data/WiredTiger.turtle", way) for way in ("removed", "emptied", "not UTF-8")),
    *(("data/WiredTiger.wt", way) for way in ("removed", "truncated")),
    *(("data/_mdb_catalog.wt", way) for way in ("removed", "emptied")),
    *(("data/collection-0-*.wt", way) for way in ("removed", "truncated", "emptied", "a list", "unreadable")),
    *(("data/WiredTiger", "removed"), ("data/storage.bson", "emptied")),
)


def test_fault_database_files_damaged(stopped):
    for pattern, way in DATABASE:
        campaign = stopped.at("promote")
        for path in (campaign.folder / "ledger").glob(pattern):  # one collection for each start of the server
            DAMAGES[way](path)
        refused(campaign, campaign.folder / "ledger", "backup", database=True)
    record("database_files_damaged", trials=len(DATABASE), ends="one message, exit code 2, nothing changed")


def test_fault_ledger_gone(stopped, tmp_path):
    """Neither started from zero nor lost: the finished calculations serve a campaign in another folder."""
    for lost in (["ledger"], ["ledger/data"], ["ledger", "campaign.id"]):
        campaign = stopped.at("promote")
        for name in lost:
            path = campaign.folder / name
            path.unlink() if path.is_file() else shutil.rmtree(path)
        for command in ("run", "status"):
            refused(campaign, campaign.folder, "backup", "copy dft/results into it", command=command)
    results = shutil.copytree(campaign.folder / "dft" / "results", tmp_path / "results")
    shutil.rmtree(campaign.folder)
    (campaign.folder / "dft").mkdir(parents=True)
    shutil.copytree(results, campaign.folder / "dft" / "results")
    done = campaign.call("run", campaign.config)
    assert done.returncode == 0, done.stderr
    assert f"{len(stopped.outcome['requests'])} finished calculation(s) lie in" in done.stderr
    assert campaign.calculations().total() == 0
    stopped.survived()
    record("ledger_gone", trials=4, ends="one message, exit code 2, nothing changed; the results are used elsewhere")


def test_fault_folder_read_only(stopped):
    """Before the start nothing is calculated; in its middle it ends with a message, and goes on afterwards."""
    campaign = stopped.at("explore")
    with read_only(campaign.folder):
        for command in ("run", "status", "report"):
            refused(campaign, campaign.folder, "writ", command=command)
    (campaign.folder / "log.jsonl").unlink()
    process = campaign.start()
    campaign.wait_for("label")
    with read_only(campaign.folder):
        code = process.wait(PATIENCE_S)
    assert code == 1, campaign.output()
    assert "run the same command" in campaign.output()
    assert not left_behind(campaign.folder)
    campaign.run()
    stopped.survived()
    record("folder_read_only", trials=4, ends="one message, nothing calculated; the same command continues")
