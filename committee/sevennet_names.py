"""Names of SevenNet's models: which come inside its wheel, which would have to be fetched. Imports nothing heavy."""

from committee.foreign import is_file

_MATERIALS_PROJECT = "PBE(+U), VASP, Materials Project settings (MPtrj)"

SHIPPED = {
    "7net-0": _MATERIALS_PROJECT,
    "7net-0_22may2024": _MATERIALS_PROJECT,
    "7net-l3i5": _MATERIALS_PROJECT,
    "7net-mf-0": "Materials Project settings, VASP, fidelity",
}
"""Checkpoints that the wheel ships, and what their energies mean."""

FETCHED = ("7net-omat", "7net-mf-ompa", "7net-omni", "7net-omni-i8", "7net-omni-i12")
"""Names that SevenNet knows and whose weights it downloads from its releases."""


def canonical(model: str) -> str:
    """Return a model's one name among those that SevenNet understands (``SevenNet-0``, ``7net-0_11July2024``)."""
    name = model.lower()
    if name.startswith("sevennet-"):
        name = "7net-" + name.removeprefix("sevennet-")
    return "7net-0" if name in {"7net-0_11jul2024", "7net-0_11july2024"} else name


def is_shipped(model: str) -> bool:
    """Whether a name stands for weights inside the wheel; a file of that name in the current folder goes first."""
    return not is_file(model) and canonical(model) in SHIPPED


def why_unknown(model: str) -> str:
    """Return one sentence on a name that is no file and not shipped: what it is, and what to do."""
    name = canonical(model)
    if name in FETCHED:
        return (
            f"the weights of SevenNet's {model} are not in its wheel and are not fetched by themselves; fetch them "
            f"once with: python -c \"from sevenn.util import pretrained_name_to_path as f; print(f('{name}'))\" and "
            "give the path it prints as the model"
        )
    return (
        f"{model!r} is neither a file nor a name that the sevenn package ships: {', '.join(SHIPPED)}. For any other "
        "SevenNet model, download its checkpoint and give the path"
    )
