"""Labels of atoms: mapped where they leave no doubt, asked for where they do."""

import pytest
from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.readers.element_labels import elements_of, readings, relabel, species_of

SURE = {
    "Ti": "Ti", "Ti_pv": "Ti", "O/1a2b3c4d": "O", "Fe_sv_GW": "Fe", "C_h_nr": "C", "Ga_d_GW": "Ga", "Hg_d": "Hg",
    "OW": "O", "HW1": "H", "H1": "H", "C2": "C", "Fe2": "Fe", "Cl-": "Cl", "Na+": "Na", "O2-": "O", "Fe3+": "Fe",
    "Ca": "Ca", "Os": "Os", "CL": "Cl", "FE": "Fe", "Oh": "O", "hc": "H", "D": "D", "T": "T", "Cu_a": "Cu",
}  # fmt: skip
DOUBTFUL = {
    "CA": ("Ca", "C"), "CA1": ("Ca", "C"), "NA": ("Na", "N"), "ca": ("Ca", "C"), "CO": ("Co", "C"), "OS": ("Os", "O"),
    "HG_x": ("Hg", "H"), "SOD": (), "POT": (), "CLA": (), "MW": (), "LP": (), "X": (), "H.5": (), "H1.25": (), "2": (),
    "1H": (), "": (), "Du": (), "_pv": (),
}  # fmt: skip


@pytest.mark.parametrize("label", SURE)
def test_a_label_without_doubt_is_mapped(label: str) -> None:
    assert readings(label) == (SURE[label],)


@pytest.mark.parametrize("label", DOUBTFUL)
def test_a_label_with_two_readings_or_none_is_not(label: str) -> None:
    assert readings(label) == DOUBTFUL[label]


def test_all_doubtful_labels_are_asked_for_at_once() -> None:
    with pytest.raises(InputError) as refused:
        elements_of(["OW", "CA", "SOD", "CA"], {}, "run.xyz, frame 0")
    assert str(refused.value) == (
        "run.xyz, frame 0: labels that do not name an element: CA (Ca or C), SOD (no element); give "
        "--species CA=C,SOD=Symbol"
    )
    assert elements_of(["OW", "CA", "SOD", "CA"], {"CA": "C", "SOD": "Na"}, "") == ["O", "C", "Na", "C"]


def test_what_a_user_says_comes_first_and_isotopes_have_their_mass() -> None:
    water = Atoms("XX2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    relabel(water, ["OW", "D", "H1"], {"OW": "S"}, "")
    assert water.get_chemical_formula() == "H2S"
    assert water.get_masses().round(3).tolist() == [32.06, 2.014, 1.008]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Na", "Qq"], "'Qq' is no chemical symbol"),
        (["OW=O", "H"], "not both"),
        (["OW=Water"], "'Water' is no"),
        (["X"], "'X'"),
    ],
)
def test_what_names_no_species_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        species_of(words)
    assert species_of(["Ti_pv=Ti", " O/1=O "]).names == {"Ti_pv": "Ti", "O/1": "O"}
    assert species_of(["Na", " Cl"]).order == ("Na", "Cl")
