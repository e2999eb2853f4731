"""The gate's verdicts on a frame as plain JSON values, as files hold them in a frame's provenance."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_loop.records import Frame, GateCheck, Verdict, VerdictKind

_NUMBERS = ("step", "temperature_K", "force_uncertainty_eV_per_A", "latent_distance", "frame_uncertainty_eV_per_A")


def gate_values(frame: Frame) -> dict[str, Any]:
    """Return step, temperature, verdicts and uncertainty of a frame; ``gated`` reads them back."""
    return {
        "step": frame.step,
        "temperature_K": float(frame.temperature_K),
        "verdict": {**asdict(frame.verdict), "atoms": [int(index) for index in frame.verdict.atoms]},
        "checks": {check.value: [one.kind.value, one.reason] for check, one in frame.checks.items()},
        "force_uncertainty_eV_per_A": frame.force_uncertainty_eV_per_A,
        "latent_distance": frame.latent_distance,
        "frame_uncertainty_eV_per_A": frame.frame_uncertainty_eV_per_A,
    }


def gated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a ``Frame`` that ``gate_values`` describes."""
    verdict = dict(values["verdict"])
    kind, check = VerdictKind(verdict.pop("kind")), GateCheck(verdict.pop("check"))
    return {
        **{name: values[name] for name in _NUMBERS},
        "verdict": Verdict(kind, check, **{**verdict, "atoms": tuple(verdict["atoms"])}),
        "checks": {
            GateCheck(check): Verdict(VerdictKind(kind), GateCheck(check), reason)
            for check, (kind, reason) in values["checks"].items()
        },
    }


def descriptor_text(values: NDArray[np.float32] | None) -> str | None:
    """Return a descriptor as text with every bit."""
    return None if values is None else b64encode(values.astype("<f4").tobytes()).decode()


def descriptor_from_text(text: str | None) -> NDArray[np.float32] | None:
    """The inverse of ``descriptor_text``."""
    return None if text is None else np.frombuffer(b64decode(text), "<f4").astype(np.float32)
