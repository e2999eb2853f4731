"""An import that fails, wherever and why ever, leaves the database as it was; one that is repeated then works."""

import json
from functools import partial
from pathlib import Path

import bson
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from pymongo.errors import OperationFailure

from al_loop.config import StoreSettings
from al_loop.errors import CampaignError, InputError
from al_loop.files.extxyz import write_frame
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.ledger import Ledger, open_ledger, prepared, visits
from al_loop.ledger.codec import BUCKET
from al_loop.ledger.import_log import imported_atom_energies, unfinished_imports
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.tools.exchange import importing
from al_loop.tools.exchange.harvest import harvest
from al_loop.tools.exchange.importing import Imported, import_file
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Label, LabelStatus

LEVEL = "0123456789abcdef"
GOOD = 4  # labelled frames in front of the last one


@pytest.fixture
def config(store: StoreSettings, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(
        f"name: mine\nfolder: {tmp_path}/run\nfoundation: {{kind: sevennet, model: 7net-0}}\n"
        "systems: [{file: cu.cif}]\nexplore: {temperatures_K: [600], timestep_fs: 2.0}\n"
        "label: {workers: 0, engine: {engine: ase, calculator: ase.calculators.emt.EMT}}\n"
    )
    write(tmp_path / "cu.cif", bulk("Cu", cubic=True))
    return load_config(tmp_path / "c.yaml").model_copy(update={"store": store})


@pytest.fixture
def ledger(store: StoreSettings, tmp_path: Path):
    with open_ledger(store, tmp_path, "mine") as ledger:
        ledger.start_campaign({"level_of_theory": {"fingerprint": LEVEL, "summary": "emt"}})
        yield ledger


def labelled(seed: int, energy_off_eV: float = 0.0, stress: bool = True) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    atoms.info["REF_energy"] = EMT().get_potential_energy(atoms) + energy_off_eV
    atoms.arrays["REF_forces"] = EMT().get_forces(atoms)
    if stress:
        atoms.info["REF_stress"] = EMT().get_stress(atoms)
    return atoms


def bare(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def written(path: Path, *last: Atoms | Frame) -> Path:
    write(path, [*(labelled(seed) for seed in range(GOOD)), bare(90)], format="extxyz")
    with path.open("a", encoding="utf-8") as file:
        for frame in last:
            if isinstance(frame, Frame):
                write_frame(file, frame)
            else:
                write(file, frame, format="extxyz")
    return path


def taken(ledger: Ledger, config, *paths: Path) -> Imported:
    return import_file(ledger, config, list(paths), campaign_level=LEVEL, level="engine")


def dump(ledger: Ledger) -> dict[str, list[bytes]]:
    """Every document of every collection, byte by byte, but for the trial write of each start."""
    database = ledger._database
    trial = {"_id": {"$ne": "written"}}
    found = {name: sorted(map(bson.encode, database[name].find(trial))) for name in database.list_collection_names()}
    return {name: documents for name, documents in found.items() if documents}


def with_provenance(**known: object) -> Frame:
    atoms = labelled(50)
    label = Label(LabelStatus.CONVERGED, LEVEL, atoms.info["REF_energy"], atoms.arrays["REF_forces"])
    return Frame("0", plain_atoms(atoms), label=label, provenance=known)


def suspect(atoms: Atoms, system: str) -> Frame:
    return Frame(frame_id(atoms), atoms, Role.HARVESTED, system, "production")


def suspect_with(**known: object) -> Frame:
    return Frame("0", bare(91), provenance=known)


def two_atoms_at_one_place() -> Atoms:
    atoms = labelled(51)
    atoms.positions[1] = atoms.positions[0] + 0.01
    return atoms


def without_forces() -> Atoms:
    atoms = labelled(52)
    del atoms.arrays["REF_forces"]
    return atoms


def with_info(**info: object) -> Atoms:
    atoms = labelled(53)
    atoms.info.update(info)
    return atoms


def of_another_element() -> Atoms:
    atoms = labelled(54)
    atoms.numbers[:] = 79
    return atoms


# What a last frame may be, and what the message says of it besides its place in the file.
LAST = {
    "a system that is no text": (lambda: with_provenance(system="a\ud800b"), "UTF-8"),
    "a trajectory that is no text": (lambda: with_provenance(trajectory="\udcff"), "UTF-8"),
    "a reason that is no text": (lambda: suspect_with(verdict={"reason": "\ud800"}), "UTF-8"),
    "a label that it lacks": (lambda: suspect_with(level_of_theory=LEVEL), "no energy and no forces"),
    "another level": (lambda: with_provenance(level_of_theory="f" * 16), "levels never mix"),
    "no forces": (without_forces, "needs both"),
    "atoms at one place": (two_atoms_at_one_place, "apart"),
    "an unknown element": (of_another_element, "Au"),
    "a charge beyond 64 bits": (lambda: with_info(charge=2**70), "charge"),
    "a multiplicity beyond 64 bits": (lambda: with_info(spin=2**70), ""),
    "an impossible multiplicity": (lambda: with_info(charge=0, spin=2), ""),
    "a huge energy": (lambda: with_info(REF_energy=1e99), "total energy"),
    "a part of a stress": (lambda: with_info(REF_stress=[1.0, 2.0]), "shape"),
    "another label of a frame of the file": (lambda: labelled(1, 0.5), "same geometry"),
    "another energy of an isolated atom": (lambda: Atoms("Cu", info={"REF_energy": 9.9}), "isolated"),
}


@pytest.mark.parametrize("kind", LAST)
def test_a_fault_in_the_last_frame_leaves_every_collection_as_it_was(ledger, config, tmp_path, kind) -> None:
    make, told = LAST[kind]
    path = written(tmp_path / "mine.extxyz", Atoms("Cu", info={"REF_energy": 3.5}), make())
    before = dump(ledger)
    for _ in range(2):
        with pytest.raises(InputError, match=r"(?s)mine\.extxyz, frame.*othing was imported") as refused:
            taken(ledger, config, path)
        assert told in str(refused.value)
        assert dump(ledger) == before
    done = taken(ledger, config, written(path))
    assert (done.labels_new, done.suspects_new) == (GOOD, 1)


@pytest.mark.parametrize("spoilt", ["cut off", "no number", "missing", "not text"])
def test_a_bad_second_file_leaves_the_first_out_too(ledger, config, tmp_path, spoilt) -> None:
    first, second = written(tmp_path / "a.extxyz"), tmp_path / "b.extxyz"
    write(second, [labelled(7), labelled(8)], format="extxyz")
    whole = second.read_bytes()
    before = dump(ledger)
    if spoilt == "missing":
        second.unlink()
    else:
        second.write_bytes(
            {"cut off": whole[:-90], "no number": whole + b"two\n", "not text": whole + b"\xff\xfe"}[spoilt]
        )
    with pytest.raises(InputError, match=r"b\.extxyz.*othing was imported"):
        taken(ledger, config, first, second)
    assert dump(ledger) == before
    second.write_bytes(whole)
    assert taken(ledger, config, first, second).labels_new == GOOD + 2


def test_a_label_that_contradicts_the_ledger_or_a_file_that_changes_stores_nothing(
    ledger, config, tmp_path, monkeypatch
) -> None:
    taken(ledger, config, written(tmp_path / "old.extxyz"))
    path = written(tmp_path / "new.extxyz", labelled(9), labelled(2, 0.5))
    before = dump(ledger)
    with pytest.raises(InputError, match=r"same geometry|ledger already"):
        taken(ledger, config, path)
    write(path, [labelled(9), labelled(2, 0.5)], format="extxyz")
    with pytest.raises(InputError, match=r"frame 1 has a label in the campaign's ledger already.*othing was imported"):
        taken(ledger, config, path)
    write(path, [labelled(9), labelled(10)], format="extxyz")

    def grows(source, keys, checks, notes):
        yield from frames(source, keys, checks, notes)
        with path.open("a") as file:
            file.write("\n")

    frames = importing.checked_frames
    with monkeypatch.context() as patch:
        patch.setattr(importing, "checked_frames", grows)
        with pytest.raises(InputError, match="changed while it was read"):
            taken(ledger, config, path)
    assert dump(ledger) == before
    assert taken(ledger, config, path).labels_new == 2


def test_suspects_that_wait_already_take_no_room(ledger, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(importing, "HARVEST_LIMIT", 4)
    path = tmp_path / "bare.extxyz"
    write(path, [bare(seed) for seed in range(3)], format="extxyz")
    assert taken(ledger, config, path).suspects_new == 3
    before = dump(ledger)
    write(tmp_path / "more.extxyz", [bare(seed) for seed in range(5)], format="extxyz")
    with pytest.raises(InputError, match=r"2 new frames without a label.*1 more"):
        taken(ledger, config, tmp_path / "more.extxyz")
    assert dump(ledger) == before
    assert taken(ledger, config, path).suspects_new == 0  # 3 waiting and 3 given are not 6


WRITES = ("frame", "label", "request", "visit", "event", "files")


@pytest.mark.parametrize("refused", WRITES)
def test_what_the_server_refuses_in_the_middle_is_taken_back(ledger, config, tmp_path, monkeypatch, refused) -> None:
    """Frames and labels are in part in GridFS, and the campaign's own requests wait for labels of the file."""
    for module in (visits, prepared):
        monkeypatch.setattr(module, "BLOCK", 2)
    monkeypatch.setattr("al_loop.ledger.codec.INLINE_BYTES", 300)
    asked = [visit(labelled(seed)) for seed in (0, 3)]
    ledger.replace_visits(0, [Role.TEST], asked)
    ledger.request_labels(0, Role.TEST, asked, LEVEL)
    claimed = ledger.claim("worker", LEVEL, 60.0)
    assert ledger.release_dead("worker") == 1
    path = written(tmp_path / "mine.extxyz", Atoms("Cu", info={"REF_energy": 3.5}))
    before = dump(ledger)
    failing = Refusing(ledger, refused, after={"event": 2, "visit": 0}.get(refused, 1))
    with monkeypatch.context() as patch:
        failing.install(patch)
        with pytest.raises(CampaignError, match="removed again"):
            taken(ledger, config, path)
    assert failing.refused == 1
    assert dump(ledger) == before
    assert claimed is not None
    assert unfinished_imports(ledger) == []
    done = taken(ledger, config, path)
    assert (done.labels_new, done.suspects_new) == (GOOD - 2, 1)
    assert ledger.open_requests() == 0
    assert len(ledger.labelled([Role.TEST])) == 2


@pytest.mark.parametrize("last", WRITES)
def test_one_that_is_cut_off_at_any_write_is_told_and_completed(ledger, config, tmp_path, monkeypatch, last) -> None:
    """As a kill leaves it: nothing is removed. A kill itself is tried in test_data.py."""
    monkeypatch.setattr(prepared, "BLOCK", 2)
    monkeypatch.setattr("al_loop.ledger.codec.INLINE_BYTES", 300)
    path = written(tmp_path / "mine.extxyz", Atoms("Cu", info={"REF_energy": 3.5}))
    failing = Refusing(ledger, last, after={"event": 2, "visit": 0}.get(last, 1))
    with monkeypatch.context() as patch:
        patch.setattr(type(ledger), "_remove", lambda self, added: None)
        failing.install(patch)
        with pytest.raises(CampaignError):
            taken(ledger, config, path)
    (told,) = unfinished_imports(ledger)
    assert (told.file, told.labels, told.suspects) == ("mine.extxyz", GOOD, 1)
    assert taken(ledger, config, path).completes == ("mine.extxyz",)
    assert unfinished_imports(ledger) == []
    assert (ledger.waiting().labels, ledger.waiting().suspects) == (GOOD, 1)
    assert imported_atom_energies(ledger, LEVEL) == {"Cu": 3.5}
    stored = {name: len(documents) for name, documents in dump(ledger).items()}
    assert (stored["frame"], stored["label"], stored["request"], stored["visit"]) == (GOOD + 1, GOOD, GOOD, 1)
    assert len(ledger.labelled([Role.EXPLORE])) == GOOD
    assert taken(ledger, config, path).completes == ()


def test_what_others_use_meanwhile_stays(ledger, store, config, tmp_path, monkeypatch) -> None:
    """Another campaign meets a frame of the file, and asks for the label of another, before the import fails."""
    held = visit(labelled(0))
    ledger.replace_visits(0, [Role.TEST], [held])
    ledger.request_labels(0, Role.TEST, [held], LEVEL)
    claimed = ledger.claim("worker", LEVEL, 60.0)
    path = written(tmp_path / "mine.extxyz")
    met, wanted = visit(labelled(1)), visit(labelled(2))

    with open_ledger(store, tmp_path, "other") as other:

        def fails(self, items, added) -> None:
            other.replace_visits(0, [Role.TEST], [met])
            other.request_labels(0, Role.TEST, [wanted], LEVEL)
            raise OperationFailure("no space left on device", 14031)

        with monkeypatch.context() as patch:
            patch.setattr(type(ledger), "_put_suspects", fails)
            with pytest.raises(CampaignError, match="removed again"):
                taken(ledger, config, path)
        assert [v.frame_id for v in other.visits(0)] == [met.frame_id]
        assert [f.frame_id for f in other.labelled([Role.TEST])] == [wanted.frame_id]
        stored = {name: len(documents) for name, documents in dump(ledger).items()}
        assert (stored["frame"], stored["label"], stored["request"]) == (3, 1, 2)
    assert ledger.waiting().labels == 0
    assert ledger.open_requests() == 1  # who was calculating it has lost it, and anybody may take it again
    again = ledger.claim("worker", LEVEL, 60.0)
    assert claimed is not None
    assert again is not None
    assert (again.frame_id, again.token != claimed.token) == (held.frame_id, True)
    assert taken(ledger, config, path).labels_new == GOOD - 1


def visit(atoms: Atoms) -> Frame:
    plain = bulk("Cu", cubic=True)
    plain.positions = atoms.positions
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.NONE, "")
    return Frame(frame_id(plain), plain, Role.TEST, "copper", "copper/0", 0, 600.0, verdict)


class Refusing:
    """Makes the real server's driver fail once, after some writes to one collection went through."""

    def __init__(self, ledger: Ledger, name: str, after: int) -> None:
        self.name = f"{BUCKET}.chunks" if name == "files" else name
        self.ledger, self.after, self.refused = ledger, after, 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        from pymongo.synchronous.collection import Collection

        for method in ("insert_many", "insert_one"):
            patch.setattr(Collection, method, self.instead(getattr(Collection, method)))

    def instead(self, method):
        def call(collection, *args, **kwargs):
            if collection.name == self.name and not self.refused:
                self.after -= 1
                if self.after < 0:
                    self.refused += 1
                    raise OperationFailure("no space left on device", 14031)
            return method(collection, *args, **kwargs)

        return call


def test_labels_and_suspects_given_in_memory_are_taken_together_too(ledger, config) -> None:
    before = dump(ledger)
    frames = [bare(seed) for seed in range(3)]
    with pytest.raises(InputError, match="UTF-8"):
        harvest(config, frames, ["fine", "fine", "no \ud800 text"], "production")
    odd = suspect(frames[2], "x" * 2**22)
    with pytest.raises(InputError, match="its names and remarks take"):
        ledger.add_harvested([suspect(frames[0], "copper"), odd])
    assert dump(ledger) == before
    assert harvest(config, frames, ["fine"] * 3, "production").new == 3
    assert harvest(config, frames, ["fine"] * 3, "elsewhere") == harvest(config, frames, ["fine"] * 3, "production")


def test_a_temporary_folder_without_room_stores_nothing(ledger, config, tmp_path, monkeypatch) -> None:
    path = written(tmp_path / "mine.extxyz")
    before = dump(ledger)
    with monkeypatch.context() as patch:
        patch.setattr("al_loop.ledger.prepared.tempfile.TemporaryFile", partial(open, "/dev/full", "r+b"))
        with pytest.raises(InputError, match=r"for temporary files .*[Nn]o space.*TMPDIR.*othing was imported"):
            taken(ledger, config, path)
    assert dump(ledger) == before
    assert taken(ledger, config, path).labels_new == GOOD


def test_ctrl_c_in_the_middle_stores_nothing(ledger, config, tmp_path, monkeypatch) -> None:
    path = written(tmp_path / "mine.extxyz")
    before = dump(ledger)

    def interrupted(self, items, added) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(ledger), "_put_suspects", interrupted)
        with pytest.raises(KeyboardInterrupt):
            taken(ledger, config, path)
    assert dump(ledger) == before


def test_names_of_files_may_be_any_bytes(ledger, config, tmp_path) -> None:
    path = written(tmp_path / "mine.extxyz").rename(tmp_path / "caf\udce9.extxyz")
    assert taken(ledger, config, path).labels_new == GOOD
    assert {frame.trajectory for frame in ledger.labelled([Role.EXPLORE])} == {"import/caf\\udce9"}
    assert unfinished_imports(ledger) == []


def test_odd_remarks_that_can_be_kept_are_kept(ledger, config, tmp_path) -> None:
    odd = with_provenance(cost_s=10**400, **{"a.b": 1, "$c": [2**80], "nul\0": "x"}, system="copper", trajectory="a")
    assert taken(ledger, config, written(tmp_path / "mine.extxyz", odd)).labels_new == GOOD + 1
    (label,) = [f.label for f in ledger.labelled([Role.EXPLORE]) if f.system == "copper"]
    assert label.cost_s == 0.0
    assert json.loads(label.message.removeprefix("imported: "))["$c"] == [2**80]
