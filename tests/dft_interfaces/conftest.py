"""Pseudopotentials in VASP's format, artificial, since the real ones are licensed."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

_HEADER = """\
  PAW_PBE {name} 01Jan2001
   {valence:.14f}
 parameters from PSCTR are:
   VRHFIN ={symbol}: made up
   LEXCH  = {functional}
   EATOM  =    12.4884 eV,     0.9179 Ry

   TITEL  = PAW_PBE {name} 01Jan2001
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        0    unscreen: 0-lin 1-nonlin 2-no
   POMASS =    1.000; ZVAL   =    {valence:.3f}    mass and valenz
   ENMAX  =  {cutoff:.3f}; ENMIN  =  {half:.3f} eV
   LPAW   =        T    paw PP
END of PSCTR-controll parameters
 End of Dataset
"""


@pytest.fixture
def write_potcars(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes made-up POTCARs in ASE's layout and returns the folder above them."""

    def write(
        names: Iterable[str],
        folder: Path = tmp_path / "potcars",
        sets: Iterable[str] = ("potpaw_PBE.54",),
        valence: float = 6.0,
        cutoff: float = 300.0,
        functional: str = "PE",
    ) -> Path:
        for subfolder in sets:
            for name in names:
                file = folder / subfolder / name / "POTCAR"
                file.parent.mkdir(parents=True, exist_ok=True)
                symbol = name.partition("_")[0]
                text = _HEADER.format(
                    name=name, symbol=symbol, functional=functional, valence=valence, cutoff=cutoff, half=cutoff / 2
                )
                file.write_text(text)
        return folder

    return write
