import json
import resource
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from pydantic import TypeAdapter

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.files.atoms_json import atoms_as_dict, atoms_from_dict
from dft_interfaces.files.label_json import label_as_dict, label_from_dict
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.queue_program import BATCH_NAME, main, write_batch
from dft_interfaces.jobs.result_files import finished_label, keep_result, read_result, result_path, write_result
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.settings import EngineSettings, LimitSettings, RetrySettings


def _label(**change):
    rng = np.random.default_rng(1)
    numbers = {
        "energy_eV": -1234.5678901234567 / 3,
        "forces_eV_per_A": rng.normal(size=(4, 3)) * 1e-7,
        "stress_eV_per_A3": rng.normal(size=6) / 7,
        "cost_s": 0.1,
    }
    return Label(LabelStatus.CONVERGED, "0123456789abcdef", **(numbers | change))


def _same(one, other):
    assert (one.status, one.level_of_theory, one.energy_eV) == (other.status, other.level_of_theory, other.energy_eV)
    assert (one.cost_s, one.message) == (other.cost_s, other.message)
    for name in ("forces_eV_per_A", "stress_eV_per_A3"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


@pytest.mark.parametrize(
    "label",
    [
        _label(),
        _label(stress_eV_per_A3=None),
        _label(forces_eV_per_A=np.zeros((0, 3))),
        Label(LabelStatus.FAILED, "f", cost_s=2.0, message="Traceback\nΔ Å"),
    ],
)
def test_labels_survive_json_bit_for_bit(label, tmp_path):
    _same(label_from_dict(json.loads(json.dumps(label_as_dict(label)))), label)
    write_result(tmp_path, "a1", label)
    _same(read_result(tmp_path, "a1"), label)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"status": "converged"},
        label_as_dict(_label()) | {"extra": 1},
        {**label_as_dict(_label()), "status": "good"},
        {**label_as_dict(_label()), "energy_eV": [1]},
        {**label_as_dict(_label()), "forces_eV_per_A": [[1, 2]]},
        {**label_as_dict(_label()), "attempts": [{}]},
        {**label_as_dict(_label()), "attempts": [1]},
        {**label_as_dict(_label()), "message": None, "attempts": 3},
    ],
)
def test_foreign_data_is_refused(data):
    with pytest.raises(ValueError, match=r"received|valid|reshape"):
        label_from_dict(data)


def test_structures_survive_json_bit_for_bit():
    rng = np.random.default_rng(2)
    atoms = Atoms(
        "FeOH", rng.normal(size=(3, 3)) * 3, cell=rng.normal(size=(3, 3)), pbc=[1, 0, 1], magmoms=[2.5, 0, -1]
    )
    atoms.info.update(charge=np.int64(-1), spin=3, comment="not part of it")
    back = atoms_from_dict(json.loads(json.dumps(atoms_as_dict(atoms))))
    assert back == atoms
    assert back.positions.tobytes() == atoms.positions.tobytes()
    assert back.get_initial_magnetic_moments().tolist() == [2.5, 0, -1]
    assert back.info == {"charge": -1, "spin": 3}


def test_every_truncation_of_a_result_counts_as_no_result(tmp_path):
    path = write_result(tmp_path, "a1", _label())
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        assert finished_label(tmp_path, "a1") is None
    path.write_bytes(whole)
    assert finished_label(tmp_path, "a1") is not None
    path.rename(result_path(tmp_path, "another"))
    assert finished_label(tmp_path, "another") is None


def test_a_digit_that_changed_on_the_disk_makes_no_label(tmp_path, caplog):
    path = write_result(tmp_path, "a1", _label())
    whole = path.read_text()
    digits = [place for place, character in enumerate(whole) if character.isdigit()]
    for place in digits:
        path.write_text(whole[:place] + str((int(whole[place]) + 1) % 10) + whole[place + 1 :])
        found = read_result(tmp_path, "a1")
        assert found is None or label_as_dict(found) == label_as_dict(_label())  # such as 1.50 for 1.5
    assert len(digits) > 200
    assert "whose SHA-256 differs" in caplog.text
    assert str(path) in caplog.text
    path.write_text(json.dumps({**json.loads(whole), "sha256": None}))
    assert finished_label(tmp_path, "a1") is None
    data = json.loads(whole)
    del data["sha256"]
    path.write_text(json.dumps(data))
    assert finished_label(tmp_path, "a1") is None
    path.write_text(json.dumps(json.loads(whole), indent=2))  # the same content in another layout
    _same(finished_label(tmp_path, "a1"), _label())


def test_a_damaged_batch_is_not_calculated(tmp_path, monkeypatch):
    settings = TypeAdapter(EngineSettings).validate_python({"engine": "ase", "calculator": "ase.calculators.emt.EMT"})
    requests = {"a1": atoms_as_dict(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]))}
    batch = LabelBatch(
        folder=tmp_path, engine=settings, limits=LimitSettings(), retry=RetrySettings(), requests=requests
    )
    write_batch(tmp_path, batch.model_dump_json())
    path = tmp_path / BATCH_NAME
    path.write_text(path.read_text().replace("2.5", "3.5"))
    monkeypatch.setattr(sys, "argv", ["program", str(tmp_path)])
    with pytest.raises(ValueError, match="SHA-256 differs"):
        main()
    assert not (tmp_path / "results").exists()


def test_messages_are_text_that_a_database_takes(tmp_path):
    name = b"r\xe9sultat".decode(errors="surrogateescape")
    write_result(tmp_path, "a1", Label(LabelStatus.FAILED, "f", message=f"no file {name}"))
    assert read_result(tmp_path, "a1").message.encode() == b"no file r?sultat"


def test_nothing_but_the_result_is_left_in_the_folder(tmp_path):
    write_result(tmp_path, "a1", _label())
    write_result(tmp_path, "a1", _label(energy_eV=1.0))
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, "a2", _label(energy_eV=float("nan")))
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["a1.json"]
    assert finished_label(tmp_path, "a1").energy_eV == 1.0


@pytest.mark.parametrize(
    ("status", "finished"),
    [(LabelStatus.UNCONVERGED, True), (LabelStatus.REJECTED, True), (LabelStatus.FAILED, False)],
)
def test_only_a_crash_is_worth_another_try(status, finished, tmp_path):
    write_result(tmp_path, "a1", Label(status, "f", message="why"))
    assert (finished_label(tmp_path, "a1") is not None) is finished
    assert read_result(tmp_path, "a1").status is status


def test_a_full_disk_costs_neither_the_label_nor_the_file_that_was_there(tmp_path, caplog):
    """RLIMIT_FSIZE simulates a full disk."""
    write_result(tmp_path, "a1", _label())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        written = [keep_result(tmp_path, request_id, _label(energy_eV=1.0)) for request_id in ("a1", "a2")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert written == [False, False]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["a1.json"]
    _same(finished_label(tmp_path, "a1"), _label())
    assert "the result of a2 could not be written" in caplog.text
    assert "File too large" in caplog.text
    assert keep_result(tmp_path, "a2", _label())


@pytest.mark.parametrize("request_id", ["", "../up", "a/b", "a.b", "-a", "x" * 129])
def test_ids_that_are_no_file_names(request_id, tmp_path):
    with pytest.raises(DFTInterfaceError, match="request id"):
        finished_label(tmp_path, request_id)


def test_looking_for_a_result_imports_neither_pyiron_nor_an_engine():
    code = (
        "import sys; from dft_interfaces.jobs.pyiron_labels import LabelRunner; from dft_interfaces.engines import "
        "build_engine; print(sorted({'pyiron_base', 'pyscf', 'gpaw', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
