"""Settings of labelling. Each class documents its block in the YAML file."""

from typing import Annotated

from pydantic import Field

from dft_interfaces.settings.ase_calculator import ASECalculatorSettings
from dft_interfaces.settings.espresso import EspressoSettings
from dft_interfaces.settings.gpaw import GPAWSettings
from dft_interfaces.settings.limits import LimitSettings, RetrySettings
from dft_interfaces.settings.pyscf import PySCFSettings
from dft_interfaces.settings.queue import JobSettings, QueueSettings, StageQueueSettings
from dft_interfaces.settings.tblite import TBLiteSettings
from dft_interfaces.settings.vasp import VASPSettings

__all__ = [
    "ASECalculatorSettings",
    "EngineSettings",
    "EspressoSettings",
    "GPAWSettings",
    "JobSettings",
    "LimitSettings",
    "PySCFSettings",
    "QueueSettings",
    "RetrySettings",
    "StageQueueSettings",
    "TBLiteSettings",
    "VASPSettings",
]

EngineSettings = Annotated[
    PySCFSettings | TBLiteSettings | GPAWSettings | EspressoSettings | VASPSettings | ASECalculatorSettings,
    Field(discriminator="engine"),
]
"""One block for each engine; a new engine adds its class here."""
