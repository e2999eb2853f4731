"""Canonical names of functionals and dispersion corrections, from the spelling of any code."""

import re

_SPELLINGS = {
    "pbe": {"pe", "pbe", "pbepbe", "slapwpbxpbc", "ggaxpbeggacpbe"},
    "rpbe": {"rp", "rpbe", "ggaxrpbeggacpbe", "rpbepbe"},
    "revpbe": {"re", "revpbe", "ggaxpberggacpbe", "revpbepbe"},
    "pbesol": {"ps", "pbesol", "ggaxpbesolggacpbesol", "pbesolpbesol"},
    "r2scan": {"r2scan", "mggaxr2scanmggacr2scan", "r2scanr2scan"},
    "scan": {"scan", "mggaxscanmggacscan", "scanscan"},
    "pbe0": {"pbe0", "pbeh", "pbe1pbe", "hybggaxcpbeh"},
    "b3lyp": {"b3lyp", "hybggaxcb3lyp"},
    "wb97m-v": {"wb97mv", "hybmggaxcwb97mv"},
    "wb97x-d": {"wb97xd", "hybggaxcwb97xd"},
    "wb97x-v": {"wb97xv", "hybggaxcwb97xv"},
}
_CANONICAL = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}

_HUBBARD_SUFFIX = re.compile(r"\(?\+u\)?$")
_DISPERSION_SUFFIX = re.compile(r"[-+_ /]?(d[234](?:\s*\([a-z]+\)|[-_ ]?(?:bj|zero))?)$")
_DISPERSION = re.compile(r"d([234])(bj|zero)?")
_OWN_DISPERSION = {"wb97m-v", "wb97x-v", "wb97x-d"}
"""Functionals whose definition includes dispersion: naming it again changes nothing."""


def functional_and_dispersion(functional: str, dispersion: str = "") -> tuple[str, str]:
    """Return the canonical names of a functional and of its dispersion correction.

    Args:
        functional: in the spelling of any code: ``PBE``, ``GGA_X_PBE+GGA_C_PBE``, ``pbe,pbe``, VASP's ``PE``,
            ``ωB97M-V``, with or without ``+U`` and a suffix such as ``-D3(BJ)``.
        dispersion: stated separately, for example ``D3(BJ)`` or ``d3zero``.

    Returns:
        For example ``("pbe", "d3(bj)")``; an unknown name is returned in lower case without punctuation. The
        dispersion is empty where there is none or where it is part of the functional.
    """
    text = _HUBBARD_SUFFIX.sub("", functional.strip().lower().replace("ω", "w").replace("²", "2").replace("omega", "w"))
    suffix = _DISPERSION_SUFFIX.search(text) if _squeezed(text) not in _CANONICAL else None
    name = _squeezed(text[: suffix.start()] if suffix else text)
    name = _CANONICAL.get(name, name)
    stated = dispersion or (suffix.group(1) if suffix else "")
    return name, "" if name in _OWN_DISPERSION else _dispersion(stated)


def _dispersion(text: str) -> str:
    squeezed = _squeezed(text.lower().removeprefix("dft-"))
    match = _DISPERSION.fullmatch(squeezed)
    if match is None:
        return "" if squeezed == "none" else squeezed
    return f"d{match[1]}" + (f"({match[2]})" if match[2] else "")


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
