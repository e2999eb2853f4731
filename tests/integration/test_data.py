"""Labels and frames out of a campaign and into another one, on a real server: exact, or refused as a whole."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import lmdb
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.db import connect
from ase.io import read, write
from dft_outputs import calculated, outcar
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.import_log import IMPORTED_ATOMS, imported_atom_energies, with_imported_atoms
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.tools.exchange.exporting import export_file
from al_loop.tools.exchange.harvest import harvest
from al_loop.tools.exchange.importing import import_file
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Label, LabelStatus

LEVEL = "0123456789abcdef"
REASON = 'σ = 0.5 "eV/Å"\\ >= τ\n=[{x}], _JSON <script>'


def odd_frames() -> list[Atoms]:
    """Structures that files lose something of: tiny and huge numbers, one atom, moments, no cell, a mixed pbc."""
    rng = np.random.default_rng(1)
    crystal = bulk("Cu", cubic=True)
    crystal.positions += rng.normal(size=(4, 3)) * 1e-3
    crystal.set_initial_magnetic_moments([0.1 + 0.2, -0.0, 1e-300, -2.2])
    slab = bulk("Cu", cubic=True, a=3.7)
    slab.pbc = (True, False, True)
    slab.set_initial_magnetic_moments(rng.normal(size=(4, 3)))
    molecule_ = Atoms("Cu2", [[1 / 3, -1e-17, 12345.678901234567], [2.2, 0.1 + 0.2, 12345.0]])
    molecule_.info = {"charge": -1, "spin": 2}
    return [crystal, slab, molecule_, Atoms("Cu", info={"charge": 1.0})]


def label_of(atoms: Atoms, seed: int) -> Label:
    rng = np.random.default_rng(seed)
    forces = rng.normal(size=(len(atoms), 3))
    forces -= forces.mean(axis=0)
    forces[0] += [1e-17, 0, 0]
    stress = rng.normal(size=6) / 7 if atoms.pbc.all() else None
    moments = rng.normal(size=len(atoms)) if seed % 2 == 0 else None
    energy = -(10.0**seed) / 3
    return Label(LabelStatus.CONVERGED, LEVEL, energy, forces, stress, 1.5, magnetic_moments_uB=moments)


def visits(frames: list[Atoms]) -> list[Frame]:
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, REASON, (0,))
    return [
        Frame(frame_id(atoms), atoms, Role.EXPLORE, "copper", f"copper/600K/{i}", i, 600.0, verdict, 0.1 + 0.2, 1 / 3)
        for i, atoms in enumerate(frames)
    ]


@pytest.fixture
def config(store: StoreSettings, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(
        f"name: second\nfolder: {tmp_path}/run\nfoundation: {{kind: sevennet, model: 7net-0}}\n"
        "systems: [{file: cu.cif}]\nexplore: {temperatures_K: [600], timestep_fs: 2.0, steps: 30, check_every: 5}\n"
        "label: {workers: 0, engine: {engine: ase, calculator: ase.calculators.emt.EMT}}\n"
    )
    write(tmp_path / "cu.cif", bulk("Cu", cubic=True))
    loaded = load_config(tmp_path / "c.yaml")
    return loaded.model_copy(update={"store": store})


@pytest.fixture
def ledgers(store: StoreSettings, tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """A campaign with labels, and one on another database without any."""
    with ExitStack() as stack:
        first = stack.enter_context(open_ledger(StoreSettings(uri=store.uri), tmp_path, "first"))
        other = StoreSettings(uri=str(store.uri).replace("/test_", "/test_other_"))
        second = stack.enter_context(open_ledger(other, tmp_path, "second"))
        for ledger in (first, second):
            ledger.start_campaign({"level_of_theory": {"fingerprint": LEVEL, "summary": "emt"}})
        frames = odd_frames()
        first.replace_visits(0, [Role.EXPLORE], visits(frames))
        first.request_labels(0, Role.EXPLORE, visits(frames)[:3], LEVEL)
        seed = 0
        while claimed := first.claim("worker", LEVEL, 60.0):
            assert first.complete(claimed, label_of(claimed.atoms, seed))
            seed += 1
        first.finish_stage(0, "select", 1.0, {})
        first.event("worker", "x", worker="x", versions={"ase": "3.29.0"})
        yield first, second
        second._database.client.drop_database(second._database.name)


def same_bits(one, two) -> bool:
    return (one is None and two is None) or np.asarray(one, float).tobytes() == np.asarray(two, float).tobytes()


@pytest.mark.parametrize("ending", ["extxyz", "aselmdb"])
def test_a_round_trip_keeps_every_bit_and_where_it_came_from(ledgers, config, tmp_path: Path, ending: str) -> None:
    first, second = ledgers
    path = tmp_path / f"all.{ending}"
    assert export_file(first, path, "all") == 4
    assert sorted(p.name for p in tmp_path.iterdir() if "all" in p.name) == [path.name]
    done = import_file(second, config, path, campaign_level=LEVEL)
    assert (done.labels, done.labels_new, done.suspects, done.suspects_new) == (3, 3, 1, 1)
    assert second.waiting().labels == 3
    mine = {frame.frame_id: frame for frame in first.labelled([Role.EXPLORE])}
    theirs = {frame.frame_id: frame for frame in second.labelled([Role.EXPLORE])}
    assert mine.keys() == theirs.keys()
    for key, one in mine.items():
        two = theirs[key]
        for a, b in (
            (one.atoms.positions, two.atoms.positions),
            (one.atoms.cell.array, two.atoms.cell.array),
            (one.label.energy_eV, two.label.energy_eV),
            (one.label.forces_eV_per_A, two.label.forces_eV_per_A),
            (one.label.stress_eV_per_A3, two.label.stress_eV_per_A3),
            (one.label.magnetic_moments_uB, two.label.magnetic_moments_uB),
            (one.atoms.get_initial_magnetic_moments(), two.atoms.get_initial_magnetic_moments()),
        ):
            assert same_bits(a, b)
        assert (one.atoms.pbc == two.atoms.pbc).all()
        assert one.atoms.info == two.atoms.info
        assert one.atoms.has("initial_magmoms") == two.atoms.has("initial_magmoms")
        assert two.label.cost_s == 1.5
    again = tmp_path / f"again.{ending}"
    assert export_file(second, again, "labels") == 3
    known = _provenance(again)
    assert {told["origin"]["campaign"] for told in known} == {"first"}
    assert {told["origin"]["verdict"]["reason"] for told in known} == {REASON}
    assert {told["origin"]["force_uncertainty_eV_per_A"] for told in known} == {0.1 + 0.2}
    assert {(told["origin"]["round"], told["origin"]["role"]) for told in known} == {(0, "explore")}
    assert {json.dumps(told["origin"]["versions"]) for told in known} == {'{"ase": ["3.29.0"]}'}
    repeated = import_file(second, config, path, campaign_level=LEVEL)
    assert (repeated.labels_new, repeated.suspects_new) == (0, 0)


def _provenance(path: Path) -> list[dict]:
    if path.suffix == ".aselmdb":
        with connect(path, type="aselmdb", readonly=True, use_lock_file=False) as database:
            return [row.data["al_loop"] for row in database.select()]
    return [atoms.info["al_loop"] for atoms in read(path, ":")]


def test_fairchem_reads_what_is_exported(ledgers, tmp_path: Path) -> None:
    from fairchem.core.datasets import AseDBDataset

    first, _ = ledgers
    path = tmp_path / "labels.aselmdb"
    export_file(first, path)
    data = AseDBDataset({"src": str(path)})
    assert len(data) == 3
    found = {frame_id(data.get_atoms(i)): data.get_atoms(i) for i in range(3)}
    for frame in first.labelled([Role.EXPLORE]):
        atoms = found[frame.frame_id]
        assert atoms.get_potential_energy() == frame.label.energy_eV
        assert same_bits(atoms.get_forces(), frame.label.forces_eV_per_A)
        assert {key: atoms.info[key] for key in frame.atoms.info} == frame.atoms.info


def test_files_of_other_programs_need_a_stated_level(ledgers, config, tmp_path: Path) -> None:
    _, second = ledgers
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=3)
    atoms.info["REF_energy"] = -1.0
    forces = np.random.default_rng(0).normal(size=(4, 3))
    atoms.arrays["REF_forces"] = forces - forces.mean(axis=0)
    write(tmp_path / "mine.extxyz", [atoms])
    with pytest.raises(InputError, match=f"--level engine .that is --level {LEVEL}."):
        import_file(second, config, tmp_path / "mine.extxyz", campaign_level=LEVEL)
    with pytest.raises(InputError, match=r"'beef'.*align\.other_labels"):
        import_file(second, config, tmp_path / "mine.extxyz", campaign_level=LEVEL, level="beef")
    assert import_file(second, config, tmp_path / "mine.extxyz", campaign_level=LEVEL, level="engine").labels_new == 1


def test_outputs_of_a_code_are_imported_together_or_not_at_all(ledgers, config, tmp_path: Path) -> None:
    _, second = ledgers
    steps = calculated(5, fourth="Cu")
    for name, text in (
        ("a", outcar(steps[:3], [True, False, True])),
        ("b", outcar(steps[3:4], [True])),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "OUTCAR").write_text(text)
    bare = write_bare(tmp_path / "bare.extxyz", steps[4].atoms)
    given = [tmp_path / "runs", bare]
    with pytest.raises(InputError, match=r"runs/a/OUTCAR, step 1 has a label without a level of theory"):
        import_file(second, config, given, campaign_level=LEVEL)
    (tmp_path / "runs" / "b" / "OUTCAR").write_text(outcar(calculated(1), [True]))
    with pytest.raises(InputError, match=r"runs/b/OUTCAR, step 1 .*Au.*Nothing was imported"):
        import_file(second, config, given, campaign_level=LEVEL, level="engine")
    assert not second.events()
    assert second.waiting().labels == second.waiting().suspects == 0
    (tmp_path / "runs" / "b" / "OUTCAR").write_text(outcar(steps[3:4], [True]))
    done = import_file(second, config, given, campaign_level=LEVEL, level="engine")
    assert (done.labels_new, done.suspects_new) == (3, 1)
    assert done.notes == (
        f"{tmp_path}/runs/a/OUTCAR: left out 1 of 3 steps (2), because the electronic steps did not converge.",
    )
    trajectories = {frame.trajectory for frame in second.labelled([Role.EXPLORE])}
    assert trajectories == {"import/a/OUTCAR", "import/b/OUTCAR"}
    assert import_file(second, config, given, campaign_level=LEVEL, level="engine").labels_new == 0


def write_bare(path: Path, atoms: Atoms) -> Path:
    write(path, atoms, format="extxyz")
    return path


def good(tmp_path: Path, first: Ledger, ending: str = "extxyz") -> Path:
    path = tmp_path / f"good.{ending}"
    export_file(first, path)
    return path


def many_labelled(path: Path, count: int) -> Path:
    """A file of as many different labelled frames, and one without a label."""
    frames = [bulk("Cu", cubic=True) for _ in range(count)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
        labelled = EMT()
        atoms.info["REF_energy"] = labelled.get_potential_energy(atoms)
        atoms.arrays["REF_forces"] = labelled.get_forces(atoms)
    bare = bulk("Cu", cubic=True)
    write(path, [*frames, bare], format="extxyz")
    return path


def test_labels_too_few_to_compare_are_imported_and_that_is_said(
    config, store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URI", str(store.uri))
    with open_ledger(store, tmp_path, "second") as ledger:
        ledger.start_campaign({"level_of_theory": {"fingerprint": LEVEL, "summary": "emt"}})
        for count, options, said in ((2, ["--no-check"], False), (3, [], True), (4, [], False)):
            path = many_labelled(tmp_path / f"{count}.extxyz", count)
            words = ["import", str(tmp_path / "c.yaml"), str(path), "--level", "engine", *options]
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
            assert ("3 labels are too few to compare with the foundation" in result.output) is said
        assert ledger.waiting().labels == 4


def test_an_import_that_was_killed_is_told_and_completed(
    config, store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 900
    monkeypatch.setenv("MONGODB_URI", str(store.uri))
    path = many_labelled(tmp_path / "many.extxyz", count)
    words = ["import", str(tmp_path / "c.yaml"), str(path), "--level", "engine", "--no-check"]

    def said(*command: str) -> str:
        result = CliRunner().invoke(app, list(command))
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    with open_ledger(store, tmp_path, "second") as ledger:
        ledger.start_campaign({"level_of_theory": {"fingerprint": LEVEL, "summary": "emt"}})
        killed = subprocess.Popen([sys.executable, "-m", "al_loop.cli", *words], start_new_session=True)
        while ledger.waiting().labels < 50:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
        killed.wait()
        assert 50 <= ledger.waiting().labels < count
        told = f"import of many.extxyz ({count} labels, 1 frames without one)"
        assert told in said("status", str(tmp_path / "c.yaml"))
        other = many_labelled(tmp_path / "other.extxyz", 2)
        assert told in said("import", str(tmp_path / "c.yaml"), str(other), "--level", "engine", "--no-check")
        assert "was interrupted; this one completes it" in said(*words)
        status = json.loads(said("status", str(tmp_path / "c.yaml"), "--json"))
        assert status["unfinished_imports"] == []
        assert (ledger.waiting().labels, ledger.waiting().suspects) == (count, 1)
        again = said(*words)
        assert f"{count} labels, 0 of them new; 1 frames without a label, 0 of them new" in again
        assert "completes" not in again
        for name in ("label", "request"):
            assert ledger._database[name].count_documents({"level": LEVEL}) == count


def emt_frame(path: Path, seed: int, energy_off_eV: float = 0.0, *extra: Atoms, parts: str = "ef") -> Path:
    """A file of one frame with its label of EMT, or a part of it, and others."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    if "e" in parts:
        atoms.info["REF_energy"] = EMT().get_potential_energy(atoms) + energy_off_eV
    if "f" in parts:
        atoms.arrays["REF_forces"] = EMT().get_forces(atoms)
    write(path, [atoms, *extra], format="extxyz")
    return path


def test_labels_that_contradict_the_file_or_the_ledger_are_refused(ledgers, config, tmp_path: Path) -> None:
    _, second = ledgers

    def imported(path: Path):
        return import_file(second, config, path, campaign_level=LEVEL, level="engine")

    mine = emt_frame(tmp_path / "mine.extxyz", 1)
    assert imported(mine).labels_new == 1
    again = read(mine, 0)[[2, 0, 3, 1]]
    write(tmp_path / "again.extxyz", [again, again[[1, 0, 2, 3]]])
    done = imported(tmp_path / "again.extxyz")
    assert (done.labels, done.labels_new) == (2, 0)
    repeated, known = done.notes
    assert "again.extxyz, frame 1 is" in repeated
    assert known == "1 frame has an equal label in the campaign."
    shifted = read(mine, 0)
    shifted.wrap(center=0.2)
    shifted.positions[1] += shifted.cell[0]
    write(tmp_path / "images.extxyz", [shifted, read(emt_frame(tmp_path / "x.extxyz", 5), 0), read(mine, 0)])
    done = imported(tmp_path / "images.extxyz")
    assert "images.extxyz, frame 2 is" in done.notes[0]
    wrong = emt_frame(tmp_path / "wrong.extxyz", 1, 0.5)
    with pytest.raises(InputError, match=r"wrong\.extxyz, frame 0 has a label in the campaign's ledger already"):
        imported(wrong)
    both = emt_frame(tmp_path / "both.extxyz", 9, 0.5, read(emt_frame(tmp_path / "y.extxyz", 9), 0))
    with pytest.raises(InputError, match=r"both\.extxyz, frame 0 and .*both\.extxyz, frame 1 are the same geometry"):
        imported(both)
    assert second.waiting().labels == 3


def test_isolated_atoms_are_imported_as_energies_and_never_as_frames(ledgers, config, tmp_path: Path) -> None:
    _, second = ledgers

    def imported(path: Path, settings=config):
        return import_file(second, settings, path, campaign_level=LEVEL, level="engine")

    lone = Atoms("Cu", info={"REF_energy": 3.51, "config_type": "IsolatedAtom"})
    gold = Atoms("Au", info={"REF_energy": 3.8})
    nucleus = Atoms("Cu", info={"REF_energy": 0.0, "config_type": "IsolatedAtom", "charge": 29})
    path = emt_frame(tmp_path / "mine.extxyz", 1, 0.0, lone, gold, nucleus)
    done = imported(path)
    assert (done.labels, done.labels_new, done.suspects) == (1, 1, 0)
    assert "taken for Cu (3.51 eV)" in done.notes[0]
    assert any("Isolated atoms of Au were left out" in note for note in done.notes)
    assert any("1 isolated atom that is" in note and "frame 3 (charge +29)" in note for note in done.notes)
    assert imported_atom_energies(second, LEVEL) == {"Cu": 3.51}
    assert imported_atom_energies(second, "another level") == {}
    imported(path)
    assert len(second.events(IMPORTED_ATOMS)) == 1
    other = emt_frame(tmp_path / "other.extxyz", 2, 0.0, Atoms("Cu", info={"REF_energy": 3.6}))
    with pytest.raises(InputError, match=r"mine\.extxyz, frame 1 .imported before. and .*other\.extxyz, frame 1"):
        imported(other)
    align = config.align.model_copy(update={"isolated_atoms_eV": {"Cu": 3.7}})
    mine = config.model_copy(update={"align": align})
    with pytest.raises(InputError, match=r"align\.isolated_atoms_eV and .*mine\.extxyz, frame 1"):
        imported(path, mine)
    taken, remarks = with_imported_atoms(mine, {"Cu": 3.51, "Ag": 2.0})
    assert taken.align.isolated_atoms_eV == {"Cu": 3.7, "Ag": 2.0}
    assert "3.7 eV and an imported file 3.51 eV: the config's is used" in remarks[0]
    assert with_imported_atoms(config, {"Cu": 3.51})[0].align.isolated_atoms_eV == {"Cu": 3.51}
    with pytest.raises(InputError, match="without a level of theory"):
        import_file(second, config, path, campaign_level=LEVEL)


@pytest.mark.parametrize("parts", ["e", "f"])
def test_a_part_of_a_label_is_no_label_of_a_campaign(ledgers, config, tmp_path: Path, parts: str) -> None:
    _, second = ledgers
    path = emt_frame(tmp_path / "part.extxyz", 1, parts=parts)
    with pytest.raises(InputError, match=r"part\.extxyz, frame 0 has .* a campaign needs both.*align\.other_labels"):
        import_file(second, config, path, campaign_level=LEVEL, level="engine")


HOSTILE = {
    "NaN energy": lambda t: t.replace("REF_energy=-33", "REF_energy=nan -33"),
    "no forces": lambda t: t.replace("REF_forces", "other"),
    "no energy": lambda t: t.replace("REF_energy", "other"),
    "other elements": lambda t: t.replace("Cu ", "Au "),
    "cut off": lambda t: t[: len(t) - 60],
    "atoms without end": lambda t: "9" * 18 + t,
    "not a number of atoms": lambda t: "x" + t,
    "other level": lambda t: t.replace(LEVEL, "f" * 16),
    "a huge force": lambda t: t.replace("REF_energy", "x").replace("Cu 0.0", "Cu 1e9"),
    "a huge stress": lambda t: t.replace('REF_stress="', 'REF_stress="1e6 0 0 0 0 0" other="'),
    "a huge energy": lambda t: t.replace("REF_energy=", "REF_energy=-1e99 other="),
    "a charge of -999": lambda t: t.replace("charge=-1", "charge=-999"),
    "nothing": lambda t: "",
    "binary": lambda t: t + "\0\ud800",
    "no number": lambda t: t.replace("Cu ", "Cu abc "),
    "in nm": lambda t: t.replace("Properties", 'Lattice="0.1 0 0 0 0.1 0 0 0 0.1" Properties'),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_as_a_whole(ledgers, config, tmp_path: Path, kind: str) -> None:
    first, second = ledgers
    text = good(tmp_path, first).read_text()
    bad = HOSTILE[kind](text)
    path = tmp_path / "bad.extxyz"
    path.write_bytes((text + bad if bad else bad).encode(errors="surrogatepass"))
    with pytest.raises(InputError) as refused:
        import_file(second, config, path, campaign_level=LEVEL)
    assert str(path) in str(refused.value)
    assert second.waiting().labels == second.waiting().suspects == 0
    assert not second.events()


def test_a_damaged_or_made_up_aselmdb_is_refused(ledgers, config, tmp_path: Path) -> None:
    first, second = ledgers
    whole = good(tmp_path, first, "aselmdb").read_bytes()
    bad = tmp_path / "bad.aselmdb"
    pickled = tmp_path / "pickled.aselmdb"
    with lmdb.open(str(pickled), subdir=False, map_size=2**20) as environment, environment.begin(write=True) as writing:
        code = f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode()
        writing.put(b"1", code)
        writing.put(b"nextid", __import__("zlib").compress(b"2"))
    for data in (whole[:5000], whole[: len(whole) // 2], b"no database" * 1000, b"", pickled.read_bytes()):
        bad.write_bytes(data)
        with pytest.raises(InputError, match=r"bad\.aselmdb"):
            import_file(second, config, bad, campaign_level=LEVEL)
    assert second.waiting().labels == 0
    assert not (tmp_path / "ran").exists()


def test_harvested_frames_wait_for_a_round_once(ledgers, config, store, tmp_path: Path) -> None:
    first, _ = ledgers
    mine = config.model_copy(update={"name": "first"})
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.info["velocity"] = "not kept"
    bad = atoms.copy()
    bad.positions[0] = np.nan
    frames = [atoms, atoms[[3, 2, 1, 0]], bad, molecule("H2O")]
    done = harvest(mine, frames, ["over threshold"] * 4, "production/run-7")
    assert (done.new, done.known, sorted(done.left_out)) == (1, 1, [2, 3])
    assert harvest(mine, [atoms], ["again"], "elsewhere").new == 0
    assert first.waiting().suspects == 1
    (waiting,) = first.visits(-1, Role.HARVESTED)
    assert (waiting.verdict.reason, waiting.trajectory) == ("over threshold", "production/run-7")
    with pytest.raises(InputError, match="2 frames and 1 reasons"):
        harvest(mine, [atoms, atoms], ["one"], "x")
    with pytest.raises(InputError, match="no campaign"):
        harvest(config.model_copy(update={"name": "nobody"}), [atoms], ["one"], "x")
