"""The input of pw.x, read back from the file that ASE writes."""

import io
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.io.espresso import write_espresso_in
from ase.units import Ry

from dft_interfaces.engines.espresso_input import first_pass, namelists, second_pass, with_moments_as_shares
from dft_interfaces.pseudopotentials.upf_files import UpfFile
from dft_interfaces.settings import EspressoSettings
from dft_interfaces.structure import CannotCalculateError

FILES = {
    "Ni": UpfFile("Ni.upf", "Ni", "PBE", norm_conserving=True, valence_electrons=18.0, min_cutoff_eV=None),
    "O": UpfFile("O.upf", "O", "PBE", norm_conserving=True, valence_electrons=6.0, min_cutoff_eV=None),
}


def settings(**more: object) -> EspressoSettings:
    return EspressoSettings.model_validate({"engine": "espresso", "pseudopotentials": Path()} | more)


def nickel_oxide() -> Atoms:
    atoms = bulk("NiO", "rocksalt", 4.17, cubic=True)
    atoms.set_initial_magnetic_moments([2.0, 0, -2.0, 0, 2.0, 0, -2.0, 0])
    return atoms


def written(atoms: Atoms, chosen: EspressoSettings) -> dict[str, str]:
    """Return the values by key, and the lines of the cards by themselves."""
    text = io.StringIO()
    pseudopotentials = {symbol: file.name for symbol, file in FILES.items()}
    write_espresso_in(text, atoms, namelists(chosen, atoms, None), pseudopotentials)
    lines = [line.strip() for line in text.getvalue().splitlines()]
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def test_moments_make_species_and_U_finds_them() -> None:
    atoms = with_moments_as_shares(nickel_oxide(), FILES)
    keys = written(atoms, settings(hubbard_U_eV={"Ni-3d": 6.2}, cutoff_eV=100 * Ry))
    assert (keys["nspin"], keys["ntyp"], keys["lda_plus_u"]) == ("2", "3", ".true.")
    assert [keys[f"starting_magnetization({number})"] for number in (1, 2, 3)] == ["0.11", "0.0", "-0.11"]
    assert [keys.get(f"hubbard_u({number})") for number in (1, 2, 3)] == ["6.2", None, "6.2"]
    assert [float(keys[key]) for key in ("ecutwfc", "ecutrho")] == pytest.approx([100, 400])
    assert {"Ni  58.6934 Ni.upf", "Ni1 58.6934 Ni.upf", "O  15.999 O.upf"} <= keys.keys()


def test_small_moments_are_not_rounded_to_a_calculation_without_spin() -> None:
    atoms = nickel_oxide()
    atoms.set_initial_magnetic_moments([0.05, 0, -0.05, 0, 0.05, 0, -0.05, 0])
    shares = with_moments_as_shares(atoms, FILES).get_initial_magnetic_moments()
    assert shares.tolist() == [0.01, 0, -0.01, 0, 0.01, 0, -0.01, 0]


def test_without_moments_there_is_no_spin_and_without_U_no_hubbard_term() -> None:
    atoms = with_moments_as_shares(bulk("NiO", "rocksalt", 4.17), FILES)
    keys = written(atoms, settings(hubbard_U_eV={"Fe-3d": 4.0}))
    assert {"nspin", "lda_plus_u", "vdw_corr"}.isdisjoint(keys)


@pytest.mark.parametrize(("dispersion", "version"), [("D3(BJ)", "4"), ("D3(zero)", "3")])
def test_dispersion(dispersion: str, version: str) -> None:
    keys = written(bulk("NiO", "rocksalt", 4.17), settings(dispersion=dispersion))
    assert (keys["vdw_corr"], keys["dftd3_version"], keys["dftd3_threebody"]) == ("'grimme-d3'", version, ".false.")


def test_nearly_equal_moments_are_one_species_and_too_many_are_refused() -> None:
    atoms = bulk("Ni", "fcc", 3.5) * (12, 1, 1)
    atoms.set_initial_magnetic_moments([0.6 + 0.001 * number for number in range(12)])
    assert len(set(with_moments_as_shares(atoms, FILES).get_initial_magnetic_moments())) == 1
    atoms.set_initial_magnetic_moments([0.2 * number for number in range(12)])
    with pytest.raises(CannotCalculateError, match=r"received 12 pairs .* at most 10"):
        with_moments_as_shares(atoms, FILES)


def test_retry_strategies_keep_the_level_of_theory() -> None:
    chosen = settings()
    atoms = bulk("NiO", "rocksalt", 4.17)
    usual = namelists(chosen, atoms, None)
    for strategy in chosen.ladder:
        values = namelists(chosen, atoms, strategy)
        assert values["system"] == usual["system"]
        assert values["electrons"] != usual["electrons"]
        assert values["electrons"]["conv_thr"] == usual["electrons"]["conv_thr"]


def test_a_warm_start_is_wide_and_what_follows_is_not() -> None:
    usual = namelists(settings(), bulk("NiO", "rocksalt", 4.17), None)
    first, second = first_pass(usual, 0.5), second_pass(usual)
    assert first["system"]["degauss"] == pytest.approx(0.5 / Ry)
    assert first["electrons"]["scf_must_converge"] is False
    assert second["system"] == usual["system"]
    assert second["electrons"] == usual["electrons"] | {"startingpot": "file"}


def test_the_sawtooth_is_in_the_middle_of_the_vacuum() -> None:
    slab = fcc111("Ni", (1, 1, 3), a=3.5)
    slab.pbc = True
    slab.center(vacuum=5, axis=2)
    keys = written(slab, settings(dipole_correction=True))
    assert (keys["tefield"], keys["dipfield"], keys["tstress"]) == (".true.", ".true.", ".false.")
    assert (keys["edir"], float(keys["eamp"])) == ("3", 0.0)
    length_A = slab.cell.lengths()[2]
    assert float(keys["eopreg"]) * length_A == pytest.approx(1.0)
    assert float(keys["emaxpos"]) * length_A == pytest.approx(length_A - 0.5)  # and on, over the border of the cell
    slab.positions[:, 2] += 4.0
    assert float(written(slab, settings(dipole_correction=True))["emaxpos"]) * length_A == pytest.approx(3.5)
    for atoms, chosen in ((slab, settings()), (bulk("Ni"), settings(dipole_correction=True))):
        keys = written(atoms, chosen)
        assert keys["tstress"] == ".true."
        assert {"tefield", "dipfield", "edir", "emaxpos", "eopreg", "eamp"}.isdisjoint(keys)
