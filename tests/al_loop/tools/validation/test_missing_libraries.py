"""A library that is not there is named together with its remedy."""

import sys

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.defects import defects
from al_loop.tools.validation.surfaces import surfaces


@pytest.mark.parametrize(("check", "missing"), [(defects, "spglib"), (surfaces, "pymatgen.symmetry.analyzer")])
def test_what_is_not_installed_is_named_with_its_remedy(check, missing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(NoAnswerError, match=rf"needs {missing}.*al-loop\[validation\]"):
        check(bulk("Cu"), EMT())
