"""Unreadable output of programs, queues and users becomes an outcome or one deliberate error."""

import gzip
import os
import sys

import pytest
import yaml

from dft_interfaces.engines.ase_calculator import ASECalculatorEngine
from dft_interfaces.engines.pyscf_level import _has_nonlocal_correlation as has_nonlocal_correlation
from dft_interfaces.engines.pyscf_level import check_basis, shells
from dft_interfaces.engines.vasp_output import read_numbers
from dft_interfaces.engines.vasp_potcars import potcar_digest, read_potcar
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError, QueueError
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.files.label_json import label_as_dict, label_from_dict
from dft_interfaces.foreign import reading
from dft_interfaces.isolation.engine_process import _reply as reply
from dft_interfaces.label import Failure, Label, LabelStatus
from dft_interfaces.pseudopotentials.upf_files import read_upf_set
from dft_interfaces.queue.command import run_command
from dft_interfaces.queue.limits import folder_problems, partition_limits
from dft_interfaces.queue.system import QueueSystem
from dft_interfaces.settings import QueueSettings
from dft_interfaces.settings.ase_calculator import ASECalculatorSettings
from dft_interfaces.structure import CannotCalculateError


def test_any_failure_is_the_error_and_errors_on_purpose_pass():
    with pytest.raises(QueueError, match=r"^odd \(KeyError: 1\)$"), reading(lambda why: QueueError(f"odd ({why})")):
        raise KeyError(1)
    with pytest.raises(QueueError, match=r"^mine$"), reading(EngineSettingsError):
        raise QueueError("mine")
    with pytest.raises(EngineSettingsError) as long, reading(EngineSettingsError):
        raise ValueError("x\n" * 1000)
    assert len(str(long.value)) < 400


LABEL = label_as_dict(Label(LabelStatus.CONVERGED, "level", energy_eV=-1.0, cost_s=2.0))


@pytest.mark.parametrize(
    "change",
    [
        {"energy_eV": 10**400},
        {"energy_eV": "much"},
        {"energy_eV": [1.0]},
        {"forces_eV_per_A": [[1, 2]]},
        {"forces_eV_per_A": [[1, 2, 3], [1]]},
        {"forces_eV_per_A": {"a": 1}},
        {"forces_eV_per_A": [[10**400, 0, 0]]},
        {"status": []},
        {"status": "fine"},
        {"failure": {}},
        {"attempts": 3},
        {"attempts": [3]},
        {"attempts": [{"status": "converged"}]},
        {"attempts": "abc"},
        {"cost_s": None},
    ],
    ids=str,
)
def test_a_label_of_other_values(change):
    with pytest.raises(ValueError, match=r"^received a label with a value of the wrong type: "):
        label_from_dict({**LABEL, **change})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"3", b"{}", b'{"error": "x"}', b"[" * 100_000])
def test_an_unreadable_reply_of_the_engines_process(data):
    with pytest.raises(EngineFailureError, match="reply cannot be read") as failed:
        reply(data)
    assert failed.value.failure is Failure.OUTPUT


VASPRUN = "<modeling><calculation><energy><i name='e_fr_energy'>{}</i></energy></calculation></modeling>"


@pytest.mark.parametrize(
    "content", [b"<", b"\xff\xfe\x00", b"<modeling/>", VASPRUN.format("**").encode(), b"\0" * 100, b"<a>" * 20_000]
)
def test_an_unreadable_vasprun(tmp_path, content):
    (tmp_path / "vasprun.xml").write_bytes(content)
    (tmp_path / "OUTCAR").write_bytes(b"\xff last lines \xff")
    with pytest.raises(EngineFailureError, match="last lines") as failed:
        read_numbers(tmp_path)
    assert failed.value.failure is Failure.OUTPUT


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", gzip.compress(b"x" * 1000, mtime=0)[:-9], b"text"])
def test_a_potcar_that_is_cut_off(tmp_path, content):
    folder = tmp_path / "POT_GGA_PAW_PBE_54"
    folder.mkdir()
    path = folder / "POTCAR.Cu.gz"
    path.write_bytes(content)
    if content:  # an empty file is an empty text
        with pytest.raises(EngineSettingsError, match=f"{path} cannot be read"):
            potcar_digest(path)
    with pytest.raises(CannotCalculateError, match=str(path)):
        read_potcar(tmp_path, "PBE_54", "Cu")


@pytest.mark.parametrize(
    "header",
    ["", "element='Cu'", "element='Cu' functional='PBE' pseudo_type='NC' z_valence='many'"],
)
def test_a_pseudopotential_with_another_header(tmp_path, header):
    attributes = header.replace("'", '"')
    (tmp_path / "Cu.upf").write_text(f"<UPF><PP_HEADER {attributes}/></UPF>")
    with pytest.raises(EngineSettingsError, match=r"Cu\.upf cannot be read as a pseudopotential"):
        read_upf_set(tmp_path, "PBE")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"queues: [",
        b"[" * 500,
        b"3",
        b"queues: 3",
        b"queues: {a: 3}\nqueue_primary: a",
        b"queues: {a: {}}\nqueue_primary: [a]",
        b"queues: {a: {cores_max: many}}\nqueue_primary: a",
        b"queues: {a: {run_time_max: [1]}}\nqueue_primary: a",
        b"queues: {a: {memory_max: ''}}\nqueue_primary: a",
        b"queues: {a: {memory_max: lots}}\nqueue_primary: a",
        b"queues: {a: {cores_min: few}}\nqueue_primary: a",
        b"!!python/object/apply:os.system [exit]",
    ],
)
def test_a_queue_folder_that_describes_none(tmp_path, content):
    (tmp_path / "queue.yaml").write_bytes(content)
    settings = QueueSettings(queue_folder=tmp_path, time_s=60)
    (problem,) = [p for p in folder_problems(settings, 1) if "is no pysqa description" in p]
    assert str(tmp_path / "queue.yaml") in problem
    assert "\n" not in problem


@pytest.fixture
def printing(tmp_path, monkeypatch):
    """Put commands on the PATH that print the text of a test."""

    def make(**programs):
        for name, text in programs.items():
            (tmp_path / f"{name}.txt").write_bytes(text)
            (tmp_path / name).write_text(f"#!/bin/sh\ncat {tmp_path / name}.txt\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path

    return make


@pytest.mark.parametrize("nodes", [b"many|lots", b"1", b"1|2|3", b"\xff|\xfe"])
def test_what_slurm_prints_about_a_partition(printing, nodes):
    printing(scontrol=b"PartitionName=main MaxTime=1:00:00 MaxCPUsPerNode=\xff", sinfo=nodes)
    with pytest.raises(QueueError, match="Slurm's output about the partition 'main'"):
        partition_limits("main")


@pytest.mark.parametrize("listed", [b"one two\n", b"x|y|z\n", b"\xff\xfe\n"])
def test_what_a_queue_prints_about_jobs(printing, listed):
    folder = printing(squeue=listed, sbatch=listed)
    queues = {"main": {"script": "main.sh"}}
    description = {"queue_type": "SLURM", "queue_primary": "main", "queues": queues}
    (folder / "queue.yaml").write_text(yaml.safe_dump(description))
    (folder / "main.sh").write_text("#!/bin/sh\n{{command}}\n")
    queue = QueueSystem(folder)
    with pytest.raises(QueueError, match="list of jobs"):
        queue.jobs()
    with pytest.raises(QueueError, match="returned no id of the job"):
        queue.submit("job", folder, "true", 1, QueueSettings(partition="main"))


def test_a_command_that_cannot_be_started(printing):
    folder = printing(squeue=b"")
    (folder / "squeue").chmod(0o644)
    with pytest.raises(QueueError, match=r"the queue's command .* could not be started \(permission denied\)"):
        run_command([str(folder / "squeue")])
    with pytest.raises(QueueError, match=r"could not be started|not on this machine's PATH"):
        run_command([sys.executable, "-c", ""], str(folder / "nowhere"))


@pytest.mark.parametrize("name", ["@", "cc-pvdz@", "", "\0", "x" * 5000])
def test_a_basis_of_another_spelling(name):
    assert shells(name, "H") == []
    with pytest.raises(EngineSettingsError, match="received basis"):
        check_basis(name)


@pytest.mark.parametrize("name", ["*", "pbe*", "RSH(", "1/0*pbe", "\0"])
def test_a_functional_of_another_spelling(name):
    with pytest.raises(EngineSettingsError, match="received xc"):
        has_nonlocal_correlation(name)


def test_a_calculator_whose_module_fails(tmp_path, monkeypatch):
    (tmp_path / "odd_calculator.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    settings = ASECalculatorSettings(engine="ase", calculator="odd_calculator.Thing")
    with pytest.raises(EngineNotInstalledError, match=r"odd_calculator\.Thing cannot be imported \(ZeroDivisionError"):
        ASECalculatorEngine(settings)
