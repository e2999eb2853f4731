"""One line of JSON per figure."""

import json
import math


def report(name: str, value: float, target: str, *, holds: bool) -> None:
    """Print a figure with its target; a figure that is undefined with too few frames is null and does not hold."""
    known = round(value, 4) if math.isfinite(value) else None
    print(json.dumps({"name": name, "value": known, "target": target, "holds": bool(holds)}), flush=True)


def at_least(name: str, value: float, bound: float) -> None:
    """Report a figure that must not be below its bound."""
    report(name, value, f">= {bound:g}", holds=value >= bound)


def at_most(name: str, value: float, bound: float) -> None:
    """Report a figure that must not be above its bound."""
    report(name, value, f"<= {bound:g}", holds=value <= bound)
