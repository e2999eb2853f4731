"""Labels for a few structures with a campaign's engine; each is written to disk as soon as it is finished."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from ase import Atoms

from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from al_loop.stages.label.resources import check_resources, fitting_workers
from al_loop.utils.content_hash import canonical_order, content_id, frame_id
from dft_interfaces.isolation.closing import Closing
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.jobs.result_files import finished_label, keep_result
from dft_interfaces.jobs.retry import labelled_with_retries
from dft_interfaces.label import Label, LevelOfTheory
from dft_interfaces.label_check import checked


class Labeller(Closing):
    """Calculates with the engine, limits and retries of a campaign's ``label`` block, on this machine.

    A finished label is read from disk instead of calculated again when the same command is run once more. A failed
    calculation is returned as a label with its failure, not raised.

    Args:
        settings: the campaign's ``label`` block.
        folder: of the finished labels.

    Raises:
        InputError: the labels would go through a queue, or need more cores than the machine has.
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
    """

    def __init__(self, settings: LabelSettings, folder: Path) -> None:
        if settings.queue is not None:
            raise InputError(
                "label.queue: these few labels are calculated on this machine; take the block out of a copy of the "
                "config, or leave --config away and label the structures that are marked in the file"
            )
        check_resources(settings)
        self._settings = settings
        self._folder = folder
        self._engines = [IsolatedEngine(settings.engine, settings.limits)]

    def close(self) -> None:
        """End the engines' processes."""
        for engine in self._engines:
            engine.close()

    @property
    def level(self) -> LevelOfTheory:
        """Level of theory of the labels."""
        return self._engines[0].level_of_theory

    @property
    def properties(self) -> frozenset[str]:
        """Those of energy, forces and stress that a label holds."""
        return self._engines[0].properties

    def check_elements(self, frames: Sequence[Atoms]) -> None:
        """Check that the engine supports the elements.

        Raises:
            InputError: it does not; the message names the elements.
        """
        unknown = self._engines[0].unknown_elements(sorted({symbol for atoms in frames for symbol in atoms.symbols}))
        if unknown:
            raise InputError(
                f"label.engine: {self._engines[0].name} cannot calculate {', '.join(unknown)}; choose another engine "
                "or remove the structures"
            )

    def label(self, atoms: Atoms) -> Label:
        """Label one structure."""
        return self.label_all([atoms])[0]

    def label_all(self, frames: Sequence[Atoms], advance: Callable[[int], object] = lambda _: None) -> list[Label]:
        """Label structures, as many in parallel as the config's workers and the machine's cores allow.

        Args:
            frames: the structures.
            advance: called with 1 as each ends, in any thread.
        """
        workers = min(len(frames), max(1, fitting_workers(self._settings)))
        while len(self._engines) < workers:
            self._engines.append(IsolatedEngine(self._settings.engine, self._settings.limits))
        free: SimpleQueue[IsolatedEngine] = SimpleQueue()
        for engine in self._engines:
            free.put(engine)

        def labelled(atoms: Atoms) -> Label:
            engine = free.get()
            try:
                return self._labelled(engine, atoms)
            finally:
                free.put(engine)
                advance(1)

        with ThreadPoolExecutor(max(1, workers)) as pool:
            return list(pool.map(labelled, frames))

    def _labelled(self, engine: IsolatedEngine, atoms: Atoms) -> Label:
        level = engine.level_of_theory
        # A label's forces are in the order of the atoms, on which a frame's id does not depend.
        request = content_id(frame_id(atoms), canonical_order(atoms).tolist(), level.fingerprint)
        known = finished_label(self._folder, request)
        if known is None:
            known = checked(labelled_with_retries(engine, atoms, self._settings.retry), atoms, level)
            keep_result(self._folder, request, known)
        return known
