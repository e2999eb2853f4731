"""Write docs/reliability.md from the records of the fault tests.

    rm -f faults.jsonl
    AL_LOOP_FAULT_RECORDS=$PWD/faults.jsonl python -m pytest tests/integration/test_faults*.py
    python benchmarks/fault_table.py faults.jsonl

Run the tests several times on one file for more trials. A failed test writes no record, and its row is missing.
"""

import json
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
FAULTS = {
    "campaign_killed_in_every_stage": "kill -9 of the campaign in each stage, one after the other in one campaign: "
    "hold out, explore, select, label, train, promote, evaluate, report",
    "campaign_and_workers_killed": "kill -9 of the campaign and all its workers while they label",
    "worker_killed": "kill -9 of a worker that labels",
    "database_killed": "kill -9 of the campaign's own mongod, while exploring and while labelling",
    "database_frozen": "the campaign's own mongod is stopped (SIGSTOP, 8 s)",
    "users_database_away": "a server of the user is killed and started again 6 s later",
    "disk_full": "no space left on the campaign's disk, ledger included, while labelling (a small tmpfs)",
    "files_may_not_grow": "campaign, workers and mongod may write no further (`RLIMIT_FSIZE`, while labelling)",
    "engine": "the engine hangs, crashes, gives NaN, does not converge, returns results of another system; and kill -9 "
    "of the campaign meanwhile",
    "engine_manners": "the engine leaves programs and daemons behind (some that ignore SIGTERM), ignores signals, "
    "forks and returns twice, closes its outputs, leaves its folder and environment changed, calls `sys.exit`",
    "engine_changes": "from some label on the engine gives energies and forces in Hartree",
    "worker_frozen": "the only worker and its engine are stopped while labelling (SIGSTOP)",
    "clock_jumps": "all leases move by an hour against the server's clock, ahead and back",
    "wall_clock_jumps": "the wall clock of campaign, workers and mongod jumps a day ahead, then behind (libfaketime)",
    "second_run": "a second `al-loop run` on the same campaign",
    "damaged_files": "a file that can be recreated (state and frames of trajectories, results, checkpoints, tangents, "
    "job tables, logs, `validation.json`) is removed, truncated, emptied, has a bit flipped, holds other JSON, huge "
    "numbers or no UTF-8, is nested too deeply, or may not be read",
    "identity_damaged": "the same to `campaign.id`, for `run` and `status`",
    "folder_for_file": "a folder replaces a file of the campaign, a file replaces a folder; or one may not be written",
    "database_files_damaged": "files of the private MongoDB are removed, truncated, emptied, overwritten, unreadable",
    "ledger_gone": "`ledger/`, its database, or `ledger/` and `campaign.id` are gone",
    "folder_read_only": "the campaign's folder is read-only, before the start and in its middle",
    "database_slow": "a server of the user answers each command 30 ms late",
    "database_read_only": "a server of the user takes no writes: when the campaign starts, and again while labelling",
    "database_other_version": "a server of the user keeps the format of MongoDB 5.0, and is raised to 6.0 while "
    "labelling",
}
HEAD = """# Reliability

The behaviour of a campaign under faults. Each row is a fault that a test injects into a real campaign
(a distilled fairchem model, a real MongoDB, worker processes), and is written by that test with
`benchmarks/fault_table.py`. After each fault the test asserts that

- the same command continues, where the campaign did not continue by itself;
- each request has exactly one accepted outcome, and none is lost;
- no calculation whose result was on disk is repeated; of the others, at most one for each
  worker killed (not counted in the rows of the disk and the engine);
- training set and held-out labels equal those of an undisturbed campaign with the same seeds, energies bitwise
  (without the frames on which the engine fails or changes, in their rows).

| test | fault | trials survived | what the command does |
|---|---|---|---|
"""
TAIL = """
## Rules

- **Results are on disk before they are reported.** A worker that dies in between loses nothing: the next one finds
  the file. Unfinished calculations are repeated.
- **Results carry a checksum.** A result file, a step's last file, a batch or a task that goes to a queue, and the
  frames of a trajectory are compared with the SHA-256 that was written with them; a committee's checkpoint too. A
  file that does not match is not used: the log names it and it is calculated, fitted or run again, and a damaged batch
  or task is not executed.
- **The folder is checked first.** Before any calculation `al-loop run` checks that the campaign's files and folders
  have the right type and are writable; it names every obstacle and changes nothing. A file that can be recreated is
  recreated if it cannot be read. A recreated model is bitwise the same, unless a part of its `tangents/` was lost as
  well and the foundation's last bits depend on the composition of a batch (fairchem's do): then it differs in the last
  digits. In both cases the ledger records that it was recreated.
- **A lost ledger is not replaced.** Without its database, or with a part of it missing, every command reports this
  and what remains. Finished results can be used by another campaign that requests the same structures at the
  same level of theory: copy `dft/results` into its folder before its first run.
- **One accepted label per request.** Each claim has a token; a result with an older token is kept apart, unused.
- **Expired leases are detected with a local monotonic clock.** A worker loses its request when another one has seen no
  heartbeat for `label.lease_s`; time without a connection to the database does not count.
- **The campaign waits for an unreachable database**, with a message, for up to `store.wait_s` (300 s by default); its
  own server is started again if it has died. After that the campaign ends with exit code 1, and the same command
  continues.
- **A database of yours is tested before any calculation.** `run`, `import` and `label --worker` write one test document
  first: a user without the role `readWrite`, a secondary, a server that blocks writes, an unknown version of the
  protocol and a wrong option or certificate in the URI give one message each, and exit code 2. `status`, `report` and
  `export` only read, and work without write access. Rights that are revoked later end the campaign with
  exit code 1; the same command continues once they are restored.
- **A failed calculation is an outcome**: retried as configured in `label.retry`, then quarantined with its reason and
  excluded from training.
- **Remains of a kill are deleted.** A large array whose document was never written is recorded when a campaign
  starts, and deleted at a start a day later if it is still unreferenced.
- **One process per campaign.** A second `al-loop run` names the process that runs it, and exits with code 2. The
  folder has a lock, and the campaign a lease in the ledger, which also covers copies of the folder and other
  machines: a process on the same machine is looked up, one on another machine counts as ended after 60 s without a
  heartbeat.
- **Folder, campaign and database are linked** by random ids. Another `name` in the same folder, another
  database, a copy of the folder, or files older than the ledger are detected before anything is written (see "One
  folder, one campaign, one database" in how-it-works.md). A private server is used or stopped only if it keeps its
  data in this folder.
- **A model is served only if its files are those that were promoted.** Their SHA-256 is in the ledger; `al-loop run`
  retrains one that is missing, damaged or exchanged from its labels, and other commands report it and exit with
  code 2.
- **A worker that hangs is replaced.** A thread of each worker sends heartbeats through a pipe, however long its
  calculation takes. A worker without a heartbeat for `label.lease_s` while the campaign runs is killed with all its
  processes, which is reported, and another one repeats its calculation; after three replacements the campaign ends
  with the worker's last lines of output. For a worker started elsewhere the log names it once, with what to do.
- **An engine ends with all its processes**, daemons and programs that ignore SIGTERM too: they are children of a guard
  process, which kills them when the engine, its worker or the campaign ends. A forked copy of the engine returns
  nothing.
- **Shutdown takes a bounded time.** Workers receive a request to end, then SIGTERM, and after 10 s SIGKILL with all
  their processes; a private server that does not shut down within 30 s is killed, and so is one that does not respond
  after its start. Each is reported.

The long test (10,000 requests, continual kills, the database stopped for 60 s and killed) is `benchmarks/soak.py`;
its figures are in benchmarks/README.md. Not injected: a disk that loses confirmed writes.
"""


def main() -> None:
    """Write the page."""
    records = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    rows = []
    for name, fault in FAULTS.items():
        mine = [record for record in records if record["test"] == name]
        if mine:
            trials = sum(record["trials"] for record in mine)
            ends = "; or: ".join(dict.fromkeys(record["ends"] for record in mine))
            rows.append(f"| `test_fault_{name}` | {fault} | {trials} | {ends} |\n")
    PAGE.write_text(HEAD + "".join(rows) + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main()
