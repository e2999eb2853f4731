"""``al-loop export --plain``: a campaign's served committee, and the folder of a training, as plain checkpoints."""

import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner, Result

from al_loop import Campaign
from al_loop.cli import app
from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.identity import start_campaign
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.tools.exchange.plain_export import export_plain_model
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.content_hash import frame_id
from committee import (
    CommitteePotential,
    CommitteeSettings,
    FairchemSettings,
    SevenNetSettings,
    TrainingFrame,
    TrainingSettings,
    load_backbone,
    train,
)
from committee.checkpoint import content_hash, save

DISTILLED = Path(__file__).parents[2] / "data" / "distilled" / "distilled.pt"
FOUNDATION = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")
TRUSTED = Verdict(VerdictKind.TRUSTED, GateCheck.NONE)
UNPHYSICAL = Verdict(VerdictKind.SUSPECT, GateCheck.PHYSICS, "atoms overlap")


def copper(seed: int, amplitude: float = 0.1) -> Atoms:
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(amplitude, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def potential(tmp_path_factory: pytest.TempPathFactory) -> CommitteePotential:
    backbone = load_backbone(FOUNDATION)
    frames = []
    for seed in range(6):
        evaluation = backbone.evaluate([copper(seed)])
        forces = 1.3 * evaluation.foundation()[0].numpy().astype(float)
        frames.append(TrainingFrame(str(seed), copper(seed), evaluation.energy.item() - 400.0, forces))
    return train(
        backbone,
        frames,
        committee=CommitteeSettings(members=3, hidden_channels=8),
        training=TrainingSettings(epochs=40),
        cache_folder=tmp_path_factory.mktemp("tangents"),
    )


@dataclass
class Served:
    """A campaign with a served committee and explored frames."""

    config: Path
    ledger: Ledger
    target: Path

    def explored(self, count: int) -> None:
        frames = [visit(copper(100 + seed), TRUSTED, seed) for seed in range(count)]
        frames.append(visit(copper(99, 0.9), UNPHYSICAL, count))
        self.ledger.replace_visits(0, (Role.EXPLORE,), frames)
        self.ledger.finish_stage(0, "explore", 1.0, {})

    def call(self, *options: str) -> Result:
        command = ["export", str(self.config), "--plain", "--checkpoint", str(self.target), "--epochs", "1", *options]
        return CliRunner().invoke(app, command)


def visit(atoms: Atoms, verdict: Verdict, step: int) -> Frame:
    return Frame(frame_id(atoms), atoms, system="Cu", trajectory=f"Cu/{step % 4}", step=step, verdict=verdict)


@pytest.fixture
def served(
    potential: CommitteePotential, store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    write(tmp_path / "copper.cif", copper(0))
    folder = tmp_path / "run"
    (tmp_path / "c.yaml").write_text(
        f"name: coppery\nfolder: {folder}\nsystems: [{{file: copper.cif}}]\n"
        f"foundation: {{kind: fairchem, model: {DISTILLED}, task_name: omat}}\n"
        "explore: {temperatures_K: [600], timestep_fs: 1.0, steps: 30, check_every: 5}\n"
        "label: {engine: {engine: ase, calculator: ase.calculators.emt.EMT}}\n"
    )
    monkeypatch.setenv("MONGODB_URI", str(store.uri))
    with open_ledger(store, folder, "coppery") as ledger:
        (folder / "models").mkdir(parents=True)
        start_campaign(ledger, load_config(tmp_path / "c.yaml"), {})
        save(potential, folder / "models" / "round-000")
        content = content_hash(folder / "models" / "round-000")
        ledger.serve_model(ledger.add_model(0, "round-000", potential.backbone.fingerprint, content, {}), 0)
        yield Served(tmp_path / "c.yaml", ledger, tmp_path / "plain.pt")


def test_a_campaigns_served_committee(served: Served, potential: CommitteePotential) -> None:
    served.explored(16)
    done = served.call()
    assert done.exit_code == 0, done.output
    assert f"Wrote {served.target}, a checkpoint of fairchem that opens without al-loop" in done.output
    assert "Difference from the committee on frames kept back: " in done.output
    assert "from fairchem.core import FAIRChemCalculator" in done.output
    about = torch.load(served.target, weights_only=False).about
    assert about["fitted_frames"] + about["difference"]["frames"] == 16  # not the unphysical one
    assert about["difference"]["frames"] == 4  # a whole trajectory
    plain = load_backbone(FOUNDATION.model_copy(update={"model": str(served.target)}))
    energy = plain.evaluate([copper(7)]).energy.item()
    assert energy == pytest.approx(potential.predict([copper(7)])[0].energy, abs=1.0)
    assert sorted(path.name for path in served.target.parent.glob("plain*")) == ["plain.pt"]


def test_from_python(served: Served) -> None:
    served.explored(16)
    done = Campaign.from_file(served.config).export_plain(served.target, epochs=1, max_frames=12)
    assert done.baked is not None
    assert done.baked.fitted_frames + done.baked.difference.frames == 12
    assert served.target.is_file()


def test_too_few_explored_frames(served: Served) -> None:
    served.explored(3)
    done = served.call()
    assert done.exit_code == 2
    assert "baking needs at least 10 explored frames, received 3" in done.output
    assert not list(served.target.parent.glob("plain*"))


@pytest.fixture
def full_disk() -> Iterator[None]:
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_nothing(served: Served, full_disk: None) -> None:
    served.explored(12)
    done = served.call()
    assert done.exit_code == 1, done.output
    assert "File too large" in done.output
    assert "The disk or quota is full" in done.output
    assert [path for path in served.target.parent.rglob("*plain*") if path.is_file()] == []


def test_the_folder_of_a_training(potential: CommitteePotential, tmp_path: Path) -> None:
    save(potential, tmp_path / "model")
    write(tmp_path / "explored.extxyz", [copper(100 + seed) for seed in range(12)])
    to = tmp_path / "plain.pt"
    with pytest.raises(InputError, match=r"at least 10 explored frames, received 0.*--frames"):
        export_plain_model(tmp_path / "model", to, foundation=FOUNDATION)
    command = ["export", str(tmp_path / "model"), "--plain", "--checkpoint", str(to), "--epochs", "1"]
    command += ["--frames", str(tmp_path / "explored.extxyz"), "--foundation", f"fairchem:{DISTILLED}:omat"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert np.isfinite(torch.load(to, weights_only=False).about["difference"]["forces_eV_per_A"])


def test_an_untrained_committee_is_copied_exactly(tmp_path: Path) -> None:
    save(CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet"))), tmp_path / "model")
    done = export_plain_model(tmp_path / "model", tmp_path / "plain.pth")
    assert done.baked is None
    assert "gives exactly its energies" in " ".join(done.sentences())
    again = load_backbone(SevenNetSettings(kind="sevennet", model=str(tmp_path / "plain.pth")))
    assert again.fingerprint == load_backbone(SevenNetSettings(kind="sevennet")).fingerprint


def test_a_closed_foundation(tmp_path: Path) -> None:
    from committee import CalculatorSettings

    settings = CalculatorSettings(
        kind="calculator", import_path="ase.calculators.lj.LennardJones", features=SevenNetSettings(kind="sevennet")
    )
    save(CommitteePotential.untrained(load_backbone(settings)), tmp_path / "model")
    with pytest.raises(InputError, match=r"--plain: the foundation calculator:ase\.calculators\.lj.* is closed"):
        export_plain_model(tmp_path / "model", tmp_path / "plain.pt", foundation=settings)
    assert not list(tmp_path.glob("plain*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "x.extxyz", "--plain"], "--plain: expected --checkpoint FILE"),
        (["--checkpoint", "x.pt", "--frames", "x.extxyz", "--max-frames", "20"], "--frames, --max-frames: belongs to"),
        (["--plain"], "expected either --to FILE"),
    ],
)
def test_options_that_do_not_fit(options: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path / "c.yaml"), *options])
    assert (done.exit_code, message in done.output) == (2, True), done.output
