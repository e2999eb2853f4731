"""The switching function that fades the correction out far from the training frames."""

from torch import Tensor


def switching_function(distance: Tensor, onset: float, end: float) -> Tensor:
    """Return 1 up to ``onset``, 0 from ``end``, and a twice continuously differentiable step in between.

    f = 1 - 10 t³ + 15 t⁴ - 6 t⁵ with t = (d - onset) / (end - onset), the quintic smoothstep.

    Args:
        distance: latent distance, any shape, 1 = typical of training frames.
        onset: distance at which the correction starts to fade.
        end: distance from which it is zero.
    """
    t = ((distance - onset) / (end - onset)).clamp(0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)
