"""The switching function that switches the correction off far from the training frames."""

from torch import Tensor


def switching_function(distance: Tensor, start: float, end: float) -> Tensor:
    """Return 1 up to ``start``, 0 from ``end``, and a twice continuously differentiable step in between.

    f = 1 - 10 t³ + 15 t⁴ - 6 t⁵ with t = (d - start) / (end - start), the quintic smoothstep.

    Args:
        distance: latent distance, any shape, 1 = typical of training frames.
        start: distance at which the correction starts to fall.
        end: distance from which it is zero.
    """
    t = ((distance - start) / (end - start)).clamp(0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)
