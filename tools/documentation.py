"""The documentation site beside Sphinx: pages of the code, their coverage, versions.

    python tools/documentation.py check build/site           # names, links
    python tools/documentation.py publish build/site public  # a folder a version

``make docs`` builds ``build/site``; the page docs/documentation.md says more.
"""

import argparse
import ast
import functools
import re
import shutil
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

if __name__ == "__main__":  # beside the tree, as house.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sepjax import __version__
from sepjax.storage import write_atomically, write_json
from tools import house

MODULES = {
    name: path
    for name, path in house.sources(house.ROOT).items()
    if name.split(".")[0] != "configs" and not name.endswith("__main__")
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


KINDS = {ast.FunctionDef: "function", ast.ClassDef: "class", type(None): "data"}


def own_names(body: list[ast.stmt], within: str) -> Iterator[str]:
    """Public functions, classes, methods, and data with a text of its own below it."""
    for node, after in zip(body, [*body[1:], None]):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = target.id if text and isinstance(target, ast.Name) else "_"
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        else:
            continue
        if not name.startswith("_"):
            yield f"{within}.{name}"
            if isinstance(node, ast.ClassDef):
                yield from own_names(node.body, f"{within}.{name}")


@functools.cache
def borrowed_names(module: str) -> dict[str, str]:
    """Names that a module has of others for its users, and where each lies."""
    exports = MODULES[module].read_text().partition("__all__")[2]
    return {
        alias.name: home(str(node.module), alias.name)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name or f'"{alias.name}"' in exports
    }


def home(module: str, name: str) -> str:
    """Return the full name of what ``from module import name`` brings."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    return borrowed_names(module).get(name, f"{module}.{name}")


def public_names() -> set[str]:
    """Return every name of the code that the site must have."""
    names = set(MODULES)
    for module, tree in TREES.items():
        names |= {f"{module}.{name}" for name in borrowed_names(module)}
        names |= set(own_names(tree.body, module))
    return names


def write_api(folder: Path) -> None:
    """Write a page for every module; a package lists its modules and its names."""
    for path in folder.glob("*.rst"):
        if path.stem not in MODULES:
            path.unlink()
    for module in MODULES:
        path = folder / f"{module}.rst"
        if not path.exists() or path.read_text() != page(module):
            write_atomically(path, page(module))  # Sphinx reads what is newer


def page(module: str) -> str:
    """Return the source of the page of a module."""
    inner = [n for n in MODULES if n.rpartition(".")[0] == module]
    packages = [n for n in inner if MODULES[n].name == "__init__.py"]
    lines = [module, "=" * len(module), "", f".. automodule:: {module}"]
    if MODULES[module].name != "__init__.py":
        above = module.rpartition(".")[0]
        lines = [":orphan:", "", *lines, "", f"A part of :mod:`{above}`."]
    for name, decorators in decorated(module):
        if "custom_vjp" in decorators:  # Sphinx takes it for a value
            lines += ["", f".. autofunction:: {name}"]
    for name, place in borrowed_names(module).items():
        if place not in MODULES:
            kind = KINDS[type(node_of(place))]
            text = f"{summary(place)} :py:obj:`{place}`"
            lines += ["", f".. py:{kind}:: {name}", "", f"   {text}"]
    if inner:
        lines += ["", "Modules", "-------", ""]
        lines += [f"- :mod:`{n}`: {summary(n)}" for n in inner]
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {n}" for n in packages)]
    return "\n".join(lines) + "\n"


def decorated(module: str) -> Iterator[tuple[str, str]]:
    """Yield the functions of a module, and what decorates each."""
    for node in TREES[module].body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, " ".join(map(ast.unparse, node.decorator_list))


def node_of(name: str) -> ast.AST | None:
    """Return the syntax tree of a module, a function or a class, if it is one."""
    if name in TREES:
        return TREES[name]
    module, _, last = name.rpartition(".")
    body = TREES[module].body if module in TREES else []
    nodes = [n for n in body if getattr(n, "name", "") == last]
    return nodes[0] if nodes else None


def summary(name: str) -> str:
    """Return the first line that is written about a module, a function or a class."""
    node = node_of(name)
    text = ast.get_docstring(node) if node else None
    return text.splitlines()[0] if text else ""


def fields(name: str) -> list[str]:
    """Return the fields of a class, and what comments in the code say of them."""
    node, items = node_of(name), []
    if not isinstance(node, ast.ClassDef):
        return []
    lines = MODULES[name.rpartition(".")[0]].read_text().splitlines()
    for field in node.body:
        if isinstance(field, ast.AnnAssign):
            rest = lines[field.end_lineno - 1].encode()[field.end_col_offset :].decode()
            comment = re.sub(r"([\\*`|_])", r"\\\1", rest.strip(" #"))
            items.append(f"- ``{ast.unparse(field)}``{': ' * bool(comment)}{comment}")
    return items if any("``: " in item for item in items) else []


def values_of(name: str) -> list[str]:
    """Return the names of the fields of a class that have a text below them."""
    node = node_of(name)
    body = node.body if isinstance(node, ast.ClassDef) else []
    values = [each for each in body if not isinstance(each, ast.FunctionDef)]
    return [full.rpartition(".")[2] for full in own_names(values, name)]


def entries(site: Path) -> set[str]:
    """Return the names of Python in the inventory of a built site."""
    lines = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    table = zlib.decompress(lines).decode().splitlines()
    return {line.split(" ")[0] for line in table if line.split(" ")[1][:3] == "py:"}


class Page(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, path: Path) -> None:
        """Read a file."""
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what the tag leads to, and the place that it is."""
        values = dict(attrs)
        self.links |= {v for k in ("href", "src") if (v := values.get(k))}
        self.anchors |= {v for k in ("id", "name") if (v := values.get(k))}


def dead_links(site: Path) -> Iterator[str]:
    """Yield links of a built site to pages and anchors that are not there.

    Addresses elsewhere are not opened: they must be of https and name a host.
    """
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link in sorted(page.links):
            scheme, host, file, _, anchor = urlsplit(link)
            if scheme == "data":
                continue
            target = (path.parent / unquote(file)).resolve() if file else path
            place = scheme in ("https", "http") and host if scheme else target.exists()
            anchors = pages[target].anchors if target in pages else {unquote(anchor)}
            if not place or (anchor and unquote(anchor) not in anchors):
                yield f"dead link: {path.relative_to(site.resolve())}: {link}"


def check(site: Path) -> int:
    """Print what a built site lacks; return the exit status."""
    names = public_names()
    missing = sorted(names - entries(site))
    dead = [*dead_links(site)]
    for line in [f"no entry: {name}" for name in missing] + dead:
        print(line)
    count = f"{len(names) - len(missing)} of {len(names)}"
    print(f"{count} public names have an entry; {len(dead)} dead links")
    return 1 if missing or dead else 0


def age(version: str) -> tuple[list[int], bool]:
    """Order versions: by their numbers, and 1.0.0rc1 before 1.0.0."""
    numbers = re.match(r"[\d.]*", version)[0]
    return [int(n) for n in numbers.split(".") if n], numbers == version


def publish(site: Path, public: Path) -> int:
    """Copy a built site to the folder of its version, and list the versions.

    ``versions.json`` has the newest first; ``index.html`` leads there. Every page reads
    the list, offers the other versions, and says so where it is not of the newest.
    """
    shutil.rmtree(public / __version__, ignore_errors=True)
    shutil.copytree(site, public / __version__)
    names = [path.parent.name for path in public.glob("*/objects.inv")]
    names.sort(key=age, reverse=True)
    write_json(public / "versions.json", names)
    leading = f'<meta http-equiv="refresh" content="0; url={names[0]}/index.html">\n'
    write_atomically(public / "index.html", leading)
    return 0


def main() -> int:
    """Check a site, or publish it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("check", "publish"))
    parser.add_argument("site", type=Path, help="where Sphinx has built it")
    parser.add_argument("public", type=Path, nargs="?", help="where versions lie")
    options = parser.parse_args()
    if not (options.site / "objects.inv").is_file():
        parser.error(f"{options.site} is no built site: run make docs")
    if options.what == "check":
        return check(options.site)
    if options.public is None:
        parser.error("publish needs the folder of all versions, say public")
    return publish(options.site, options.public)


if __name__ == "__main__":
    sys.exit(main())
