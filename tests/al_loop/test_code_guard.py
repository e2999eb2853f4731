"""Nothing that could run code out of data stands in the packages, apart from the places named here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("al_loop", "committee", "dft_interfaces")

EXCUSED = {
    "al_loop/config/strict_yaml.py: yaml.load": "with a loader derived from SafeLoader",
    "committee/backbones/fairchem_checkpoint.py: torch.load": "a foundation that the user's config names",
    "committee/backbones/__init__.py: import_module": "of a kind that the union of settings admits",
    "al_loop/__init__.py: import_module": "of a fixed table",
    "committee/__init__.py: import_module": "of a fixed table",
    "committee/backbones/named_objects.py: import_module": "a calculator that the user's config names",
    "dft_interfaces/__init__.py: import_module": "of a fixed table",
    "dft_interfaces/engines/__init__.py: import_module": "of a fixed table",
    "dft_interfaces/engines/ase_calculator.py: import_module": "a calculator that the user's config names",
    "dft_interfaces/engines/dispersion.py: import_module": "of a fixed name",
    "al_loop/tools/validation/crystal_symmetry.py: import_module": "of fixed names",
}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
CALLS = {"import_module", "system", "popen", "unsafe_load", "full_load"}


def dangers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from _dangers_of_call(node)


def _dangers_of_call(node: ast.Call) -> Iterator[str]:
    function = node.func
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    keywords = {word.arg: word.value for word in node.keywords}
    if name in CALLS or (name in BUILT_IN and isinstance(function, ast.Name)):
        yield name
    if name == "load" and owner == "yaml":
        yield "yaml.load"
    if name == "load" and owner == "torch" and not _is(keywords.get("weights_only"), constant=True):
        yield "torch.load"
    if "allow_pickle" in keywords and not _is(keywords["allow_pickle"], constant=False):
        yield "allow_pickle"
    if "shell" in keywords and not _is(keywords["shell"], constant=False):
        yield "shell"


def _is(node: ast.AST | None, *, constant: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is constant


def found() -> set[str]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {
        f"{path.relative_to(ROOT).as_posix()}: {danger}"
        for path in paths
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }


def test_only_what_is_excused_can_run_code() -> None:
    assert found() == EXCUSED.keys()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "__import__(x)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
    ],
)
def test_the_guard_sees(code: str) -> None:
    assert list(dangers(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "re.compile(x)"]
)
def test_the_guard_lets_through(code: str) -> None:
    assert not list(dangers(ast.parse(code)))
