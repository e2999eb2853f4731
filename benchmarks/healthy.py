"""Healthy runs of 1 ps, on which the physics check must not raise an alarm."""

from collections.abc import Callable

from ase.build import molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from scenarios import (
    Run,
    argon,
    clusters,
    copper,
    hydronium,
    liquid,
    molecular_gas,
    run,
    salt,
    slab,
    spread,
    with_calculator,
    xtb,
)


def quenched() -> Run:
    """A thermostat that is set from 1500 to 300 K at once."""
    made = run(copper(2, 3.68), 1500, 4.0)

    def before(step: int) -> None:
        if step == 50:
            made.dynamics.set_temperature(temperature_K=300)
            made.thermostat_K.append(300.0)

    made.before = before
    return made


HEALTHY: dict[str, Callable[[], Run]] = {
    "crystal at 300 K": lambda: run(copper(2, 3.61), 300, 4.0),
    "crystal near melting": lambda: run(copper(2, 3.70), 1300, 4.0),
    "crystal near melting, barostat": lambda: run(copper(2, 3.66), 1300, 4.0, ensemble="npt"),
    "crystal that melts": lambda: run(copper(2, 3.75), 2500, 4.0),
    "crystal without thermostat": lambda: run(copper(2, 3.63), 600, 4.0, ensemble="nve"),
    "quenched crystal": quenched,
    "slab": lambda: run(slab(), 600, 4.0),
    "ionic melt of 64 atoms, 1500 K": lambda: run(salt(6.2, 2), 1500, 4.0, ps=1.0),
    "ionic melt of 8 atoms, 1500 K": lambda: run(salt(6.2), 1500, 4.0),
    "salt without thermostat": lambda: run(salt(5.7), 900, 4.0, ensemble="nve"),
    "molecular liquid": lambda: run(liquid(), 330, 1.0),
    "gas of molecules": lambda: run(molecular_gas(), 500, 0.5),
    "hot gas of hydrogen": lambda: run(with_calculator(spread(["H2"] * 8, 4.0, periodic=False), xtb()), 2000, 0.5),
    "gas of atoms": lambda: run(argon(5.5), 300, 5.0),
    "vapour that condenses": lambda: run(argon(4.6), 60, 10.0, ps=5.0),
    "hot molecule": lambda: run(with_calculator(molecule("CH3CH2OH"), xtb()), 1000, 0.5),
    "molecule without thermostat": lambda: run(with_calculator(molecule("H2O"), xtb()), 300, 0.5, ensemble="nve"),
    "proton in water": lambda: run(hydronium(), 330, 0.5),
    "cluster that evaporates": lambda: run(with_calculator(Icosahedron("Cu", 2), EMT()), 2500, 4.0),
    "two clusters that pass": lambda: run(clusters(14.0), 300, 4.0),
}
