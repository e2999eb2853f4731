"""Objects named by import path in a user's own config: import, construction and identity."""

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from committee.errors import FoundationError
from committee.foreign import is_file, reading, reason_of
from committee.settings import IMPORT_PATH, is_named_object, names_a_file


def resolve(path: str) -> Any:
    """Import the object at a dotted path: a class, a function, or an attribute of one (``module.Enum.MEMBER``).

    Raises:
        FoundationError: it is no dotted path, its package cannot be imported, or the name does not exist in it.
    """
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004 - module and name
        raise FoundationError(
            f"received the import path {path!r}, expected module and name such as ase.calculators.emt.EMT"
        )
    module, rest = _import_longest(path, parts)
    found: Any = module
    with reading(f"the import path {path}", "correct the path or install its package", FoundationError):
        for name in rest:  # a module may create its attributes on access
            if not hasattr(found, name):
                raise FoundationError(
                    f"received the import path {path}, but {module.__name__} holds no {'.'.join(rest)}"
                )
            found = getattr(found, name)
    return found


def _import_longest(path: str, parts: list[str]) -> tuple[Any, list[str]]:
    """Import the longest part of the path that is a module; the rest are attributes."""
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        try:
            return importlib.import_module(name), parts[end:]
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue  # this part of the path is a class, not a module
            raise _not_importable(path, error) from error
        except Exception as error:  # importing runs the module
            raise _not_importable(path, error) from error
    raise _not_importable(path, ModuleNotFoundError(f"No module named {parts[0]!r}"))


def _not_importable(path: str, error: Exception) -> FoundationError:
    return FoundationError(f"{path} cannot be imported ({reason_of(error)}); correct the path or install its package")


def build_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Build every ``{import_path: ..., arguments: {...}}`` among the arguments, innermost first.

    Without ``arguments`` the named object is passed unchanged: a member of an enumeration, a function, a class.
    """
    return {key: _build(value) for key, value in arguments.items()}


def _build(value: Any) -> Any:
    if is_named_object(value):
        found = resolve(value[IMPORT_PATH])
        return call(value[IMPORT_PATH], found, value["arguments"]) if "arguments" in value else found
    if isinstance(value, dict):
        return build_arguments(value)
    return [_build(item) for item in value] if isinstance(value, list) else value


def call(path: str, found: Any, arguments: Mapping[str, Any]) -> Any:
    """Call a named object.

    Raises:
        FoundationError: it cannot be called, or raises with these arguments.
    """
    if not callable(found):
        raise FoundationError(f"{path} is {found!r}, which cannot be called; leave out its arguments")
    built = build_arguments(arguments)
    try:
        return found(**built)
    except Exception as error:
        raise FoundationError(
            f"{path} refused the arguments {sorted(arguments)} ({reason_of(error)}){_signature(found)}"
        ) from error


def _signature(found: Any) -> str:
    try:
        return f"; it takes {inspect.signature(found)}"
    except (TypeError, ValueError):
        return ""


def identity(path: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that determines an object's results: path, library version, arguments, hashes of model files."""
    identities = {key: _argument_identity(key, value) for key, value in arguments.items()}
    return {IMPORT_PATH: path, "version": _library_version(path), "arguments": identities}


def _argument_identity(key: str, value: Any) -> Any:
    """Replace the path of a model file by the hash of its content: retrained weights are another foundation."""
    if is_named_object(value):
        return identity(value[IMPORT_PATH], value["arguments"]) if "arguments" in value else value
    if isinstance(value, dict):
        return {inner: _argument_identity(inner, item) for inner, item in value.items()}
    if isinstance(value, list):
        return [_argument_identity(key, item) for item in value]
    if isinstance(value, str) and names_a_file(key) and is_file(Path(value).expanduser()):
        return {"file_sha256": _file_hash(Path(value).expanduser())}
    return value


def _library_version(path: str) -> dict[str, str]:
    """Return the version of each distribution that provides the package; the source's hash if there is none."""
    package = path.split(".", maxsplit=1)[0]
    if names := packages_distributions().get(package):
        return {name: version(name) for name in names}
    try:
        source = inspect.getsourcefile(resolve(path))
    except TypeError:  # an object without source
        return {}
    return {} if source is None else {"source_sha256": _file_hash(Path(source))}


def _file_hash(path: Path) -> str:
    remedy = "correct the path or the file's permissions"
    with reading(path, remedy, FoundationError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
