"""``al-loop rank`` and ``al-loop barrier``: what the functions give, from files to files."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.identity import start_campaign
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.ranking.inputs import open_ranking_inputs
from al_loop.tools.ranking.ranking import rank_candidates
from al_loop.tools.ranking.settings import RankOptions
from al_loop.tools.single_steps.rank import rank
from al_loop.utils.content_hash import frame_id
from committee import save
from committee.checkpoint import content_hash
from dft_interfaces.label import Label, LabelStatus


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.fixture
def candidates(tmp_path: Path, make_adatom) -> Path:
    frames = [make_adatom("ontop"), make_adatom("hollow"), make_adatom("hollow", 0.12), make_adatom("bridge")]
    write(tmp_path / "sites.extxyz", frames)
    return tmp_path / "sites.extxyz"


@pytest.fixture
def ends(tmp_path: Path, make_adatom, make_hopped) -> tuple[Path, Path]:
    write(tmp_path / "here.extxyz", make_adatom("hollow"))
    write(tmp_path / "there.extxyz", make_hopped())
    return tmp_path / "here.extxyz", tmp_path / "there.extxyz"


@pytest.fixture
def labelled_file(tmp_path: Path, held_out, ask_emt) -> Path:
    frames = []
    for atoms, energy in held_out:
        frame = atoms.copy()
        frame.info["REF_energy"], frame.arrays["REF_forces"] = energy, ask_emt(atoms)[1]
        frames.append(frame)
    write(tmp_path / "held-out.extxyz", frames)
    return tmp_path / "held-out.extxyz"


def test_command_and_function_say_the_same(
    candidates: Path, checkpoint: Path, campaign_file: Path, labelled_file: Path, tmp_path: Path, ask_emt
) -> None:
    code, out, _ = invoke(
        "rank", candidates, "--model", checkpoint, "--config", campaign_file, "--labelled", labelled_file, "--top", 1,
        "--json",
    )  # fmt: skip
    assert code == 0
    told = json.loads(out)
    ranking = rank(
        candidates, checkpoint, config=campaign_file, labelled=labelled_file, top=1, output=tmp_path / "again.extxyz"
    )
    assert any("trained on labels of another level of theory" in note for note in told["notes"])
    assert told["candidates"] == json.loads(json.dumps(ranking.as_dict()["candidates"]))
    assert [one["candidate"] for one in told["candidates"]] == [1, 2, 3, 0]
    assert told["candidates"][0]["sent"]
    assert told["candidates"][0]["dft_rank"] == 1
    assert not told["candidates"][3]["sent"]
    best = told["candidates"][0]
    frames = read(tmp_path / "sites-ranked.extxyz", ":")
    assert [frame.info["candidate"] for frame in frames] == [1, 2, 3, 0]
    assert frames[0].info["rank"] == 1
    assert frames[0].info["REF_energy"] == pytest.approx(ask_emt(frames[0])[0], abs=1e-6)
    assert frames[0].info["REF_energy"] == pytest.approx(best["dft_energy_eV"])
    np.testing.assert_allclose(frames[0].arrays["REF_forces"], ask_emt(frames[0])[1], atol=1e-6)
    assert frames[0].get_potential_energy() == pytest.approx(best["energy_eV"])
    assert frames[0].info["energy_uncertainty"] > 0
    assert frames[0].arrays["forces_uncertainty"].shape == (9, 3)
    assert frames[0].arrays["latent_distance"].shape == (9,)
    assert "REF_energy" not in frames[3].info


def test_command_prints_a_table(candidates: Path, checkpoint: Path) -> None:
    code, out, _ = invoke("rank", candidates, "--model", checkpoint, "--top", 1)
    assert code == 0
    words = " ".join(out.split())
    assert "Cu9: 4 candidates" in words
    assert "among the best 1" in words
    assert "calibrate it" in words
    assert "sites-ranked.extxyz" in words


def test_barrier_command(ends: tuple[Path, Path], checkpoint: Path, campaign_file: Path, tmp_path: Path) -> None:
    arguments = ("--model", checkpoint, "--config", campaign_file, "--images", 1, "--fmax", 0.1, "--no-relax-ends")
    code, out, _ = invoke("barrier", *ends, *arguments, "--json")
    assert code == 0
    told = json.loads(out)
    assert 0.3 < told["barrier_eV"] < 0.5
    assert 0.3 < told["dft_barrier_eV"] < 0.5
    assert [image["sent"] for image in told["images"]] == [True] * 3
    frames = read(tmp_path / "here-there-path.extxyz", ":")
    assert [bool(frame.info["saddle"]) for frame in frames] == [False, True, False]
    assert frames[1].info["REF_energy"] - frames[0].info["REF_energy"] == pytest.approx(told["dft_barrier_eV"])


def test_a_checkpoint_without_calibration_says_so(candidates: Path, copper, tmp_path: Path) -> None:
    save(copper.with_calibration(None), tmp_path / "model")
    code, out, _ = invoke("rank", candidates, "--model", tmp_path / "model")
    assert code == 0
    assert "the model was never calibrated" in " ".join(out.split())


def test_bad_input_ends_with_2_before_a_model_is_loaded(
    candidates: Path, ends: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.extxyz").write_text("")
    nowhere = tmp_path / "nowhere"
    for arguments, words in (
        (("rank", tmp_path / "empty.extxyz", "--model", nowhere), "holds no structures"),
        (("rank", candidates, "--model", nowhere, "--top", 0), "--top: received 0"),
        (("rank", candidates, "--model", nowhere, "--output", candidates), "is an input"),
        (("rank", candidates, "--model", nowhere, "--dft-steps", 5), "--config with an engine"),
        (("rank", candidates, "--model", nowhere), "is no committee checkpoint"),
        (("rank", candidates), "no model: name a checkpoint's folder"),
        (("barrier", *ends, "--model", nowhere, "--images", 0), "--images: received 0"),
        (("barrier", ends[0], tmp_path / "x.cif", "--model", nowhere), "does not exist"),
    ):
        code, _, error = invoke(*arguments)
        assert (code, words in error) == (2, True), error
    assert not list(tmp_path.glob("*-ranked*"))


def test_ends_of_other_atoms_end_with_2(ends: tuple[Path, Path], tmp_path: Path, make_adatom) -> None:
    write(tmp_path / "fewer.extxyz", make_adatom("hollow")[:-1])
    code, _, error = invoke("barrier", ends[0], tmp_path / "fewer.extxyz", "--model", tmp_path)
    assert code == 2
    assert "INITIAL is Cu9 and FINAL Cu8" in error


def test_a_campaign_without_a_model_and_a_queue_are_refused(campaign_file: Path, checkpoint: Path, candidates) -> None:
    config = load_config(campaign_file)
    with pytest.raises(InputError, match="There is no campaign"):
        open_ranking_inputs(config=config)
    queued = config.model_validate(
        {**config.model_dump(), "label": {**config.label.model_dump(), "queue": {"partition": "main"}}}
    )
    with pytest.raises(InputError, match=r"label\.queue"):
        rank(candidates, checkpoint, config=queued)


def test_a_campaign_gives_its_model_and_its_held_out_labels(
    campaign_file: Path, store: StoreSettings, copper, held_out, candidates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URI", store.uri)
    config = load_config(campaign_file)
    save(copper, config.folder / "models" / "round-000")
    content = content_hash(config.folder / "models" / "round-000")
    with open_ledger(config.store, config.folder, config.name) as ledger:
        start_campaign(ledger, config, config.model_dump(mode="json", exclude={"store", "folder"}))
        ledger.serve_model(ledger.add_model(0, "round-000", copper.backbone.fingerprint, content, {}), 0)
        put_labels(ledger, held_out)
    bench = open_ranking_inputs(config=config)
    assert {energy for _, energy in bench.labelled} == {energy for _, energy in held_out}
    ranking = rank_candidates(read(candidates, ":2"), bench.potential, RankOptions(top=1), labelled=bench.labelled)
    assert ranking.scale.calibrated


def put_labels(ledger: Ledger, held_out) -> None:
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)
    visits = [
        Frame(frame_id(atoms), atoms, Role.CALIBRATION, "copper", "copper/300K/0", step, 300.0, verdict)
        for step, (atoms, _) in enumerate(held_out)
    ]
    ledger.replace_visits(0, [Role.CALIBRATION], visits)
    ledger.request_labels(0, Role.CALIBRATION, visits, "emt")
    energies = {frame_id(atoms): energy for atoms, energy in held_out}
    while (claimed := ledger.claim("worker", "emt", 60.0)) is not None:
        forces = np.zeros((len(claimed.atoms), 3))
        ledger.complete(claimed, Label(LabelStatus.CONVERGED, "emt", energies[claimed.frame_id], forces))
