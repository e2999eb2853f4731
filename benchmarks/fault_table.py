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
    "clock_jumps": "all leases move by an hour against the server's clock, ahead and back",
    "wall_clock_jumps": "the wall clock of campaign, workers and mongod jumps a day ahead, then behind (libfaketime)",
    "second_run": "a second `al-loop run` on the same campaign",
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
  (without the frames on which the engine fails, in its row).

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
