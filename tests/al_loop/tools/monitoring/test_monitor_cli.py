"""``al-loop monitor``: from files to files and exit codes."""

import json

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from typer.testing import CliRunner

from al_loop.cli import app

CAMPAIGN = """
name: copper
folder: not-begun
foundation: {kind: sevennet}
systems: [{file: copper.cif}]
explore: {temperatures_K: [300]}
label: {engine: {engine: ase, calculator: ase.calculators.emt.EMT}}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*arguments):
    result = CliRunner().invoke(app, ["monitor", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def frames_of_a_run(atoms, count=6):
    atoms = atoms.copy()
    atoms.calc = EMT()
    dyn = VelocityVerlet(atoms, 4 * units.fs)
    frames = []
    dyn.attach(lambda: frames.append(atoms.copy()))
    dyn.run(count - 1)
    return frames


def dump(path, frames, columns="id type x y z", types=None):
    lines = []
    for step, atoms in enumerate(frames):
        lengths = atoms.cell.lengths()
        lines += ["ITEM: TIMESTEP", str(10 * step), "ITEM: NUMBER OF ATOMS", str(len(atoms))]
        lines += ["ITEM: BOX BOUNDS pp pp pp", *(f"0.0 {length:.8f}" for length in lengths)]
        lines.append(f"ITEM: ATOMS {columns}")
        kinds = types or [1] * len(atoms)
        wrapped = atoms.get_positions(wrap=True)
        rows = [f"{i + 1} {kinds[i]} " + " ".join(f"{x:.8f}" for x in wrapped[i]) for i in range(len(atoms))]
        lines += rows[::-1]  # LAMMPS writes in any order
    path.write_text("\n".join(lines) + "\n")


def test_it_runs_md_and_the_same_command_gives_the_same_run(checkpoint, make_copper) -> None:
    write("copper.cif", make_copper(amplitude_A=0.0))
    options = ("--model", checkpoint, "copper.cif", "--steps", 10, "--timestep", 2, "--json", "--md-trajectory")
    code, out, _ = invoke(*options, "one.traj")
    summary = json.loads(out)
    assert (code, summary["checks"], summary["last_step"], summary["own_evaluations"]) == (0, 3, 10, 0)
    assert invoke(*options, "two.traj")[0] == 0
    np.testing.assert_array_equal(read("one.traj").positions, read("two.traj").positions)


@pytest.mark.parametrize("ensemble", ["nve", "bussi", "npt"])
def test_every_ensemble_of_the_explorer_runs(checkpoint, make_copper, ensemble) -> None:
    write("copper.cif", make_copper(amplitude_A=0.0))
    code, out, _ = invoke("--model", checkpoint, "copper.cif", "--steps", 4, "--ensemble", ensemble, "--every", 2)
    assert code == 0
    assert "of 3 checks" in out


def test_a_stop_exits_with_3_and_leaves_the_frame(checkpoint, make_copper) -> None:
    write("copper.cif", make_copper(amplitude_A=0.3))
    code, _, err = invoke("--model", checkpoint, "copper.cif", "--steps", 50, "--on-alarm", "stop")
    assert code == 3
    assert "stopped at step 0" in err
    assert read("monitor-alarms.extxyz").info["step"] == 0


def test_one_trajectory_in_four_formats_has_one_verdict(checkpoint, make_copper, tmp_path) -> None:
    frames = frames_of_a_run(make_copper(3))
    write("run.extxyz", frames)
    write("run.traj", frames)
    write("XDATCAR", frames, format="vasp-xdatcar")
    dump(tmp_path / "run.dump", frames)
    of_file = {}
    for name, more in (("run.extxyz", ()), ("run.traj", ()), ("XDATCAR", ()), ("run.dump", ("--species", "Cu"))):
        code, _, err = invoke("--model", checkpoint, "--trajectory", name, "--log", f"{name}.jsonl", *more)
        assert code == 0, err
        lines = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        of_file[name] = [(one["verdict"], one["check"]) for one in lines if one["event"] == "check"]
        uncertainties = [one["force_uncertainty_eV_per_A"] for one in lines if one["event"] == "check"]
        if name == "run.extxyz":
            expected = uncertainties
        np.testing.assert_allclose(uncertainties, expected, rtol=1e-2)
    assert len(of_file["run.extxyz"]) == 6
    assert len({json.dumps(verdicts) for verdicts in of_file.values()}) == 1


def test_frames_that_blew_up_are_named_and_the_rest_is_checked(checkpoint, make_copper) -> None:
    frames = frames_of_a_run(make_copper(3), 4)
    frames[2].positions[1] = np.nan
    write("run.extxyz", frames)
    code, out, _ = invoke("--model", checkpoint, "--trajectory", "run.extxyz", "--json")
    summary = json.loads(out)
    assert (code, summary["checks"], summary["verdicts"]["discard"]) == (0, 4, 1)


def test_a_file_of_other_atoms_begins_another_trajectory(checkpoint, make_copper) -> None:
    write("mixed.extxyz", [make_copper(1), make_copper(1).repeat((2, 1, 1)), make_copper(2)])
    code, out, _ = invoke("--model", checkpoint, "--trajectory", "mixed.extxyz", "--screen", "--json")
    assert (code, json.loads(out)["checks"]) == (0, 3)


def broken_files(tmp_path, atoms):
    frames = [atoms, atoms]
    molecule, foreign = atoms.copy(), atoms.copy()
    molecule.pbc = False
    foreign.numbers[0] = 84
    nan = atoms.copy()
    nan.positions[0] = np.nan
    write(tmp_path / "free.extxyz", molecule)
    write(tmp_path / "polonium.extxyz", foreign)
    write(tmp_path / "nan.extxyz", nan)
    (tmp_path / "empty.extxyz").write_text("")
    (tmp_path / "what.bin").write_bytes(bytes(range(200)))
    write(tmp_path / "good.extxyz", frames)
    text = (tmp_path / "good.extxyz").read_text().splitlines()
    text[-1] = "Cu a b c"
    (tmp_path / "words.extxyz").write_text("\n".join(text))
    dump(tmp_path / "types.dump", frames)
    dump(tmp_path / "more.dump", frames, types=[1, 2, 1, 1])
    (tmp_path / "cut.dump").write_text("\n".join((tmp_path / "types.dump").read_text().splitlines()[:-2]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("free.extxyz", "periodic in 0 directions"),
        ("polonium.extxyz", "Po"),
        ("nan.extxyz", "NaN or infinite positions"),
        ("empty.extxyz", "is empty"),
        ("what.bin", "format that ASE does not know"),
        ("words.extxyz", "frame 1 of the format extxyz cannot be read"),
        ("types.dump", "--species Na,Cl"),
        ("more.dump", "types up to 2, --species names 1"),
        ("cut.dump", "frame 1 of the format"),
        ("none.extxyz", "none.extxyz does not exist"),
    ],
)
def test_bad_trajectories_exit_with_2(checkpoint, make_copper, tmp_path, name, message) -> None:
    broken_files(tmp_path, make_copper(1))
    more = ("--species", "Cu") if name in {"more.dump", "cut.dump"} else ()
    code, _, err = invoke("--model", checkpoint, "--trajectory", name, *more)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_options_do_not_override_what_a_file_states(checkpoint, make_copper) -> None:
    stated = make_copper()
    stated.info.update(total_charge=1.0, multiplicity=2)
    write("stated.extxyz", [make_copper(), stated])
    code, _, err = invoke("--model", "nowhere", "stated.extxyz", "--charge", 0)
    assert code == 2
    assert "--charge: received 0, but stated.extxyz states charge=1" in err
    code, _, err = invoke("--model", checkpoint, "--trajectory", "stated.extxyz", "--charge", 1, "--spin", 1)
    assert code == 2
    assert "--spin: received 1, but stated.extxyz states spin=2 (frame 1" in err


def test_the_last_of_several_frames_is_said(checkpoint, make_copper) -> None:
    write("several.extxyz", [make_copper(), make_copper()])
    code, _, err = invoke("--model", checkpoint, "several.extxyz", "--steps", 1)
    assert code == 0
    assert "several.extxyz holds 2 frames; the last one (frame 1) is used" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nowhere", "copper.cif"), "no such folder"),
        (("--model", "nowhere"), "either STRUCTURE"),
        (("--model", "nowhere", "copper.cif", "--trajectory", "x"), "either STRUCTURE"),
        (("--model", "nowhere", "copper.cif", "--steps", 0), "--steps 0"),
        (("--model", "nowhere", "copper.cif", "--on-alarm", "shout"), "received shout, expected"),
        (("--model", "nowhere", "copper.cif", "--every", 0), "--every 0"),
        (("--model", "nowhere", "copper.cif", "--temperature", "nan"), "--temperature nan"),
        (("--model", "nowhere", "missing.cif"), "does not exist"),
        (("--model", "nowhere", "copper.cif", "--log", "no/where.jsonl"), "folder no"),
        (("--model", "nowhere", "copper.cif", "--md-trajectory", "no/where.traj"), "folder no"),
        (("--model", "nowhere", "copper.cif", "--pressure", "nan"), "--pressure nan, expected a number"),
        (("--model", "nowhere", "copper.cif", "--seed", -1), "--seed"),
        (("--model", "campaign.yaml", "copper.cif"), "start it with: al-loop run campaign.yaml"),
    ],
)
def test_bad_arguments_exit_with_2(make_copper, tmp_path, arguments, message) -> None:
    write("copper.cif", make_copper(amplitude_A=0.0))
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    code, _, err = invoke(*arguments)
    assert code == 2
    assert message in err
