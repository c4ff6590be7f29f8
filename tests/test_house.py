"""House: imports point one way, public names exist and say what they are, files stay small."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

SOURCE = Path(__file__).resolve().parents[1] / "src" / "holdfast"
FILES = sorted(SOURCE.rglob("*.py"))

GROUND = {
    "types",
    "errors",
    "seeding",
    "schema",
    "atomic",
    "cache",
    "cores",
    "devices",
    "files",
    "memory",
    "sealed",
    "printable",
    "interrupts",
    "rotations",
}
MAY_IMPORT = {
    "atomic": {"errors"},
    "interrupts": set(),
    "cache": {"atomic"},
    "cores": set(),
    "devices": {"errors"},
    "printable": set(),
    "rotations": {"errors"},
    "sealed": {"errors", "files"},
    "errors": set(),
    "files": {"errors"},
    "memory": {"errors"},
    "types": {"errors"},
    "seeding": set(),
    "schema": {"errors"},
    "control": GROUND,
    "data": GROUND,
    "nn": GROUND,
    "tokens": GROUND,
    "models": GROUND | {"nn", "tokens"},
    "policy": GROUND | {"data", "models", "nn", "tokens"},
    "envs": GROUND | {"control", "data", "policy"},
    "recipe": GROUND | {"control", "data", "models", "nn", "policy", "tokens"},
    "learn": GROUND | {"control", "data", "models", "nn", "policy", "recipe", "tokens", "envs", "__version__"},
    "evaluation": GROUND | {"control", "data", "models", "nn", "policy", "recipe", "tokens", "envs"},
    "report": GROUND | {"evaluation", "__version__"},
    "export": GROUND | {"data", "models", "nn", "policy", "tokens", "__version__"},
}
MAY_IMPORT["serve"] = MAY_IMPORT["envs"] | {"envs", "models", "nn", "recipe", "tokens", "__version__"}
MAY_IMPORT["analysis"] = MAY_IMPORT["evaluation"] | {"learn", "evaluation", "report"}
MAY_IMPORT["studies"] = MAY_IMPORT["analysis"] | {"analysis", "__version__"}
MAY_IMPORT["cli"] = MAY_IMPORT["studies"] | {"studies", "serve", "export"}
MAY_IMPORT["__main__"] = {"cli"}


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def module_name(file: Path) -> str:
    parts = ("holdfast", *file.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def imported_rooms(text: str, file: Path) -> set[str]:
    """Rooms that a file of the package imports, absolutely or relatively, at any depth of its code."""
    package = list(file.relative_to(SOURCE.parent).parts[:-1])
    rooms = set[str]()
    for node in ast.walk(ast.parse(text)):
        paths = list[list[str]]()
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            # `from .. import control` names the room only in its aliases
            paths = [[*module, alias.name] for alias in node.names]
        rooms |= {path[1] for path in paths if path[0] == "holdfast" and len(path) > 1}
    return rooms


def test_imports_are_read_in_every_form():
    inside = SOURCE / "data" / "formats" / "native.py"
    text = (
        "def f():\n from ...errors import DataError\nimport holdfast.envs.closed_loop as r\nfrom holdfast import learn"
    )
    assert imported_rooms(text, inside) == {"errors", "envs", "learn"}
    assert imported_rooms("from .. import codec\nfrom . import zarr\nimport torch", inside) == {"data"}
    assert imported_rooms("from .. import __version__, nn", SOURCE / "report" / "result.py") == {"__version__", "nn"}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_point_one_way(file):
    room = room_of(file)
    if room == "__init__":
        return
    allowed = MAY_IMPORT[room] | {room}
    assert imported_rooms(file.read_text(), file) <= allowed


def test_the_table_holds_all_rooms_and_no_knot():
    rooms = {room_of(file) for file in FILES} - {"__init__"}
    assert rooms == set(MAY_IMPORT)
    done = set[str]({"__version__"})
    while ready := {room for room in MAY_IMPORT if room not in done and MAY_IMPORT[room] - {room} <= done}:
        done |= ready
    assert set(MAY_IMPORT) <= done


def test_no_vague_rooms_and_no_long_files():
    vague = {"utils", "util", "common", "core", "helpers", "helper", "manager", "misc"}
    assert not [file for file in FILES if vague & set(file.relative_to(SOURCE).with_suffix("").parts)]
    assert not [(file, lines) for file in FILES if (lines := len(file.read_text().splitlines())) > 500]


def public_names(module) -> list[str]:
    """What a package exports, or what a module defines without an underscore."""
    exported = getattr(module, "__all__", None)
    if exported is not None:
        return exported
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return [name for name in own if not name.startswith("_")]


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_public_names(file):
    """Every exported name exists; every public function, class and method says what it is."""
    module = importlib.import_module(module_name(file))
    assert module.__doc__, "a file begins by saying what it holds"
    for name in public_names(module):
        value = getattr(module, name)
        if not inspect.isfunction(value) and not inspect.isclass(value):
            continue
        assert inspect.getdoc(value), name
        if inspect.isclass(value) and value.__module__ == module.__name__:
            # a dataclass without a docstring gets its signature for one
            assert not value.__doc__.startswith(f"{name}("), name
            methods = {key: item for key, item in vars(value).items() if not key.startswith("_")}
            bare = [key for key, item in methods.items() if callable(item) and not inspect.getdoc(item)]
            assert not bare, f"{name}: {bare}"


def test_exported_names_are_unique():
    for file in FILES:
        names = getattr(importlib.import_module(module_name(file)), "__all__", [])
        assert len(names) == len(set(names)), file


PACKAGES = [file for file in FILES if file.name == "__init__.py"]


@pytest.mark.parametrize("file", PACKAGES, ids=module_name)
def test_no_function_hides_a_module_of_its_name(file):
    """Otherwise `package.name` would be the function, and the modules below it could not be reached."""
    package = importlib.import_module(module_name(file))
    below = {path.stem for path in file.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    exported = {*getattr(package, "__all__", ()), *vars(package)} & below
    assert not [name for name in exported if not inspect.ismodule(getattr(package, name))]


def test_the_names_of_the_package_are_one_list():
    """`__all__`, the table of modules and the imports for type checkers agree."""
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {alias.name: node.module for node in checked.body for alias in node.names}
    assert typed == holdfast._MODULE_OF
    assert sorted([*typed, "__version__"]) == holdfast.__all__
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    for name in holdfast._SUBPACKAGES:
        assert inspect.ismodule(getattr(holdfast, name))
    with pytest.raises(AttributeError, match=r"no attribute 'evalute'. Did you mean evaluate\?"):
        holdfast.evalute  # noqa: B018


HEAVY = ("gymnasium", "h5py", "matplotlib", "ot", "pandas", "plotly", "pyarrow", "scipy", "zarr")


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import holdfast", ("torch", "numpy", *HEAVY)),
        ("import holdfast; holdfast.load", HEAVY),
        ("import holdfast.cli; holdfast.cli.main(['--help'])", ("torch", "numpy", *HEAVY)),
        ("import holdfast.cli; holdfast.cli.main(['--version'])", ("torch", "numpy", *HEAVY)),
    ],
)
def test_imports_are_light(code, heavy):
    show = f"import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}; {show}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_no_pickle_no_evaluation_of_text_no_print(file):
    tree = ast.parse(file.read_text())
    called = calls(tree)
    forbidden = {"torch.save", "torch.load", "eval", "exec", "compile", "print", "np.load", "numpy.load"}
    if file.name == "encoder_weights.py":
        # one installed package has a file of PyTorch; tensors alone are read from it
        loads = [
            node for node in ast.walk(tree) if isinstance(node, ast.Call) and "torch.load" in ast.unparse(node.func)
        ]
        assert all("weights_only=True" in ast.unparse(node) for node in loads)
        forbidden -= {"torch.load"}
    assert not called & forbidden
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not modules & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
