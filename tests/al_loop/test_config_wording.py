"""What a chemist is told who names a code or a model that has no name of its own here."""

import pytest

from al_loop.errors import InputError
from al_loop.tools.preflight.load_config import load_config

WHOLE = """
name: x
folder: x
foundation: {kind: FOUNDATION}
systems: [{file: methanol.xyz}]
explore: {temperatures_K: [300]}
label: {engine: {engine: ENGINE}}
"""


def refused(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "x.yaml")
    return str(caught.value)


def test_a_code_without_an_engine_of_its_own_goes_by_ase(tmp_path) -> None:
    told = refused(tmp_path, WHOLE.replace("FOUNDATION", "sevennet").replace("ENGINE", "orca"))
    assert "unknown engine 'orca'" in told
    assert "use engine: ase with its ASE calculator" in told


def test_uma_is_kind_fairchem(tmp_path) -> None:
    told = refused(tmp_path, WHOLE.replace("FOUNDATION", "uma").replace("ENGINE", "pyscf"))
    assert "unknown kind 'uma'" in told
    assert "For UMA and eSEN use kind: fairchem" in told


def test_a_missing_block_points_to_the_template(tmp_path) -> None:
    assert "systems: missing; add it; al-loop template shows an example" in refused(tmp_path, "name: x\n")
