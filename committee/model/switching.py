"""The smooth switch that takes the correction back where the committee does not know."""

from torch import Tensor


def switching_function(distance: Tensor, onset: float, end: float) -> Tensor:
    """Return 1 up to ``onset``, 0 from ``end``, and a twice continuously differentiable step between.

    f = 1 - 10 t³ + 15 t⁴ - 6 t⁵ with t = (d - onset) / (end - onset), the quintic smoothstep.

    Args:
        distance: latent distance, any shape, 1 = typical of known frames.
        onset: where the correction starts to fade.
        end: where nothing is left of it.
    """
    t = ((distance - onset) / (end - onset)).clamp(0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)
