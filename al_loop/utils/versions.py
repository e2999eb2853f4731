"""Versions of the packages that a campaign depends on, read without importing them."""

from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "al-loop",
    "torch",
    "fairchem-core",
    "sevenn",
    "chgnet",
    "tblite",
    "pfp-api-client",
    "ase",
    "pyscf",
    "gpaw",
    "pyiron_base",
    "mongoengine",
)


def installed(package: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed_versions() -> dict[str, str]:
    """Return name and version of those of PACKAGES that are installed."""
    found = ((package, installed(package)) for package in PACKAGES)
    return {package: number for package, number in found if number is not None}
