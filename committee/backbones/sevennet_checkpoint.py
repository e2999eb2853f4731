"""Opening of SevenNet checkpoints: file, fidelity and level of theory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from committee.backbones.contract import fingerprint_weights
from committee.errors import FoundationError
from committee.foreign import is_file, reading
from committee.settings import SevenNetSettings
from committee.sevennet_names import SHIPPED, canonical, is_shipped, why_unknown

_FINGERPRINT_KEYS = ("cutoff", "cutoff_function", "radial_basis", "act_scalar", "act_gate", "act_radial")
"""Entries of a checkpoint's config that change the prediction but not the names or shapes of the weights."""

_REMEDY = "expected a SevenNet checkpoint: a file written by SevenNet's training or shipped with the sevenn package"


@dataclass(frozen=True)
class OpenSevenNet:
    """The parts of an opened checkpoint that the adapter needs.

    ``model`` is SevenNet's sequence of modules up to the atomic energies, in float32; ``modality`` is None where there
    is only one fidelity; ``fitted`` names the parameters that its own training fitted; ``settings`` are those that it
    was opened with.
    """

    model: nn.Module
    name: str
    fingerprint: str
    level_of_theory: str
    modality: int | None
    fitted: frozenset[str]
    settings: SevenNetSettings


def open_sevennet(settings: SevenNetSettings) -> OpenSevenNet:
    """Open a checkpoint that the wheel ships, or one from a file.

    Raises:
        FoundationError: see :func:`committee.backbones.sevennet.load_sevennet`.
    """
    with reading(settings.model, _REMEDY, FoundationError):
        path = _locate(settings.model)
        return _opened(path, settings)


def read_sevennet(settings: SevenNetSettings) -> tuple[Any, Any, str]:
    """Read the content of a checkpoint again.

    Returns:
        SevenNet's own ``SevenNetCheckpoint``, its whole model with e3nn's products, and the fingerprint of a foundation
        opened from it.

    Raises:
        FoundationError: the weights cannot be read.
    """
    with reading(settings.model, _REMEDY, FoundationError):
        checkpoint, model = _build(_locate(settings.model))
        return checkpoint, model, _fingerprint(checkpoint.config, model, settings)


def _opened(path: str, settings: SevenNetSettings) -> OpenSevenNet:
    checkpoint, model = _build(path)
    modality = _choose_fidelity(settings, model.modal_map)
    model.delete_module_by_key("force_output")
    model.delete_module_by_key("reduce_total_enegy")  # spelt so in SevenNet
    model.set_is_batch_data(True)
    label = Path(path).name if path == settings.model else canonical(settings.model)
    return OpenSevenNet(
        model=model,
        name="sevennet:" + "/".join(filter(None, (label, settings.fidelity))),
        fingerprint=_fingerprint(checkpoint.config, model, settings),
        level_of_theory=_describe(label, settings.fidelity),
        modality=modality,
        fitted=frozenset(name for name, weight in model.named_parameters() if weight.requires_grad),
        settings=settings,
    )


def _locate(model: str) -> str:
    try:
        from sevenn.util import pretrained_name_to_path
    except ModuleNotFoundError as error:
        raise FoundationError(
            "The foundation is SevenNet but the package sevenn is missing; run: pip install al-loop[sevennet]"
        ) from error
    if is_shipped(model):
        return str(pretrained_name_to_path(canonical(model)))
    if is_file(model):
        return model
    raise FoundationError(f"foundation.model: {why_unknown(model)}.")


def _fingerprint(config: dict[str, Any], model: Any, settings: SevenNetSettings) -> str:
    content = {key: config.get(key) for key in _FINGERPRINT_KEYS}
    content |= {"type_map": dict(model.type_map), "fidelity": settings.fidelity}
    return fingerprint_weights(model.named_parameters(), content)


def _build(path: str) -> tuple[Any, Any]:
    from sevenn.checkpoint import SevenNetCheckpoint

    checkpoint = SevenNetCheckpoint(path)
    return checkpoint, checkpoint.build_model()


def _choose_fidelity(settings: SevenNetSettings, modal_map: dict[str, int] | None) -> int | None:
    available = dict(modal_map or {})
    if not available and settings.fidelity is None:
        return None
    if not available:
        raise FoundationError(
            f"SevenNet model {settings.model} has one fidelity only; leave out fidelity: {settings.fidelity}."
        )
    if settings.fidelity not in available:
        raise FoundationError(
            f"SevenNet model {settings.model} holds the fidelities {', '.join(sorted(available))}, "
            f"received fidelity: {settings.fidelity}; set fidelity to one of them."
        )
    return available[settings.fidelity]


def _describe(label: str, fidelity: str | None) -> str:
    level = SHIPPED.get(label, f"as in the training data of {label}")
    return level if fidelity is None else f"{level} {fidelity}"
