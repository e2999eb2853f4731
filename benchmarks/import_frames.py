"""Speed of storing labelled frames in a ledger: `al-loop import` without its comparison with the foundation.

    python benchmarks/import_frames.py [FILE...] [--quick]

Half of the frames are crystals of NaCl with 8 atoms, half molecules of ethyl methyl ether with 12, rattled; this script
makes their labels with ASE's Lennard-Jones potential. Files that are given are imported instead, repeated with small
moves of their atoms until there are enough frames (the labels are then those of the files, and not physical). The
ledger is a private server's with journalled writes. A figure counts seconds of the processor, of this process and of
the server together: the time on one otherwise idle core. On a shared machine wall time is not meaningful; it
is printed in lines with `#`. Memory is the peak of a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.data import chemical_symbols
from ase.io import write
from figures import at_least, at_most

from al_loop.config import StoreSettings
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.names import LabelKeys
from al_loop.ledger import open_ledger
from al_loop.tools.exchange.importing import import_file
from al_loop.tools.preflight.load_config import load_config

FRAMES, QUICK = 10_000, 2_000
LEVEL = "0123456789abcdef"
RATE = 300  # frames a second
MORE_MB = 400  # besides what the libraries take


def labelled(count: int) -> Iterator[Atoms]:
    """Yield distinct frames with their labels."""
    rng = np.random.default_rng(0)
    bases = bulk("NaCl", "rocksalt", a=5.64, cubic=True), molecule("CH3CH2OCH3")
    potential = LennardJones(sigma=1.2, epsilon=0.01, rc=4.0)
    for base in islice(cycle(bases), count):
        atoms = base.copy()
        atoms.positions += rng.normal(0, 0.05, (len(atoms), 3))
        potential.calculate(atoms, ["energy", "forces"])
        atoms.info["REF_energy"] = float(potential.results["energy"])
        atoms.arrays["REF_forces"] = potential.results["forces"]
        yield atoms


def repeated(files: list[Path], count: int) -> Iterator[Atoms]:
    """Yield the labelled frames of files repeatedly, each time slightly displaced."""
    found = [frame for frame in read_labelled(files).frames if np.isfinite(frame.forces_eV_per_A).all()]
    rng = np.random.default_rng(0)
    for frame in islice(cycle([frame for frame in found if np.isfinite(frame.energy_eV)]), count):
        atoms = Atoms(frame.atoms.numbers, frame.atoms.positions, cell=frame.atoms.cell, pbc=frame.atoms.pbc)
        atoms.positions += rng.normal(0, 0.05, (len(atoms), 3))
        atoms.info["REF_energy"] = frame.energy_eV
        atoms.arrays["REF_forces"] = frame.forces_eV_per_A
        yield atoms


def campaign(folder: Path, elements: set[int]) -> Path:
    """Write a config whose campaign explores these elements."""
    symbols = [chemical_symbols[number] for number in sorted(elements)]
    write(folder / "elements.xyz", Atoms(symbols, [[3.0 * place, 0, 0] for place in range(len(symbols))]))
    config = {
        "name": "import",
        "folder": str(folder / "run"),
        "foundation": {"kind": "sevennet", "model": "7net-0"},
        "systems": [{"file": "elements.xyz"}],
        "explore": {"temperatures_K": [600]},
        "label": {"workers": 0, "engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
    }
    path = folder / "import.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def of_server(folder: Path) -> float:
    """Return the CPU seconds of a folder's private server."""
    found = 0.0
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        if "mongod" in " ".join(process.info["cmdline"] or [])[:200] and str(folder) in str(process.info["cmdline"]):
            found += process.info["cpu_times"].user + process.info["cpu_times"].system
    return found


def measure(name: str, config_path: Path, file: Path, count: int) -> None:
    """Measure an import into an empty ledger, and its repetition."""
    folder = config_path.parent / f"run-{file.name}"
    config = load_config(config_path).model_copy(update={"folder": folder})
    with open_ledger(StoreSettings(), folder, "import") as ledger:
        ledger.start_campaign({"name": "import"})
        for what, new in (("imported", count), ("that are known, imported", 0)):
            server, began, started = of_server(folder), time.process_time(), time.perf_counter()
            done = import_file(ledger, config, file, campaign_level=LEVEL, level="engine", keys=LabelKeys())
            wall_s, own_s = time.perf_counter() - started, time.process_time() - began
            server_s = of_server(folder) - server
            if done.labels_new != new:
                raise SystemExit(f"{done.labels_new} frames were new, expected {new}: {done.notes}")
            print(f"# {wall_s:.1f} s of wall time, {own_s:.1f} s of the processor here, {server_s:.1f} s in the server")
            at_least(f"{name}: frames {what} a second of one core, {count} frames", count / (own_s + server_s), RATE)


def memory_MB(config: Path, file: Path) -> float:
    """Return the peak memory of an import in a separate process, MB, without that of its libraries."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import import_frames as mine; from pathlib import Path;"
        "mine.import_once(Path(sys.argv[2]), Path(sys.argv[3])); small = mine.peak_MB();"
        "mine.import_once(Path(sys.argv[2]), Path(sys.argv[4])); print(mine.peak_MB() - small, mine.peak_MB())"
    )
    few = file.with_name(f"few-{file.name}")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    few.write_text("".join(lines[: int(lines[0]) + 2]), encoding="utf-8")
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(config), str(few), str(file)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    print(f"# peak of the whole process: {float(output[1]):.0f} MB")
    return float(output[0])


def peak_MB() -> float:
    """Return the peak memory of this process, MB; that of ``resource`` includes the parent process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def import_once(config_path: Path, file: Path) -> None:
    """Import a file into a ledger of its own."""
    folder = config_path.parent / f"memory-{file.name}"
    with open_ledger(StoreSettings(), folder, "import") as ledger:
        ledger.start_campaign({"name": "import"})
        config = load_config(config_path)
        import_file(ledger, config, file, campaign_level=LEVEL, level="engine", keys=LabelKeys())


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="labelled frames to take instead of made ones")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} frames")
    given = parser.parse_args()
    os.environ.pop("MONGODB_URI", None)
    count = QUICK if given.quick else FRAMES
    with tempfile.TemporaryDirectory() as place:
        frames = list(repeated(given.files, count) if given.files else labelled(count))
        file = Path(place) / "frames.extxyz"
        write(file, frames, format="extxyz")
        config = campaign(Path(place), {int(number) for atoms in frames for number in atoms.numbers})
        measure("given" if given.files else "NaCl and ether", config, file, count)
        at_most(f"MB of memory for {count} frames besides that for one", memory_MB(config, file), MORE_MB)


if __name__ == "__main__":
    main()
