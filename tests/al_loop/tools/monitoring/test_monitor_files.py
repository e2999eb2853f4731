"""Finished trajectories in the formats of VASP and LAMMPS, whole, cut and strange."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.errors import InputError
from al_loop.files.trajectories import STEP, TIME_PS, read_frames
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.trajectory import monitor_trajectory

DISTILLED = Path(__file__).parents[3] / "data/distilled/distilled.pt"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def frames(make_copper):
    made = [make_copper(seed, 0.03) for seed in range(3)]
    for atoms in made:
        atoms.wrap()
        atoms.calc = EMT()
    return made


def vectors(name, rows):
    lines = "".join("<v>" + " ".join(f"{x:.10f}" for x in row) + "</v>\n" for row in rows)
    return f'<varray name="{name}">\n{lines}</varray>\n'


def vasprun(frames):
    """As VASP writes it, with what ASE's reader asks for."""

    def structure(atoms, name=""):
        crystal = f"<crystal>{vectors('basis', atoms.cell.array)}</crystal>"
        return f"<structure{name}>{crystal}{vectors('positions', atoms.get_scaled_positions())}</structure>\n"

    def step(atoms):
        names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        energy = "".join(f'<i name="{name}">{atoms.get_potential_energy():.8f}</i>' for name in names)
        energy = f"<energy>{energy}</energy>"
        return (
            f"<calculation><scstep>{energy}</scstep>{structure(atoms)}"
            f"{vectors('forces', atoms.get_forces())}{energy}</calculation>\n"
        )

    rows = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in frames[0].symbols)
    kpoints = vectors("kpointlist", np.zeros((1, 3))) + '<varray name="weights"><v>1.0</v></varray>'
    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling><kpoints>{kpoints}</kpoints>\n'
        f'<atominfo><array name="atoms"><set>{rows}</set></array></atominfo>\n'
        + structure(frames[0], ' name="initialpos"')
        + "".join(map(step, frames))
        + structure(frames[-1], ' name="finalpos"')
        + "</modeling>\n"
    )


def outcar(frames):
    """As VASP writes it, with what ASE's reader asks for."""
    rule = " " + 83 * "-" + "\n"

    def table(rows, digits):
        return "".join(" " + " ".join(f"{x:14.{digits}f}" for x in row) + "\n" for row in rows)

    text = (
        " vasp.6.4.2\n" + 2 * " POTCAR:    PAW_PBE Cu 22Jun2005\n" + "   ISPIN  =      1\n"
        f"   ions per type = {len(frames[0]):15d}\n"
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands   NBANDS=     8\n\n"
        " k-points in reciprocal lattice and weights: Gamma\n   0.00000000  0.00000000  0.00000000       1.000\n\n"
    )
    for number, atoms in enumerate(frames, 1):
        energy = atoms.get_potential_energy()
        text += (
            f"{39 * '-'} Iteration {number:6d}(   1)  {39 * '-'}\n"
            "      direct lattice vectors                 reciprocal lattice vectors\n"
            + table(np.hstack([atoms.cell.array, atoms.cell.reciprocal().array]), 9)
            + "\n POSITION                                       TOTAL-FORCE (eV/Angst)\n"
            + rule
            + table(np.hstack([atoms.positions, atoms.get_forces()]), 9)
            + rule
            + "\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  --------------------------------------------\n"
            f"  free  energy   TOTEN  = {energy:18.8f} eV\n\n"
            f"  energy  without entropy= {energy:16.8f}  energy(sigma->0) = {energy:16.8f}\n"
        )
    return text


def dump(frames, head="", each=lambda number: "", columns="id type x y z", rows=None):
    text = head
    for number, atoms in enumerate(frames):
        text += f"{each(number)}ITEM: TIMESTEP\n{100 * number}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n"
        text += "ITEM: BOX BOUNDS pp pp pp\n" + "".join(f"0.0 {x:.8f}\n" for x in atoms.cell.lengths())
        values = rows(atoms) if rows else atoms.positions
        lines = [f"{i + 1} 1 " + " ".join(f"{x:.8f}" for x in row) for i, row in enumerate(values)]
        text += f"ITEM: ATOMS {columns}\n" + "\n".join(lines) + "\n"
    return text


@pytest.mark.parametrize(("name", "writer"), [("vasprun.xml", vasprun), ("OUTCAR", outcar)])
def test_vasp_steps_are_read_with_their_energies(frames, tmp_path, name, writer) -> None:
    (tmp_path / name).write_text(writer(frames))
    found = list(read_frames(tmp_path / name))
    for atoms, expected in zip(found, frames, strict=True):
        np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-6)
        assert atoms.calc.results["free_energy"] == pytest.approx(expected.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(atoms.calc.results["forces"], expected.get_forces(), atol=1e-6)
        assert atoms.pbc.all()


@pytest.mark.parametrize(("name", "writer"), [("vasprun.xml", vasprun), ("OUTCAR", outcar)])
def test_a_running_vasp_shows_its_whole_steps(frames, tmp_path, name, writer) -> None:
    text = writer(frames)
    (tmp_path / name).write_text(text[: int(0.8 * len(text))])
    found = list(read_frames(tmp_path / name))
    assert len(found) == 2
    np.testing.assert_allclose(found[1].positions, frames[1].positions, atol=1e-6)
    (tmp_path / name).write_text(text[:200])
    with pytest.raises(InputError, match=name):
        list(read_frames(tmp_path / name))


def test_an_xdatcar_that_is_cut_within_a_number_is_refused(frames, tmp_path) -> None:
    write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    text = (tmp_path / "XDATCAR").read_text().rstrip()
    (tmp_path / "XDATCAR").write_text(text[:-4])
    read = read_frames(tmp_path / "XDATCAR")
    assert len([next(read), next(read)]) == 2
    with pytest.raises(InputError, match=r"frame 2 .*cut off"):
        next(read)


def test_a_negative_scale_is_the_volume(frames, tmp_path) -> None:
    write(tmp_path / "XDATCAR", frames[:1], format="vasp-xdatcar")
    lines = (tmp_path / "XDATCAR").read_text().splitlines()
    lines[1] = f"  {-frames[0].get_volume() * 1.1:.8f}"
    (tmp_path / "XDATCAR").write_text("\n".join(lines) + "\n")
    (atoms,) = read_frames(tmp_path / "XDATCAR")
    assert atoms.get_volume() == pytest.approx(1.1 * frames[0].get_volume())
    np.testing.assert_allclose(atoms.get_scaled_positions(), frames[0].get_scaled_positions(), atol=1e-6)


def test_a_dump_tells_its_units_and_times(frames, tmp_path) -> None:
    text = dump(frames, "ITEM: UNITS\nreal\n", lambda number: f"ITEM: TIME\n{50 * number}\n")
    (tmp_path / "run.dump").write_text(text)
    found = list(read_frames(tmp_path / "run.dump", ["Cu"]))
    assert [(atoms.info[STEP], atoms.info[TIME_PS]) for atoms in found] == [(0, 0.0), (100, 0.05), (200, 0.1)]
    np.testing.assert_allclose(found[2].positions, frames[2].positions, atol=1e-6)


def test_velocities_are_in_the_units_that_the_user_names(frames, tmp_path) -> None:
    frames[0].set_momenta(np.full((4, 3), 1.0))

    def rows(atoms):
        return np.hstack([atoms.positions, atoms.get_velocities() * 0.09822694788])  # Å/fs

    (tmp_path / "run.dump").write_text(dump(frames[:1], columns="id type x y z vx vy vz", rows=rows))
    (atoms,) = read_frames(tmp_path / "run.dump", ["Cu"], lammps_units="real")
    assert atoms.get_temperature() == pytest.approx(frames[0].get_temperature(), rel=1e-4)
    with pytest.raises(InputError, match="--lammps-units: received lj"):
        list(read_frames(tmp_path / "run.dump", ["Cu"], lammps_units="lj"))


@pytest.mark.parametrize("lost", [2, 4, 60])
def test_a_dump_that_is_cut_is_refused_at_its_last_frame(frames, tmp_path, lost) -> None:
    (tmp_path / "run.dump").write_text(dump(frames)[:-lost])
    read = read_frames(tmp_path / "run.dump", ["Cu"])
    assert len([next(read), next(read)]) == 2
    with pytest.raises(InputError, match=r"frame 2 .*cut off"):
        next(read)


def test_an_extxyz_that_is_cut_is_refused_at_its_last_frame(frames, tmp_path) -> None:
    write(tmp_path / "run.extxyz", frames)
    lines = (tmp_path / "run.extxyz").read_text().splitlines()
    (tmp_path / "run.extxyz").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match=r"frame 2 of the format extxyz cannot be read"):
        list(read_frames(tmp_path / "run.extxyz"))


def test_what_was_checked_before_a_broken_frame_is_in_the_log(potential, frames, tmp_path) -> None:
    (tmp_path / "run.dump").write_text(dump(frames)[:-4])
    options = MonitorOptions(log=tmp_path / "log.jsonl")
    with pytest.raises(InputError, match="cut off"):
        monitor_trajectory(potential, read_frames(tmp_path / "run.dump", ["Cu"]), options, name="run.dump")
    summary = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert (summary["event"], summary["checks"], summary["last_step"]) == ("summary", 2, 100)


def test_times_are_told_only_where_they_are_known(potential, frames) -> None:
    def checked(**more):
        return monitor_trajectory(potential, [a.copy() for a in frames], MonitorOptions(log=None), name="x", **more)

    assert checked()["since_trusted_ps"] is None
    assert checked(between_frames_fs=20.0)["since_trusted_ps"] is not None


def test_words_in_a_files_header_are_not_taken_for_steps(potential, frames) -> None:
    for atoms in frames:
        atoms.info["timestep"] = "0.5 fs"
    summary = monitor_trajectory(potential, frames, MonitorOptions(log=None), name="x")
    assert (summary["first_step"], summary["last_step"]) == (0, 2)


def test_another_periodicity_in_mid_file_is_noticed(potential, frames) -> None:
    frames[1].pbc = False
    with pytest.raises(InputError, match="x, frame 1 is periodic in 0 directions"):
        monitor_trajectory(potential, frames, MonitorOptions(log=None), name="x")


@pytest.mark.parametrize(("factor", "said"), [(1e-3, "a cell of"), (1e30, "a length of")])
def test_numbers_beyond_the_bounds_are_refused_at_the_start_and_an_alarm_later(potential, frames, factor, said) -> None:
    def logged(absurd: int) -> list[dict]:
        watched = [atoms.copy() for atoms in frames]
        watched[absurd].set_cell(watched[absurd].cell * factor, scale_atoms=True)
        for atoms in watched:  # as a file tells them: nobody asks the model before physics is judged
            atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        log = Path("monitor.jsonl")
        log.unlink(missing_ok=True)
        monitor_trajectory(potential, watched, MonitorOptions(on_alarm=(), log=log), name="x")
        return [json.loads(line) for line in log.read_text().splitlines()]

    with pytest.raises(InputError, match=f"x, frame 0: received {said} .*; correct the number or its unit"):
        logged(0)
    assert any(said in json.dumps(line, ensure_ascii=False) and "discard" in json.dumps(line) for line in logged(2))


def test_a_frame_of_an_element_that_the_model_lacks_names_its_number(potential, frames) -> None:
    frames[2].numbers[1] = 84
    with pytest.raises(InputError, match="x, frame 2 holds Po"):
        monitor_trajectory(potential, frames, MonitorOptions(log=None), name="x")


def invoke(*arguments):
    result = CliRunner().invoke(app, ["monitor", *map(str, arguments)])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.mark.parametrize("cut", ["committee.safetensors", "committee.json"])
def test_a_model_that_was_cut_is_refused(checkpoint, frames, tmp_path, cut) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in checkpoint.iterdir():
        content = file.read_bytes()
        (model / file.name).write_bytes(content[: len(content) // 2] if file.name == cut else content)
    write("run.extxyz", frames)
    code, _, err = invoke("--model", model, "--trajectory", "run.extxyz")
    assert (code, "Traceback" in err) == (2, False)
    assert "model" in err
    code, _, err = invoke("--model", model / "committee.json", "--trajectory", "run.extxyz")
    assert code == 2
    assert "is a file; expected a checkpoint's folder" in err


def test_ctrl_c_leaves_the_summary(checkpoint, make_copper, tmp_path, monkeypatch) -> None:
    from al_loop.dynamics.ase_dynamics import ReplicaDynamics

    step = ReplicaDynamics.step

    def interrupted(self):
        if self.nsteps == 3:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(ReplicaDynamics, "step", interrupted)
    write("copper.cif", make_copper(amplitude_A=0.0))
    code, _, err = invoke("--model", checkpoint, "copper.cif", "--steps", 10, "--every", 1)
    assert code == 130
    assert "The summary so far is the last line of monitor.jsonl" in err
    summary = json.loads((tmp_path / "monitor.jsonl").read_text().splitlines()[-1])
    assert (summary["event"], summary["checks"], summary["last_step"]) == ("summary", 4, 3)


def test_charge_and_spin_are_given_to_files_that_know_neither(tmp_path) -> None:
    from ase.build import molecule

    from committee import CommitteePotential, CommitteeSettings, load_backbone, save
    from committee.settings import FairchemSettings

    foundation = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omol")
    save(CommitteePotential.untrained(load_backbone(foundation), CommitteeSettings(members=2)), tmp_path / "omol")
    write("water.xyz", [molecule("H2O"), molecule("H2O")], format="xyz")
    options = ("--model", tmp_path / "omol", "--foundation", f"fairchem:{DISTILLED}:omol", "--json")
    code, out, err = invoke(*options, "--trajectory", "water.xyz", "--charge", 0, "--spin", 1)
    assert code == 0, err
    assert (json.loads(out)["checks"], json.loads(out)["alarms"]) == (2, 0)
    code, _, err = invoke(*options, "water.xyz", "--steps", 1)
    assert code == 2
    assert "charge=0 spin=1 in its second line" in err
    code, _, err = invoke(*options, "--trajectory", "water.xyz")
    assert code == 2
    assert "has no charge in atoms.info" in err


def test_a_trajectory_without_cell_is_checked_once_it_has_one(checkpoint, frames, tmp_path) -> None:
    write("bare.xyz", frames, format="xyz")
    text = Path("bare.xyz").read_text().replace("Cu ", "Cu_pv ").rstrip()
    Path("bare.xyz").write_text(text)  # labels of POTCARs, and no line end
    options = ("--model", checkpoint, "--trajectory", "bare.xyz", "--json")
    code, _, err = invoke(*options)
    assert code == 2
    assert "bare.xyz, frame 0 is periodic in 0 directions" in err
    assert "--cell and --pbc for files that have none" in err
    cell = " ".join(map(str, frames[0].cell.lengths()))
    code, out, err = invoke(*options, "--cell", cell, "--pbc", "T T T")
    assert code == 0, err
    write("whole.extxyz", frames)
    code, expected, _ = invoke("--model", checkpoint, "--trajectory", "whole.extxyz", "--json")
    same = ("checks", "trusted", "alarms", "share_trusted")
    assert [json.loads(out).get(key) for key in same] == [json.loads(expected).get(key) for key in same]
    code, _, err = invoke("--model", checkpoint, "--trajectory", "whole.extxyz", "--cell", "9 9 9")
    assert code == 2
    assert "whole.extxyz, frame 0 states a cell of" in err
    write("start.xyz", frames[0], format="xyz")
    code, out, err = invoke("--model", checkpoint, "start.xyz", "--cell", cell, "--steps", 1, "--json")
    assert code == 0, err
    code, _, err = invoke("--model", tmp_path, "start.xyz", "--pbc", "TTT")
    assert (code, "start.xyz has no cell vector a and b and c" in err) == (2, True)
