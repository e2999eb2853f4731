"""Detection of failures by the physics check, and its false alarms on healthy runs.

    python benchmarks/physics.py [--quick] [--only TEXT]

Healthy runs of 1 ps must give no alarm; failures must be detected within 50 steps of their onset. A full
check every 10 steps and the cheap one at every step, as in exploration.
"""

import argparse
from collections.abc import Callable

from failures import FAILURES
from figures import at_least, at_most
from healthy import HEALTHY
from scenarios import Run

from al_loop.config import PhysicsSettings
from al_loop.gate.physics import PhysicsCheck
from al_loop.records import Verdict

CHECK_EVERY = 10
IN_TIME = 50  # steps
QUICK_PS = 0.04  # of a healthy run
SLOW = ("melt", "liquid", "salt")  # what SevenNet drives, left out of a quick run


def watch(made: Run, steps: int) -> tuple[int | None, int | None, Verdict | None]:
    """Return the step of the onset, the step of the alarm and its verdict; None for what did not occur."""
    physics = PhysicsCheck(
        PhysicsSettings(**made.settings),
        made.start,
        made.temperature_K,
        ensemble=made.ensemble,
        timestep_fs=made.timestep_fs,
    )
    atoms, onset = made.atoms, None
    for step in range(steps + 1):
        if step:
            made.before(step)
            made.dynamics.run(1)
        if made.thermostat_K:
            physics.temperature_K = made.thermostat_K[-1]
        if onset is None and (made.broken is None or made.broken()):
            onset = step
        look = physics.check if step % CHECK_EVERY == 0 else physics.check_step
        found = physics.check(atoms) if step == 0 else None
        found = found or look(atoms, atoms.get_forces(), float(atoms.get_potential_energy()))
        if found is not None:
            return onset, step, found
        if onset is not None and step - onset > IN_TIME and made.failing:
            break
    return onset, None, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="runs of 40 fs, none with SevenNet: shows that it runs")
    parser.add_argument("--only", default="", help="scenarios whose name contains this text")
    arguments = parser.parse_args()

    def chosen(scenarios: dict[str, Callable[[], Run]]) -> dict[str, Callable[[], Run]]:
        slow = SLOW if arguments.quick else ()
        return {
            name: make
            for name, make in scenarios.items()
            if arguments.only in name and not any(part in name for part in slow)
        }

    alarms = caught = 0
    for name, make in chosen(HEALTHY).items():
        made = make()
        steps = round(1e3 * QUICK_PS / made.timestep_fs) if arguments.quick else made.steps
        _, step, found = watch(made, steps)
        alarms += found is not None
        print(
            f"healthy  {name}: {'silent' if found is None else f'step {step}: {found.reason}'} ({steps} steps)",
            flush=True,
        )
    failures = chosen(FAILURES)
    for name, make in failures.items():
        made = make()
        made.failing = True
        onset, step, found = watch(made, made.steps)
        in_time = found is not None and onset is not None and step - onset <= IN_TIME
        caught += in_time
        result = "not found" if found is None else f"step {step} (onset {onset}): {found.kind}, {found.reason}"
        print(f"failure  {name}: {result}", flush=True)
    at_least(f"failures caught within {IN_TIME} steps, of {len(failures)}", caught, len(failures))
    at_most(f"false alarms on {len(chosen(HEALTHY))} healthy runs", alarms, 0)


if __name__ == "__main__":
    main()
