"""Pages of docs/ without Sphinx: links, imports and command lines are right.

Blocks of ``>>>`` run as doctests; a slow test runs the recipes of one page.
"""

import ast
import fnmatch
import functools
import importlib
import json
import re
import shlex
import shutil
import zlib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile

from sepjax import __version__
from sepjax.commands import cli
from sepjax.configs.sweeps import SWEEPS
from sepjax.experiment.members import configuration
from tools import documentation

ROOT = Path(__file__).parent.parent
PAGES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)
SHELL = ("", "sh", "bash", "console")
WORDS = ("sepjax", "python", "make", "run_experiment.py")


def blocks(text):
    """Language and content of every block of code, fenced or indented."""
    fenced = re.compile(r"^( *)```(.*?)\n(.*?)^\1```", re.M | re.S)
    for _, language, content in fenced.findall(text):
        yield language.strip(), content
    for content in re.findall(r"\n\n((?:    .*\n)+)", fenced.sub("", text)):
        yield "", content


def commands(text):
    """The words of every command line, as a shell would hand them over."""
    for language, content in blocks(text):
        if language not in SHELL:
            continue
        for line in content.replace("\\\n", " ").splitlines():
            if re.search(r"…|\.\.\.|(^|\s)\[| usage:", line):
                continue  # a form, not a command
            for part in re.split(r"[|;]|&&", line):
                if "$" in part:
                    continue  # in a loop
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    del words[0]
                if words and words[0].rpartition("/")[2] in WORDS:
                    yield words


def slugs(text):
    """Anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@each_page
def test_links_lead_to_pages_and_headings(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("http", "https"), link
            assert parts.netloc, link
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if target.parent.name == "api":
            assert target.stem in documentation.MODULES, link
            continue
        assert target.exists(), link
        if parts.fragment:
            assert parts.fragment in slugs(target.read_text()), link


@each_page
def test_python_blocks_import_what_there_is(page):
    for language, content in blocks(page.read_text()):
        if language in ("py", "python") and ">>>" not in content:
            check_python(content)


def check_python(code):
    """Compile; what is imported of ours exists."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.ImportFrom):
            continue
        if str(node.module).split(".")[0] not in (
            "sepjax",
            "data_pipelines",
            "configs",
        ):
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
@each_page
def test_command_lines_are_accepted(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    if "--config=mine.py" in text:
        [own] = [code for _, code in blocks(text) if "def get_config" in code]
        Path("mine.py").write_text(own)
    for words in commands(text):
        try:
            check_command(words)
        except (SystemExit, ValueError, AssertionError) as error:
            pytest.fail(f"{shlex.join(words)}: {error}")


def check_command(words):
    """Parse a command line as the program does, without running anything."""
    name, *rest = words
    name = name.rpartition("/")[2]
    if name == "make":
        targets = re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(), re.M)
        assert rest[0] in " ".join(targets).split(), "no such target"
    elif name == "sepjax" and rest[0] in ("train", "demo"):
        check_run(rest[1:])
    elif name == "sepjax":
        parser = cli.build_parser()
        parser.parse_args(rest)
    elif rest[:2] == ["-m", "sepjax"]:
        check_command(rest[1:])
    elif "run_experiment.py" in words[:2]:
        check_run(words[words.index("run_experiment.py") + 1 :])
    elif rest[0] != "-m":
        check_script(ROOT / rest[0], rest[1:])
    elif rest[1].split(".")[0] in ("benchmarks", "tools", "data_pipelines"):
        check_script((ROOT / rest[1].replace(".", "/")).with_suffix(".py"), rest[2:])


def check_script(path, options):
    """Find the file; it names every option that it is given."""
    text = path.read_text()
    for option in (word.partition("=")[0] for word in options if word[:2] == "--"):
        named = f'"{option}"' in text or f'"{option[2:]}"' in text  # argparse, absl
        assert named, f"{path.name} has no {option}"


@functools.cache
def known_flags():
    files = [ROOT / "run_experiment.py", ROOT / "sepjax/experiment/program.py"]
    text = "".join(path.read_text() for path in files if path.exists())
    return {*re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text)}


def config_file(name):
    """Return the file that ``--config`` means, here or by its name, and the variant."""
    file, colon, variant = name.partition(":")
    if not Path(file).exists():
        file = ROOT / "configs" / Path(file).with_suffix(".py").name
    assert Path(file).exists(), f"no configuration {name}"
    return f"{file}{colon}{variant}"


def check_run(words):
    """Know all flags, and resolve the configuration that they say."""
    assert all(word.startswith("--") for word in words), "an argument without a flag"
    flags = dict(word.lstrip("-").partition("=")[::2] for word in words)
    for flag in flags:
        known = flag in known_flags() or flag.startswith(("config.", "launcher."))
        assert known, f"no flag {flag}"
    fields = [word for word in words if word.startswith("--config.")]
    if "config" in flags:
        member = SimpleNamespace(config=config_file(flags["config"]), overrides={})
        configuration(member, fields)
    elif "sweep" in flags:
        assert flags["sweep"] in SWEEPS, "no such sweep"
        member = next(iter(SWEEPS[flags["sweep"]].values()))
        member = member._replace(config=config_file(member.config))
        configuration(member, fields)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sepjax separate a.wav --shfts 2", "2"),
        ("sepjax train --config=demo --config.optim.lrr=1", "lrr"),
        ("sepjax train --config=demo --config.model.norm=gln", "norm"),
        ("sepjax train --config=dem --workdir=runs/a", "no configuration dem"),
        ("python run_experiment.py --config=configs/demo.py --workdri=a", "workdri"),
        ("python run_experiment.py --sweep=figure_5.99", "no such sweep"),
        ("make dems", "no such target"),
        ("python benchmarks/evaluate.py --musevall", "has no --musevall"),
    ],
)
def test_mistakes_in_command_lines_are_noticed(line, message):
    [words] = commands(f"```\n{line}  # a comment\n```\n")
    with pytest.raises((SystemExit, ValueError, AssertionError), match=message):
        check_command(words)


def test_every_page_has_a_place_in_a_list():
    """As Sphinx asks, too."""
    entries = (ROOT / "docs/index.md").read_text().split()
    for page in (ROOT / "docs").glob("*.md"):
        named = any(fnmatch.fnmatch(page.stem, entry) for entry in entries)
        assert page.stem == "index" or named, page


def test_public_names_follow_packages_to_their_modules():
    names = documentation.public_names()
    assert {"sepjax.si_sdr", "sepjax.losses.waveform.si_sdr"} <= names
    assert (
        documentation.home("sepjax.losses", "si_sdr") == "sepjax.losses.waveform.si_sdr"
    )
    assert "sepjax.evaluation.bss.evaluate.bss_eval" == documentation.home(
        "sepjax.evaluation", "bss_eval"
    )
    assert "sepjax.registry.Registry.register" in names
    assert not [name for name in names if "._" in name]


def build_site(folder, *names, link=""):
    """What Sphinx leaves, as far as the checks read it."""
    folder.mkdir(parents=True)
    table = "".join(f"{name} py:function 1 a.html#$ -\n" for name in names)
    head = b"# Sphinx inventory\n# Project\n# Version\n# zlib\n"
    (folder / "objects.inv").write_bytes(head + zlib.compress(table.encode()))
    (folder / "index.html").write_text('<a href="a.html#x">a</a>')
    (folder / "a.html").write_text(f'<p id="x"><a href="{link}">b</a>')
    return folder


def test_a_site_lacks_no_name_and_no_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(documentation, "public_names", lambda: {"pkg.f", "pkg.g"})
    whole = build_site(tmp_path / "whole", "pkg.f", "pkg.g", link="index.html")
    assert documentation.check(whole) == 0
    assert "2 of 2 public names have an entry; 0 dead links" in capsys.readouterr().out
    for link in ("b.html", "a.html#y", "#y", "javascript:x", "https:///x"):
        assert documentation.check(build_site(tmp_path / link[:6], link=link)) == 1
        assert f"dead link: a.html: {link}" in capsys.readouterr().out
        shutil.rmtree(tmp_path / link[:6])
    assert documentation.check(build_site(tmp_path / "part", "pkg.f")) == 1
    assert "no entry: pkg.g" in capsys.readouterr().out


def test_versions_lie_beside_each_other(tmp_path, monkeypatch):
    site, public = build_site(tmp_path / "site"), tmp_path / "public"
    for version in ("0.9.0", "0.10.0rc1", "0.10.0", "0.2.0", "0.10.0"):
        monkeypatch.setattr(documentation, "__version__", version)
        assert documentation.publish(site, public) == 0
    names = json.loads((public / "versions.json").read_text())
    assert names == ["0.10.0", "0.10.0rc1", "0.9.0", "0.2.0"]
    assert "url=0.10.0/index.html" in (public / "index.html").read_text()
    assert (public / "0.2.0" / "a.html").exists()


def test_fields_bring_their_comments():
    items = documentation.fields("sepjax.losses.reduction.Whole")
    assert "- ``shares: int = 1``: all of the same number of items" in items
    assert documentation.fields("sepjax.registry.Registry") == []


def test_cards_say_what_the_files_say():
    takes = json.loads(
        (ROOT / "data_pipelines/songs/demo/takes/takes.json").read_text()
    )
    assert (
        f"is | {len(takes)} short loops"
        in (ROOT / "docs/cards/demo_music.md").read_text()
    )
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation


def test_the_notebook_imports_what_there_is_and_has_outputs():
    for path in (ROOT / "docs").rglob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        check_python("\n".join("".join(cell["source"]) for cell in code))
        outputs = [output for cell in code for output in cell["outputs"]]
        assert not [o for o in outputs if o["output_type"] == "error"]
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        assert {"image/png", "text/html"} <= kinds


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = map(pytest.importorskip, ("nbformat", "nbclient"))
    for path in (ROOT / "docs").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        resources = {"metadata": {"path": str(tmp_path)}}
        nbclient.NotebookClient(notebook, timeout=240, resources=resources).execute()


@pytest.mark.slow
def test_recipes_for_stems_run_as_they_stand(tmp_path, monkeypatch):
    """All of them but those that fetch a model, or export one."""
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 44100, 2))
    monkeypatch.chdir(tmp_path)
    for name, wave in zip(("song", "album/one", "album/two"), noise):
        Path(name).parent.mkdir(exist_ok=True)
        soundfile.write(f"{name}.wav", wave, 44100)
    Path("truth/song").mkdir(parents=True)
    for stem, wave in zip(("vocals", "accompaniment"), noise):
        soundfile.write(f"truth/song/{stem}.wav", wave, 44100)
    page = (ROOT / "docs/howto/stems.md").read_text()
    lines = [words[1:] for words in commands(page) if words[1] != "export"]
    lines = [words for words in lines if "-n" not in words]
    assert len(lines) >= 10
    for words in lines:
        assert cli.main(words) == 0, words
    assert Path("separated/song/no_vocals.wav").exists()
    assert Path("stems/two/vocals.wav").exists()
