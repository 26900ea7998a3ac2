"""The acceptance table of the house: what is counted in the tree, by its own words.

    python tools/house.py                 # the tree as it is
    python tools/house.py --base COMMIT   # beside that of a commit

A function's lines are those without its docstring; a family's name counts in code and
in texts of the program, not in docstrings and comments.
"""

import argparse
import ast
import functools
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sepjax", "data_pipelines", "configs")
EXAMPLES = {
    "an encoder": "deep",
    "a model family": "demucs",
    "a loss": "l1_snr",
    "a metric": "fullness",
    "a dataset": "moisesdb",
}
"""What people add, and one of each: files that name it are those that one touches."""


def sources(root: Path) -> dict[str, Path]:
    """Every module of the product and its file; ``configs`` is linked into sepjax."""
    modules = {}
    for package in PACKAGES:
        above = ["sepjax"] if package == "configs" else []
        for path in sorted((root / package).rglob("*.py")):
            parts = [*above, *path.relative_to(root).with_suffix("").parts]
            modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


def imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative import")
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)


def room(module: str) -> str:
    """The part of the house that a module lies in; empty: the bare package."""
    first, _, rest = module.partition(".")
    return rest.split(".")[0] if first == "sepjax" else first


def circle(modules: dict[str, Path]) -> set[str]:
    """Modules that import each other in a circle, or stand above one.

    The package's own file is no link: it lists names for type checkers.
    """
    links = {
        name: {target for target in imported(path, modules) if target in modules}
        - {"sepjax", name}
        for name, path in modules.items()
        if name != "sepjax"
    }
    while leaves := {name for name, targets in links.items() if not targets}:
        links = {
            name: targets - leaves
            for name, targets in links.items()
            if name not in leaves
        }
    return set(links)


def family_of(module: str, families: set[str]) -> str:
    """The model family whose folder a module lies in; empty: a generic room."""
    parts = module.split(".")
    inside = parts[:2] == ["sepjax", "models"] and parts[2:3]
    return inside[0] if inside and inside[0] in families else ""


def families_of(root: Path) -> set[str]:
    """Names of the model families: folders that hold a model."""
    return {path.parent.name for path in (root / "sepjax/models").glob("*/model.py")}


def family_names(root: Path, families: set[str]) -> set[str]:
    """Names of the families, and of the classes that are their models and settings."""
    trees = [
        ast.parse(path.read_text())
        for family in families
        for path in (root / "sepjax/models" / family).glob("*.py")
    ]
    bases = {"SeparationModel", "ModelConfig"}
    return families | {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and bases & {base.id for base in node.bases if isinstance(base, ast.Name)}
    }


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and texts of a file's code: identifiers and strings, no docstrings."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None  # a docstring
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line, node.value
        elif isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield line, node.arg or ""
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield line, node.name
        elif isinstance(node, ast.ImportFrom):
            yield line, f"{node.module}"
        elif isinstance(node, ast.alias):
            yield line, node.name


@functools.cache
def family_word() -> re.Pattern[str]:
    """The names of today's families; an old tree may have no folders."""
    names = family_names(ROOT, families_of(ROOT))
    pattern = "|".join(sorted(names, key=len, reverse=True))
    # A classical guitar is an instrument.
    return re.compile(rf"(?<![A-Za-z0-9_])({pattern})(?![A-Za-z0-9_]| guitar)")


def families_in(tree: ast.AST) -> dict[str, int]:
    """Names of families in a file's code, and their last lines."""
    word = family_word()
    return {name: line for line, text in words(tree) for name in word.findall(text)}


def named_families(root: Path) -> list[str]:
    """Places in generic rooms that name a family, ``file:line name``."""
    families = families_of(ROOT)
    return [
        f"{path.relative_to(root)}:{line} {family}"
        for name, path in sources(root).items()
        if room(name) != "configs" and not family_of(name, families)
        for family, line in families_in(ast.parse(path.read_text())).items()
    ]


def asked_models(root: Path) -> list[str]:
    """Calls of ``hasattr`` and ``getattr`` on a model in generic rooms."""
    families = families_of(ROOT)
    return [
        f"{path.relative_to(root)}:{node.lineno}"
        for name, path in sources(root).items()
        if not family_of(name, families)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("hasattr", "getattr")
        and ast.unparse(node.args[0]) in ("model", "self.model")
    ]


def touched(root: Path, name: str) -> list[str]:
    """Files that name a thing in their code; of a family, those outside its folder."""
    families = families_of(ROOT)
    return [
        str(path.relative_to(root))
        for module, path in sources(root).items()
        if family_of(module, families) != name
        if room(module) != "configs"
        if any(text == name for _, text in words(ast.parse(path.read_text())))
    ]


def long_functions(root: Path, limit: int = 40) -> list[str]:
    """Functions of more lines, without their docstrings."""
    places = []
    for path in sources(root).values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if ast.get_docstring(node):
                    text = node.body[0]
                    lines -= (text.end_lineno or 0) - text.lineno + 1
                if lines > limit:
                    where = f"{path.relative_to(root)}:{node.lineno}"
                    places.append(f"{where} {node.name} {lines}")
    return places


def long_files(root: Path, limit: int = 400) -> list[str]:
    """Files of more lines."""
    return [
        str(path.relative_to(root))
        for path in sources(root).values()
        if len(path.read_text().splitlines()) > limit
    ]


def untyped(root: Path) -> int:
    """How often an annotation of sepjax says ``Any``."""
    count = 0
    for path in (root / "sepjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = [getattr(node, key, None) for key in ("annotation", "returns")]
            for part in filter(None, parts):
                names = [n for n in ast.walk(part) if isinstance(n, ast.Name)]
                count += sum(name.id == "Any" for name in names)
    return count


def lines_per_room(root: Path) -> Counter[str]:
    """Lines of every room."""
    lines: Counter[str] = Counter()
    for name, path in sources(root).items():
        lines[room(name) or "sepjax"] += len(path.read_text().splitlines())
    start = root / "run_experiment.py"
    lines[start.name] = len(start.read_text().splitlines())
    return lines


def measure(root: Path) -> dict[str, int]:
    """The table: what is counted, and how many."""
    modules, lines = sources(root), lines_per_room(root)
    table = {
        "modules in the root": len(list((root / "sepjax").glob("[!_]*.py"))),
        "files in circles": len(circle(modules)),
        "hasattr on models in generic rooms": len(asked_models(root)),
        "family names in generic rooms": len(named_families(root)),
    }
    for kind, name in EXAMPLES.items():
        table[f"files to touch for {kind} ({name})"] = len(touched(root, name))
    table |= {
        "functions above 40 lines": len(long_functions(root)),
        "files above 400 lines": len(long_files(root)),
        "annotations that say Any": untyped(root),
        "product lines": lines.total(),
    }
    return table | {f"  {name}": count for name, count in lines.most_common()}


def at_commit(commit: str) -> dict[str, int]:
    """The table of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "tree.tar")
        command = ["git", "-C", str(ROOT), "archive", "-o", str(archive), commit]
        subprocess.run([*command, *PACKAGES, "run_experiment.py"], check=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return measure(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="a commit to compare with")
    parser.add_argument("--places", action="store_true", help="list them as well")
    arguments = parser.parse_args()
    now = measure(ROOT)
    before = at_commit(arguments.base) if arguments.base else {}
    for name in dict.fromkeys([*now, *before]):
        old = f"{before.get(name, 0):>8}" if before else ""
        print(f"{name:<45}{old}{now.get(name, 0):>8}")
    if arguments.places:
        for places in (asked_models, named_families, long_functions, long_files):
            print("", f"{places.__name__}:", *places(ROOT), sep="\n")


if __name__ == "__main__":
    main()
