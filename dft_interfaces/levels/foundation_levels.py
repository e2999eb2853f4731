"""Compare the engine's level of theory with that of the foundation's training data, in sentences for the user."""

import re
from collections.abc import Collection, Mapping

from dft_interfaces.levels.foundation_table import CHGNET_MODELS, PFP_MODES, SEVENNET_MODELS, UMA_TASKS, FoundationLevel
from dft_interfaces.levels.functional_names import functional_and_dispersion
from dft_interfaces.levels.level_of_theory import LevelOfTheory

__all__ = ["FoundationLevel", "differences", "foundation_level"]

_NO_SPIN = ("none", "unpolarised", "not polarised", "spin-paired")
_U_TOLERANCE_EV = 0.05

_ZEROS = (
    "Total energies: their zeros differ, by up to hundreds of eV per atom between codes; this is a constant for each "
    "element, which the alignment removes before the first training."
)


def foundation_level(kind: str, model: str, mode: str | None = None) -> FoundationLevel | None:
    """Return the level of theory of a foundation's training data, None if it is not in the table.

    Args:
        kind: as in the config: ``fairchem``, ``sevennet`` or ``calculator``.
        model: for SevenNet its name (``7net-0``), for a calculator the import path of its class; not used for
            fairchem, where the task determines the level.
        mode: fairchem's task, SevenNet's fidelity, or what ``calculator_mode`` finds for a calculator.
    """
    name = "" if mode is None else mode.rpartition(".")[2].lower().replace(" ", "_")
    if kind == "fairchem":
        return UMA_TASKS.get(name)
    if kind == "sevennet":
        return SEVENNET_MODELS.get(_sevennet_name(model), {}).get(name)
    if kind != "calculator":
        return None
    package = model.partition(".")[0]
    if package == "pfp_api_client":
        return PFP_MODES.get(name)
    return CHGNET_MODELS.get((mode or "0.3.0").lower()) if package == "chgnet" else None


def differences(
    level: LevelOfTheory, foundation: FoundationLevel, elements: Collection[str] | None = None
) -> list[str]:
    """Return how the engine's level of theory differs from the foundation's, with consequences; empty if it does not.

    Args:
        level: of the engine.
        foundation: of the foundation model.
        elements: symbols of all elements of the campaign, so that +U is named only where it acts; by default any.
    """
    sentences = [_functional(level, foundation), _code(level, foundation)]
    if level.functional:
        sentences += [
            _dispersion(level, foundation),
            _hubbard(level, foundation, elements),
            _spin(level, foundation),
            _dipole(level, foundation),
        ]
    found = [sentence for sentence in sentences if sentence]
    return [*found, _ZEROS] if found else []


def _sevennet_name(model: str) -> str:
    name = model.lower()
    name = "7net-" + name.removeprefix("sevennet-") if name.startswith("sevennet-") else name
    return re.sub(r"^7net-0_11jul(y)?2024$", "7net-0", name)


def _functional(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    ours, _ = functional_and_dispersion(level.functional)
    theirs, _ = functional_and_dispersion(foundation.functional)
    if not ours:
        return (
            f"Functional: engine {level.code} does not name one ({level.summary}), the foundation was trained on "
            f"{foundation.functional}: check that they agree."
        )
    if ours == theirs:
        return ""
    return (
        f"Functional: the labels are {level.functional}, the foundation was trained on {foundation.functional} "
        f"({foundation.name}): the heads also have to learn the difference between the functionals, so forces "
        "disagree from the start and more labels are needed; the result has the functional of the labels."
    )


def _dispersion(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    _, ours = functional_and_dispersion(level.functional, level.dispersion)
    _, theirs = functional_and_dispersion(foundation.functional, foundation.dispersion)
    if " + " in foundation.dispersion:
        return (
            f"Dispersion: the foundation counts it twice ({foundation.dispersion}): its data contain one correction, "
            "and its calculator adds another; remove the latter."
        )
    added = _added_dispersion(level, foundation)
    if added:
        return added
    if ours == theirs or (ours and theirs and ours.partition("(")[0] == theirs and "(" not in theirs):
        return ""
    if not ours:
        return (
            f"Dispersion: the foundation contains {foundation.dispersion}, the labels do not: the heads would learn to "
            "remove attraction between molecules and layers; to keep it, add the correction to the engine's settings."
        )
    stated = level.dispersion or ours.upper()
    if not theirs:
        return (
            f"Dispersion: the labels contain {stated}, the foundation has none apart from its functional: its weak, "
            "long-ranged attraction extends beyond the cutoff of the heads, which learn only its short-ranged part."
        )
    return (
        f"Dispersion: the labels contain {stated}, the foundation {foundation.dispersion}: a small, smooth difference, "
        "largest between molecules and layers."
    )


def _added_dispersion(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    """Return how the D3 of the foundation's calculator differs from the same kind of D3 in the labels."""
    damped = foundation.dispersion_functional
    if not damped or functional_and_dispersion("", level.dispersion) != functional_and_dispersion(
        "", foundation.dispersion
    ):
        return ""
    if functional_and_dispersion(damped) != functional_and_dispersion(level.functional):
        return (
            f"Dispersion: the foundation's {foundation.dispersion} has the parameters of {damped}, the labels those of "
            f"{level.functional}: give the correction the functional of the labels."
        )
    if foundation.dispersion_three_body:
        return (
            f"Dispersion: the foundation's {foundation.dispersion} contains the three-body term, that of the engines "
            "does not: give DFTD3 params_tweaks: {method: ..., atm: false}."
        )
    return ""


def _hubbard(level: LevelOfTheory, foundation: FoundationLevel, elements: Collection[str] | None) -> str:
    ours = _acting(level.hubbard_U_eV, elements)
    theirs = {}
    if elements is None or not foundation.hubbard_anions or set(foundation.hubbard_anions) & set(elements):
        theirs = {symbol: u for symbol, u in foundation.hubbard_U_eV.items() if elements is None or symbol in elements}
    unlike = sorted(symbol for symbol in ours.keys() | theirs.keys() if not _same_U(symbol, ours, theirs))
    if not unlike:
        return ""
    where = f" in cells with {' or '.join(foundation.hubbard_anions)}" if foundation.hubbard_anions else ""
    return (
        f"+U: for {', '.join(unlike)} the labels have {_values(unlike, ours)}, the foundation "
        f"{_values(unlike, theirs)}{where if theirs else ''}: U changes the energies of oxides and their magnetic "
        "states from structure to structure, which no shift per element removes; set the same values in the engine, "
        "or expect to need labels for it."
    )


def _acting(stated: Mapping[str, float], elements: Collection[str] | None) -> dict[str, float]:
    """Return U by element where it acts; ``Ni-d with O`` acts only in cells that also hold O."""
    found: dict[str, float] = {}
    for what, u in stated.items():
        symbols = re.findall(r"(?:^|with )([A-Z][a-z]?)", what)
        if symbols and (elements is None or set(symbols) <= set(elements)):
            found[symbols[0]] = u
    return found


def _same_U(symbol: str, ours: Mapping[str, float], theirs: Mapping[str, float | None]) -> bool:
    if symbol not in theirs:
        return ours[symbol] == 0
    expected = theirs[symbol]
    return symbol in ours and (expected is None or abs(ours[symbol] - expected) <= _U_TOLERANCE_EV)


def _values(symbols: Collection[str], table: Mapping[str, float | None]) -> str:
    present = [symbol for symbol in symbols if symbol in table]
    if not present:
        return "no U"
    values = [table[symbol] for symbol in present]
    return "U = " + ", ".join("a value not published" if value is None else f"{value:g} eV" for value in values)


def _spin(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    if not level.spin or foundation.spin_polarised is None:
        return ""
    ours = not level.spin.lower().startswith(_NO_SPIN)
    if ours == foundation.spin_polarised:
        return ""
    labels, model = ("may be", "was not") if ours else ("are not", "was")
    return (
        f"Spin: the labels {labels} spin-polarised ({level.spin}), the data of the foundation {model}: magnetic "
        "systems get other energies and forces, all others the same."
    )


def _dipole(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    ours = bool(level.more.get("dipole_correction") or level.more.get("incar", {}).get("LDIPOL"))
    if foundation.dipole_correction is None or ours == foundation.dipole_correction:
        return ""
    has, has_not = ("labels", "data of the foundation") if ours else ("data of the foundation", "labels")
    return (
        f"Dipole correction: the {has} have it on slabs, the {has_not} do not: slabs with two unlike faces differ by "
        "some meV, and by some meV/Å on the outermost atoms; bulks and symmetric slabs do not differ."
    )


def _code(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    if level.code != foundation.code:
        return (
            f"Code: the labels come from {level.code} ({level.summary}), the foundation from {foundation.summary}: "
            "other cores, basis and zero of energy; with the same functional this mostly shifts energies per element, "
            "and forces differ by the convergence errors of the two bases."
        )
    return _gaussian_basis(level, foundation) if foundation.gaussian_basis else _cutoff(level, foundation)


def _cutoff(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    cutoff = level.basis.get("cutoff_eV")
    if cutoff is None or foundation.cutoff_eV is None or cutoff == foundation.cutoff_eV:
        return ""
    return (
        f"Cutoff: {cutoff:g} eV in the labels, {foundation.cutoff_eV:g} eV in the foundation's data: energies shift a "
        "little per element, and stress by the difference of their Pulay stress."
    )


def _gaussian_basis(level: LevelOfTheory, foundation: FoundationLevel) -> str:
    basis = str(level.basis.get("basis", "")).lower()
    if basis in {"", foundation.gaussian_basis}:
        return ""
    return (
        f"Basis: {basis} in the labels, {foundation.gaussian_basis} in the foundation's data: forces differ by the "
        "error of the smaller basis, most for anions and close contacts."
    )
