"""docs/reliability.md from what the tests of faults noted.

    rm -f faults.jsonl
    AL_LOOP_FAULT_RECORDS=$PWD/faults.jsonl python -m pytest tests/integration/test_faults*.py
    python benchmarks/fault_table.py faults.jsonl

Run the tests several times on one file for more trials. A test that failed notes nothing, and its row is missing.
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
    "database_frozen": "the campaign's own mongod stands still (SIGSTOP, 8 s)",
    "users_database_away": "a server of the user is killed and started again 6 s later",
    "disk_full": "no space left on the campaign's disk, ledger included, while labelling (a small tmpfs)",
    "files_may_not_grow": "campaign, workers and mongod may write no further (`RLIMIT_FSIZE`, while labelling)",
    "engine": "the engine hangs, crashes, gives NaN, does not converge, answers for another system; and kill -9 of the "
    "campaign meanwhile",
    "engine_manners": "the engine leaves programs and daemons behind (some that ignore SIGTERM), ignores signals, "
    "forks and returns twice, closes its outputs, leaves its folder and environment changed, calls `sys.exit`",
    "engine_changes": "from some label on the engine gives energies and forces in Hartree",
    "worker_frozen": "the only worker and its engine stand still in mid-label (SIGSTOP)",
    "clock_jumps": "all leases move by an hour against the server's clock, ahead and back",
    "wall_clock_jumps": "the wall clock of campaign, workers and mongod jumps a day ahead, then behind (libfaketime)",
    "second_run": "a second `al-loop run` on the same campaign",
    "damaged_files": "a file that can be made again (state and frames of trajectories, results, checkpoints, tangents, "
    "job tables, logs, `validation.json`) is removed, truncated, emptied, has a bit flipped, holds other JSON, huge "
    "numbers or no UTF-8, is nested too deeply, or may not be read",
    "identity_damaged": "the same to `campaign.id`, for `run` and `status`",
    "folder_for_file": "a folder stands where the campaign keeps a file, a file where it keeps a folder; or one may "
    "not be written",
    "database_files_damaged": "files of the private MongoDB are removed, truncated, emptied, overwritten, unreadable",
    "ledger_gone": "`ledger/`, its database, or `ledger/` and `campaign.id` are gone",
    "folder_read_only": "the campaign's folder is read-only, before the start and in its middle",
    "database_slow": "a server of the user answers each command 30 ms late",
    "database_read_only": "a server of the user takes no writes: when the campaign starts, and again while labelling",
    "database_other_version": "a server of the user keeps the format of MongoDB 5.0, and is raised to 6.0 while "
    "labelling",
}
HEAD = """# Reliability

What happens to a campaign when something breaks. Each row is a fault that a test injects into a real campaign
(a distilled fairchem model, a real MongoDB, worker processes), and is written by that test:
`benchmarks/fault_table.py` says how. After each fault the test asserts that

- the same command continues, where the campaign did not go on by itself;
- each request has exactly one accepted outcome, and none is lost;
- no calculation whose result lay on disk was made again; of the others, at most one for each
  worker killed (not counted in the rows of the disk and the engine);
- training set and held-out labels equal those of an undisturbed campaign with the same seeds, energies bit for bit
  (without the frames on which the engine fails or changes, in their rows).

| test | fault | trials survived | what the command does |
|---|---|---|---|
"""
TAIL = """
## Rules behind it

- **Results lie on disk before they are reported.** A worker that dies between the two loses nothing: the next one finds
  the file. What had not ended is calculated again.
- **Results carry a checksum.** A result file, a step's last file, a batch or a task that goes to a queue, and the
  frames of a trajectory are compared with the SHA-256 that was written with them; a committee's checkpoint too. What
  does not match is no result: it is named in the log and calculated, fitted or run again, and a damaged batch or task
  is not carried out.
- **What lies in the folder is looked at first.** Before anything is calculated `al-loop run` makes sure that files
  and folders are where the campaign keeps such, and that it may write there; what stands in the way is named, and
  nothing is changed. A file that can be made again is made again when it cannot be read. A model has the same bits
  then, unless a part of its `tangents/` was lost as well and the foundation's last bits depend on which frames it is
  asked about together (fairchem's do): then it differs in late digits. Either way the ledger notes that it was made
  again.
- **A ledger that is lost is not begun anew.** Without its database, or with a part of it missing, every command says
  so, and what is left. Results that were finished serve a campaign elsewhere that asks for the same structures at the
  same level of theory: copy `dft/results` into its folder before its first run.
- **One accepted label per request.** A claim carries a token; a result under an older one is kept apart and not used.
- **No wall clock decides who is alive.** A worker loses its request when another one has seen no sign of life for
  `label.lease_s`, by a clock that does not jump; time in which the database was away does not count.
- **A database that is away is waited for**, with a message, for up to `store.wait_s` (300 s by default); the campaign's
  own server is started again if it has died. After that the campaign ends with exit code 1, and the same command
  continues.
- **A database of yours is tried before anything is calculated.** `run`, `import` and `label --worker` write one note
  first: a user without the role `readWrite`, a secondary, a server that blocks writes, an unknown version of the
  protocol and a wrong option or certificate in the URI are one message each, and exit code 2. `status`, `report` and
  `export` only read, and work where nothing may be written. Rights that are taken away later end the campaign with
  exit code 1; the same command continues once they are back.
- **A failed calculation is an outcome**: retried as `label.retry` says, then quarantined with its reason, and nobody
  trains on it.
- **What a kill leaves behind is swept.** A large array whose document was never written is noted when a campaign
  starts, and deleted at a start a day later if nothing names it then.
- **One process per campaign.** A second `al-loop run` says which process runs it, and leaves with exit code 2. The
  folder has a lock, and the campaign a lease in the ledger, which holds for copies of the folder and for other
  machines: a process on the same machine is looked up, one elsewhere has gone after 60 s without a sign of life.
- **Folder, campaign and database know each other** by random ids. Another `name` in the same folder, another
  database, a copy of the folder, or files older than the ledger are told apart before anything is written (see "One
  folder, one campaign, one database" in how-it-works.md). A private server is used or stopped only if it keeps its
  data in this folder.
- **A model is served only if its files are those that were promoted.** Their SHA-256 is in the ledger; `al-loop run`
  makes one that is missing, damaged or exchanged again from its labels, and other commands say so and leave with exit
  code 2.
- **A worker that stands still is replaced.** A thread of each worker shows signs of life through a pipe, however
  long its calculation takes. A worker that shows none for `label.lease_s` while the campaign looks is killed with all
  it started, which is said, and another one calculates its request again; after three replacements the campaign ends
  with the worker's last lines. A worker that others started is named once with what to do.
- **An engine ends with all it started**, daemons and programs that ignore SIGTERM too: they stay below a guard process,
  which kills them when the engine, its worker or the campaign ends. A forked copy of the engine gives no answer.
- **The end is bounded.** Workers are asked to leave, then terminated, and after 10 s killed with all they started; a
  private server that does not shut down within 30 s is ended, and so is one that was started and does not answer.
  Each is said.

The long form (10,000 requests, kills all the time, the database frozen for 60 s and killed) is `benchmarks/soak.py`;
its figures are in benchmarks/README.md. Not injected: a disk that loses what it had confirmed.
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
