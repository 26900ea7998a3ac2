"""How Sphinx makes the documentation site of docs/ and of docstrings: ``make docs``."""

import re
from pathlib import Path

import sepjax
from tools import documentation

DOCS = Path(__file__).resolve().parent
NAMES = documentation.public_names()
FIELDS = {name for full in NAMES for name in documentation.values_of(full)}

project = "sepjax"
author = "the sepjax developers"
project_copyright = "the sepjax developers, MIT licence"
version = release = sepjax.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["sphinx.ext.mathjax", "sphinx-mathjax-offline", "sphinx_copybutton"]

highlight_language = "none"

myst_heading_anchors = 4
nb_execution_mode = "off"  # the outputs that are stored; a test runs the cells

autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "ignore-module-all": True,  # what lies in another module has its text there
}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"
add_module_names = False
# What is told of sepjax itself must exist; pages of other packages are not looked for.
nitpick_ignore_regex = [(r"py:.*", r"(?!(sepjax|data_pipelines)\b).*")]
nitpick_ignore = [("py:class", "sepjax.storage.Tree")]  # a variable of types

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"sepjax {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("versions.js", {"defer": "defer"})]
html_show_sourcelink = False
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def link_spans(text: str) -> str:
    """Make links of code spans that name a page, or a file or a name of the code."""

    def link(match: re.Match) -> str:
        span, name = match[0], match[1]
        if name.startswith("docs/"):
            pages = sorted(DOCS.glob(name.removeprefix("docs/") + "*"))
            place = pages[0].relative_to(DOCS).as_posix() if pages else ""
            return f"[](/{place})" if place.endswith(".md") else span
        path = re.fullmatch(r"([\w/]+?)(\.py|/)", name)
        dotted = path[1].replace("/", ".") if path else name
        full = [n for n in (dotted, f"sepjax.{dotted}") if "." in n and n in NAMES]
        return f"{{py:obj}}`{name} <{full[0]}>`" if full else span

    blocks = re.split(r"(^```.*?^```$|^    [^\n]*$)", text, flags=re.M | re.S)
    blocks[::2] = [
        re.sub(r"(?<![\[`}])`([\w/.-]+)`(?!`)", link, b) for b in blocks[::2]
    ]
    return "".join(blocks)


def link_pages(app, name: str, text: list[str]) -> None:
    """Change the text of a page of docs/; notebooks and the code's pages stay."""
    if app.env.doc2path(name).suffix == ".md":
        text[0] = link_spans(text[0])


def shorten(app, what, name, obj, options, signature, returns):
    """Write shapes as the code does, ``Float[Array, 'batch time']``; no flax's own."""
    own = re.compile(r"(?<![\w.])~?((jaxtyping|jaxlib\._jax|jax)\.)+(?=\w)")
    flax = re.compile(r"(, )?parent: ~flax.*\)$")
    first = signature and flax.sub(")", own.sub("", signature))
    return first, returns and own.sub("", returns)


def keep_text(app, what, name, obj, options, lines: list[str]) -> None:
    """Put back what Napoleon takes for the type of a value: words before a colon."""
    types = [line for line in lines if line.startswith(":type: ")]
    if types and what in ("attribute", "data", "property"):
        lines.remove(types[-1])
        lines[0] = f"{types[-1].removeprefix(':type: ')}: {lines[0]}"


def skip_aliases(app, what, name, obj, skip, options) -> bool | None:
    """Leave out fields of named tuples that have no text but Python's own."""
    alias = str(obj.__doc__).startswith("Alias for field number")
    return True if alias and name not in FIELDS else None


def add_fields(app, what, name, obj, options, lines: list[str]) -> None:
    """Add what comments in the code say of the fields of a class."""
    if what == "class" and name in NAMES:
        lines += ["", *documentation.fields(name), ""]


def mark_borrowed(app, env) -> None:
    """Let a name that two modules have lead to the one that defines it."""
    objects = env.get_domain("py").objects
    for module in documentation.MODULES:
        names = {f"{module}.{name}" for name in documentation.borrowed_names(module)}
        for name in names & objects.keys() - documentation.MODULES.keys():
            objects[name] = objects[name]._replace(aliased=True)


def setup(app) -> None:
    """Write the pages of the code, and change what is read as above."""
    app.connect("builder-inited", lambda app: documentation.write_api(DOCS / "api"))
    app.connect("source-read", link_pages)
    app.connect(
        "include-read", lambda app, path, name, text: link_pages(app, name, text)
    )
    app.connect("env-updated", mark_borrowed)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", add_fields)
    app.connect("autodoc-process-docstring", keep_text, priority=600)
    app.connect("autodoc-skip-member", skip_aliases)
