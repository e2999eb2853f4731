"""Names of SevenNet's models: those shipped in its wheel and those to be downloaded. Imports nothing heavy."""

from committee.foreign import is_file

_MATERIALS_PROJECT = "PBE(+U), VASP, Materials Project settings (MPtrj)"

SHIPPED = {
    "7net-0": _MATERIALS_PROJECT,
    "7net-0_22may2024": _MATERIALS_PROJECT,
    "7net-l3i5": _MATERIALS_PROJECT,
    "7net-mf-0": "Materials Project settings, VASP, fidelity",
}
"""Checkpoints that the wheel ships, and their levels of theory."""

FETCHED = ("7net-omat", "7net-mf-ompa", "7net-omni", "7net-omni-i8", "7net-omni-i12")
"""Names of models whose weights SevenNet downloads from its releases."""


def canonical(model: str) -> str:
    """Return the canonical name of a model that has several (``SevenNet-0``, ``7net-0_11July2024``)."""
    name = model.lower()
    if name.startswith("sevennet-"):
        name = "7net-" + name.removeprefix("sevennet-")
    return "7net-0" if name in {"7net-0_11jul2024", "7net-0_11july2024"} else name


def is_shipped(model: str) -> bool:
    """Whether a name refers to weights in the wheel; a file of that name in the current folder takes precedence."""
    return not is_file(model) and canonical(model) in SHIPPED


def why_unknown(model: str) -> str:
    """Explain in one sentence why a name is neither a file nor a shipped model, and what to do."""
    name = canonical(model)
    if name in FETCHED:
        return (
            f"the weights of SevenNet's {model} are not in its wheel and are not fetched automatically; fetch them "
            f"once with: python -c \"from sevenn.util import pretrained_name_to_path as f; print(f('{name}'))\" and "
            "give the path it prints as the model"
        )
    return (
        f"{model!r} is neither a file nor a name that the sevenn package ships: {', '.join(SHIPPED)}. For any other "
        "SevenNet model, download its checkpoint and give the path"
    )
