"""The floors of the house: who may import whom, and what the pure parts must not know."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.providers import catalog

ROOT = Path(__file__).resolve().parent.parent
# From the ground up. A file imports from its own floor and from those below.
FLOORS = (
    "vcp",
    "apps.history",
    "apps.providers.engine",
    "apps.providers",
    "apps.monitoring",
    "apps.ingest",
    "apps.analytics",
    "voicelens",
)
# They stand on one floor, and never import each other.
NEIGHBOURS = {"apps.ingest", "apps.monitoring"}
PURE = ("vcp", "apps.providers.engine")
THIRD_PARTY = {"vcp": {"pydantic", "pydantic_core"},
               "apps.providers.engine": {"pydantic", "pydantic_core", "orjson", "jsonpath_rfc9535"}}  # fmt: skip
# Of the standard library: what reads a clock, chance, the machine or the network.
IMPURE = {"time", "random", "secrets", "uuid", "os", "sys", "socket", "http", "urllib.request", "subprocess",
          "threading", "asyncio", "pathlib", "io", "tempfile", "logging", "locale", "platform", "getpass"}  # fmt: skip
# The one pure module that speaks to the network, and what it may use for that. Nothing pure imports it.
SENDER = "vcp.exports.otlp_http"
SENDS_BY = {"http.client", "urllib.request"}
# The command line is the way from the machine to the pure parts: it reads files, streams and the clock.
COMMAND_LINE = ("vcp.cli", "vcp.__main__", "vcp.compat.__main__")
READS_BY = {"sys", "os", "pathlib.Path"}
CLOCKS = {"now", "utcnow", "today"}
# The slug of ready-made messages is the name of the protocol itself, which everything speaks.
SLUGS = sorted(set(catalog.slugs()) - {"vcp"})

Import = tuple[int, str]


def files(*floors: str) -> list[Path]:
    """The project's own source files below these packages, without tests and migrations."""
    found = [path for floor in floors for path in sorted((ROOT / floor.replace(".", "/")).rglob("*.py"))]
    return [path for path in found if not {"tests", "migrations"} & set(path.parts) and path.name != "conftest.py"]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def floor_of(module: str) -> str | None:
    """The innermost floor that a module belongs to; None for modules that are not ours."""
    return next(
        (floor for floor in sorted(FLOORS, key=len, reverse=True) if f"{module}.".startswith(f"{floor}.")), None
    )


def imports_in(source: str, package: str = "") -> Iterator[Import]:
    """(line, module) of each import, also within functions; `from a import b` may name the module a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*around, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def imports(path: Path) -> list[Import]:
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    return list(imports_in(path.read_text(), package))


def wrong_direction(floor: str, imported: str) -> bool:
    target = floor_of(imported)
    if {floor, target} == NEIGHBOURS:
        return True
    if imported == "apps" or (target is None and imported.startswith("apps.")):
        return True  # no room of a known floor: a new one must be given its place here
    return target is not None and FLOORS.index(target) > FLOORS.index(floor)


def impure(floor: str, imported: str) -> bool:
    if floor_of(imported) is not None:
        return False
    top = imported.partition(".")[0]
    known = top in sys.stdlib_module_names or top in THIRD_PARTY[floor]
    return not known or any(f"{imported}.".startswith(f"{name}.") for name in IMPURE)


def clock_reads(source: str) -> list[int]:
    """Lines that call .now(), .utcnow() or .today() of anything."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in CLOCKS]


def provider_names(source: str) -> list[tuple[int, str]]:
    """(line, text) wherever code, docstrings apart, names a provider of the catalogue."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        texts = [getattr(node, name, None) for name in ("id", "attr", "name", "arg")]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            texts.append(node.value)
        found += [(node.lineno, text) for text in texts if isinstance(text, str) and _names_a_provider(text)]
    return found


def _names_a_provider(text: str) -> bool:
    # "for example retell" in a help text explains; it decides nothing.
    spoken = re.sub(r"for example \w+", "", text.lower())
    return any(re.search(rf"(?<![a-z0-9]){slug}(?![a-z0-9])", spoken) for slug in SLUGS)


def of_floor(floor: str) -> list[Path]:
    return [path for path in files(floor) if floor_of(module_of(path)) == floor]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_file_imports_from_its_own_floor_or_from_below(floor):
    for path in of_floor(floor):
        for line, imported in imports(path):
            assert not wrong_direction(floor, imported), f"{path.relative_to(ROOT)}:{line} imports {imported}"


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_has_files(floor):
    assert of_floor(floor)


def test_every_package_of_ours_stands_on_a_floor():
    packages = {path.parent for path in ROOT.glob("apps/*/__init__.py")}
    assert {module_of(folder) for folder in packages} <= set(FLOORS)


@pytest.mark.parametrize("floor", PURE)
def test_the_pure_parts_know_no_framework_no_clock_and_no_machine(floor):
    for path in of_floor(floor):
        from_outside = module_of(path).startswith(COMMAND_LINE)
        allowed = SENDS_BY if module_of(path) == SENDER else READS_BY if from_outside else set()
        for line, imported in imports(path):
            assert imported in allowed or not impure(floor, imported), (
                f"{path.relative_to(ROOT)}:{line} imports {imported}"
            )
            assert not f"{imported}.".startswith(f"{SENDER}."), (
                f"{path.relative_to(ROOT)}:{line} brings the network along"
            )
            assert from_outside or not imported.startswith(COMMAND_LINE), (
                f"{path.relative_to(ROOT)}:{line} brings the command line along"
            )
        assert from_outside or clock_reads(path.read_text()) == [], f"{path.relative_to(ROOT)} reads a clock"


def test_no_code_names_a_provider():
    for path in [*files("vcp", "apps", "voicelens"), ROOT / "manage.py"]:
        named = provider_names(path.read_text())
        assert named == [], f"{path.relative_to(ROOT)}: what a provider is belongs into its catalogue file"


@pytest.mark.parametrize("package", ["vcp", "apps.providers.engine.fold", "apps.providers.engine.signatures"])
def test_the_pure_parts_load_without_django(package):
    code = f"import sys, {package}; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- the checks themselves can fail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "package", "modules"),
    [
        ("import a.b, c", "", ["a.b", "c"]),
        ("from a import b as c", "", ["a.b"]),
        ("def f():\n    import late", "", ["late"]),
        ("from . import x", "apps.ingest", ["apps.ingest.x"]),
        ("from .m import x", "apps.ingest", ["apps.ingest.m.x"]),
        ("from ..m import x", "apps.ingest.admin", ["apps.ingest.m.x"]),
    ],
)
def test_imports_are_found_wherever_they_stand(source, package, modules):
    assert [module for _, module in imports_in(source, package)] == modules


@pytest.mark.parametrize(
    ("floor", "imported", "wrong"),
    [
        ("vcp", "vcp.models", False),
        ("vcp", "apps.providers.engine.paths", True),
        ("apps.providers.engine", "apps.providers.models", True),
        ("apps.providers.engine", "vcp", False),
        ("apps.providers", "apps.ingest.models", True),
        ("apps.ingest", "apps.providers.registry", False),
        ("apps.ingest", "apps.analytics.models", True),
        ("apps.ingest", "apps.monitoring.models", True),
        ("apps.monitoring", "apps.ingest.models", True),
        ("apps.analytics", "apps.monitoring.models", False),
        ("apps.analytics", "voicelens.settings", True),
        ("voicelens", "apps.analytics.models", False),
        ("apps.ingest", "apps.novelty.models", True),
        ("vcp", "json", False),
    ],
)
def test_a_wrong_direction_is_seen(floor, imported, wrong):
    assert wrong_direction(floor, imported) is wrong


@pytest.mark.parametrize(
    ("floor", "imported", "wrong"),
    [
        ("vcp", "pydantic.Field", False),
        ("vcp", "orjson", True),
        ("vcp", "datetime.datetime", False),
        ("apps.providers.engine", "orjson", False),
        ("apps.providers.engine", "django.conf.settings", True),
        ("apps.providers.engine", "time.monotonic", True),
        ("apps.providers.engine", "uuid.uuid4", True),
        ("apps.providers.engine", "os.environ", True),
        ("apps.providers.engine", "urllib.parse.parse_qsl", False),
        ("apps.providers.engine", "urllib.request.urlopen", True),
        ("apps.providers.engine", "secrets", True),
    ],
)
def test_an_impure_import_is_seen(floor, imported, wrong):
    assert impure(floor, imported) is wrong


def test_a_read_clock_is_seen():
    assert clock_reads("x = datetime.now(UTC)\ny = date.today()\nz = moment.date()") == [1, 2]


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('if provider == "retell": pass', True),
        ("def map_retell(): pass", True),
        ("retell = 1", True),
        ('x = "X-Retell-Signature"', True),
        ("f(retell=1)", True),
        ('"""Retell sends cents."""', False),
        ('help = "slug of the provider, for example retell"', False),
        ('x = "retelling"', False),
        ("# retell", False),
    ],
)
def test_a_named_provider_is_seen(source, named):
    assert bool(provider_names(source)) is named
