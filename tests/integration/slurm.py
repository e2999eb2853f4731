"""A real Slurm on this machine, in a folder of its own: munge, slurmctld and slurmd, without systemd."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PATIENCE_S = 60

CONFIG = """
ClusterName=labels
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=1,sched_min_interval=100000
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=120 State=UP
"""


def reason_to_skip():
    """Return why no Slurm can be started here, None if it can."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=search_path()) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}); make setup installs it as root"
    return None if os.geteuid() == 0 else "the programs of Slurm are started as root"


def search_path():
    """Return PATH with the folder of the daemons."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


class Slurm:
    """Slurm's programs, its commands, and a node that can be lost. Every process it starts is ended by ``stop``.

    Args:
        folder: everything it writes; its path is short, since sockets lie in it.
        cores: of the one node; they may be more than the machine has.
    """

    def __init__(self, folder, cores=4):
        self.folder = folder
        self._started = []
        self._node = self._controller = None
        self.environment = {**os.environ, "PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf")}
        for name in ("state", "spool"):
            (folder / name).mkdir()
        controller_port, node_port = free_ports(2)
        host = socket.gethostname().partition(".")[0]
        (folder / "slurm.conf").write_text(
            CONFIG.format(host=host, folder=folder, cores=cores, controller_port=controller_port, node_port=node_port)
        )

    def start(self):
        """Start all of it, and return when the node takes jobs."""
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = [f"--{name}={self.folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "seed-file")]
        self._start("munged", "--foreground", "--force", f"--key-file={key}", f"--log-file={key}.log", *files)
        wait_until((self.folder / "munge.socket").exists)
        self.start_controller()
        self.start_node()

    def start_controller(self):
        """Start the daemon that knows the queue, with the jobs that it knew before."""
        self._controller = self._start("slurmctld", "-D", "-i")

    def stop_controller(self):
        """End it, so that no command of Slurm is answered."""
        self._controller.terminate()
        self._controller.wait()

    def start_node(self):
        """Start the node's daemon and wait until it takes jobs."""
        self._node = self._start("slurmd", "-D")
        wait_until(lambda: self._node_state() in {"idle", "mixed", "allocated"})

    def lose_node(self):
        """Kill the node's daemon with all that runs there, and have the controller notice it at once."""
        for process in [*self._steps(), psutil.Process(self._node.pid)]:
            end(process)
        self._node.wait()
        self.command("scontrol", "update", "nodename=ALL", "state=down", "reason=lost")

    def stop(self):
        """End every process."""
        for process in self._steps():
            end(process)
        for started in reversed(self._started):
            for process in [*children(started.pid), *([psutil.Process(started.pid)] if started.poll() is None else [])]:
                end(process)
            started.wait()

    def command(self, *words):
        """Return what a command prints."""
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True, timeout=PATIENCE_S
        ).stdout

    def jobs(self):
        """Return id -> state of the jobs that wait or run."""
        return dict(line.split("|") for line in self.command("squeue", "-h", "-o", "%A|%T").splitlines())

    def ended(self):
        """Return id -> state of every job that has ended."""
        log = self.folder / "jobs.log"
        lines = log.read_text().splitlines() if log.exists() else []
        entries = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return {entry["JobId"]: entry["JobState"] for entry in entries}

    def _start(self, *words):
        with (self.folder / f"{words[0]}.out").open("ab") as output:
            process = subprocess.Popen(words, env=self.environment, stdout=output, stderr=output)
        self._started.append(process)
        return process

    def _node_state(self):
        words = ["sinfo", "-h", "-o", "%T"]
        # The controller may not answer yet.
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False).stdout.strip()

    def _steps(self):
        """Return the processes of all jobs and their guards: they do not run below the node's daemon."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if "SLURM_JOB_ID" in environment and environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    parent = process.parent()
                    guard = [parent] if parent and parent.cmdline()[0].startswith("slurmstepd") else []
                    found += [*guard, process]
            except (psutil.Error, IndexError):  # it ended meanwhile
                continue
        return found


@contextmanager
def running_slurm():
    """Start Slurm in a short temporary folder and end it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)


def children(pid):
    """Return all descendants of a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end(process):
    """Kill a process that may have ended already."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def free_ports(count):
    """Return ports that nobody listens on, found by a process that may open sockets."""
    program = (
        "import socket\n"
        f"sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range({count})]\n"
        "print(*[s.getsockname()[1] for s in sockets])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(port) for port in shown.stdout.split()]


def wait_until(condition, patience_s=PATIENCE_S):
    """Return when a condition holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
