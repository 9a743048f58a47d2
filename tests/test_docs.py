"""What CONTRIBUTING.md and docs/ say is there is there, and what they show runs."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import typer
from PIL import Image

import zoo
from export import WRITERS
from export.runtimes import RUNTIMES
from tests.cases import Case
from tests.support.documents import ROOT, anchors, blocks, documents, model_rows, shorter
from zoo.cli import app
from zoo.cli.export import export
from zoo.convert.rules import RULES
from zoo.io import schemas
from zoo.losses import ADVERSARIAL
from zoo.vae._likelihoods import LIKELIHOODS

DOCUMENTS = documents()
CONVERSION = DOCUMENTS["docs/conversion.md"]
CONTRIBUTING = DOCUMENTS["CONTRIBUTING.md"]
GUIDE = DOCUMENTS["docs/own_images.md"]


def test_every_model_has_a_row() -> None:
    """A row in docs/models.md: its name, what it is, its papers, its own options."""
    rows = model_rows(DOCUMENTS["docs/models.md"])
    assert set(rows) == set(zoo.list_models())


def test_the_rules_table_is_complete() -> None:
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$", CONVERSION.partition("<!-- rules -->")[2], re.MULTILINE
    )
    told = dict(rows[2 : 2 + len(RULES)])
    assert set(told) == {rule.name for rule in RULES.values()}
    assert all(told[rule.name].startswith(rule.summary) for rule in RULES.values())


def test_the_choices_are_complete() -> None:
    """In docs/models.md those of losses and likelihoods, in docs/export.md those of formats."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENTS["docs/models.md"], re.MULTILINE))
    for option, choices in (("loss", ADVERSARIAL), ("likelihood", LIKELIHOODS)):
        assert set(choices) <= set(re.findall(r"`(\w+)`", rows[option])), option
    formats = re.findall(r"^\| `(\w+)` \|", DOCUMENTS["docs/export.md"], re.MULTILINE)
    readable = get_type_hints(schemas._Export)["format"].__args__
    assert set(formats[: len(WRITERS)]) == set(WRITERS) == set(RUNTIMES) == set(readable)
    (option,) = get_type_hints(export, include_extras=True)["format"].__metadata__
    assert all(name in option.help for name in WRITERS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """To files of the repository, and to headings in them; `make docs` checks those of the site."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", DOCUMENTS[name]):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor and not anchor.startswith("zoo."):  # the site makes those of the API
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_into_the_site(name: str) -> None:
    """Of the pages outside docs/: files that they link to are shown there."""
    site = runpy.run_path(str(ROOT / "docs" / "repository.py"))
    shown = {p.relative_to(ROOT).as_posix() for each in site["SHOWN"] for p in ROOT.glob(each)}
    links = re.findall(r"\]\((?!https?:|#|docs/)([^)#]+)", (ROOT / name).read_text("utf-8"))
    assert set(links) <= shown | site["PAGES"].keys()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_of_the_repository_exist(name: str) -> None:
    for path in re.findall(
        r"`((?:tests|benchmarks|zoo|export|examples)/[\w/.]*)`", DOCUMENTS[name]
    ):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_is_python(name: str) -> None:
    for code in blocks(DOCUMENTS[name], "python"):
        ast.parse(code)


def test_the_commands_exist() -> None:
    """Every `zoo` line's command is there, and its options are the command's."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parsers = {name: c.make_parser(c.context_class(c)) for name, c in commands.items()}
    lines = {
        line.partition(" #")[0].removeprefix("zoo ")
        for text in DOCUMENTS.values()
        for block in blocks(text, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("zoo ")
    }
    assert len(lines) > 30
    for line in sorted(lines):
        arguments = re.sub(r"\[.*?\]", "", line).split()
        arguments = arguments[2:] if arguments[0] == "launch" else arguments
        parsers[arguments[0]].parse_args(arguments[1:])  # raises, if unknown


def test_tables_that_are_written_have_their_markers_once() -> None:
    """README.md and docs/benchmarks.md each have a table of the presets."""
    marked: dict[str, list[str]] = {}
    for name, text in DOCUMENTS.items():
        found = re.findall(r"^<!-- (.+?) -->$", text, re.MULTILINE)
        for first, last in zip(found[::2], found[1::2], strict=True):
            assert last in (f"/{first}", f"end of {first}", f"end of {first.split()[-1]}"), name
            marked.setdefault(first, []).append(name)
    assert marked.pop("presets") == ["README.md", "docs/benchmarks.md"]
    assert all(len(names) == 1 for names in marked.values()), marked


def test_sentences_begin_with_their_subject() -> None:
    """No "Of a GAN: …", which readers have to turn round."""
    for name, text in DOCUMENTS.items():
        assert not re.findall(r"(?:^|[.!?:] )Of an? [^.]*?:", text, re.MULTILINE), name


def test_the_recipe_for_a_model_is_a_model() -> None:
    """The file that it shows is there as shown, and so is the line in tests/cases.py."""
    recipe = CONTRIBUTING.partition("## Add a model")[2].partition("\n## ")[0]
    code = blocks(recipe, "python")[0]
    assert code == (ROOT / "zoo" / "gan" / "lsgan.py").read_text(encoding="utf-8")
    line = re.findall(r"`(Case\(.*?\))`", recipe)[0]
    assert line in (ROOT / "tests" / "cases.py").read_text(encoding="utf-8")


def test_hooks_and_fields_of_a_model_exist() -> None:
    """Those that CONTRIBUTING.md tells of, each with the arguments that it has."""
    tables = CONTRIBUTING.partition("### The hooks of a model")[2].partition("### The Case")[0]
    every, vae, gan = re.split(r"^A (?:VAE|GAN):$", tables, flags=re.MULTILINE)
    for text, kinds in (
        (every, (zoo.vae.BaseVAE, zoo.gan.BaseGAN)),
        (vae, (zoo.vae.BaseVAE,)),
        (gan, (zoo.gan.BaseGAN,)),
    ):
        hooks = re.findall(r"`(\w+)(?:\((.*?)\))?`", "".join(re.findall(r"^\|(.+?)\|", text, re.M)))
        assert hooks
        for (name, arguments), kind in product(hooks, kinds):
            names = re.findall(r"\w+", arguments)
            parameters = inspect.signature(getattr(kind, name)).parameters if arguments else names
            assert set(names) <= set(parameters), name
    fields = CONTRIBUTING.partition("| field | how to find it |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", fields, re.MULTILINE) == [*Case.__dataclass_fields__]


def test_every_model_has_its_page() -> None:
    """In docs/api/models.md, by the place where its class is written."""
    classes = {
        f"{cls.__module__}.{cls.__name__}"
        for family in (zoo.vae, zoo.gan)
        for cls in (getattr(family, name) for name in dir(family))
    }
    shown = re.findall(
        r"^::: (zoo\.(?:vae|gan)\..+)$", DOCUMENTS["docs/api/models.md"], re.MULTILINE
    )
    assert set(shown) == classes
    assert len(shown) == len(classes)


def test_every_function_of_zoo_is_in_the_table() -> None:
    """Of docs/api/zoo.md, and its page shows what it takes."""
    functions = {name for name, home in zoo._HOMES.items() if home != f"zoo.{name}"}
    assert functions <= set(re.findall(r"`zoo\.(\w+)`", DOCUMENTS["docs/api/zoo.md"]))
    shown = re.findall(r"^::: (zoo\.\S+)$", "\n".join(DOCUMENTS.values()), re.MULTILINE)
    for name in ("train", "resume", "finetune", "standing_statistics"):
        assert f"{getattr(zoo, name).__module__}.{name}" in shown


@pytest.mark.slow
def test_a_combination_of_parts() -> None:
    names: dict[str, Any] = {}
    for code in blocks(DOCUMENTS["docs/models.md"], "python"):
        exec(compile(code, "models.md", "exec"), names)  # noqa: S102
    assert names["ankle_boots"].shape == (16, 28, 28, 1)
    assert names["images"].shape == (4, 8, 8, 1)


@pytest.mark.slow
def test_the_scope_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    text = DOCUMENTS["docs/training.md"].partition("## More than one device")[2]
    load = zoo.data.load
    monkeypatch.setattr(
        zoo.data, "load", lambda source, **options: load(source, **options, split="train[:5%]")
    )
    names: dict[str, Any] = {}
    exec(compile(blocks(text, "python")[0], "training.md", "exec"), names)  # noqa: S102
    assert int(names["gan"].step) == 7


@pytest.fixture
def shoes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder as the guide has one: PNGs of several sizes."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for i in range(80):
        folder = tmp_path / "shoes" / ("boot", "sandal", "sneaker")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        kind, channels = ("L", 1) if i % 4 else ("RGBA", 4)
        pixels = random.integers(0, 256, (30 + i % 5, 28, channels), np.uint8)
        Image.fromarray(pixels.squeeze(), kind).save(folder / f"{i:05d}.png")
    (tmp_path / "shoes" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "shoes" / "notes.txt").write_text("x")
    return tmp_path


def test_the_guide_says_what_is_found_in_a_folder(shoes: Path) -> None:
    """The lines it shows are those that `describe` makes, but for the numbers."""

    def without_numbers(text: str) -> list[str]:
        return re.findall(r"[a-zA-Z.]{2,}", text.partition(", train: ")[2])

    (shown,) = (block for block in blocks(GUIDE, "") if block.startswith("Data: "))
    described = zoo.data.describe("shoes", image_shape=(28, 28, 3))
    assert without_numbers(described) == without_numbers(shown)
    assert zoo.data.class_names("shoes") == ["boot", "sandal", "sneaker"]
    images = zoo.data.to_array("shoes", split="train", image_shape=(28, 28, 3))
    assert images.shape == (72, 28, 28, 3)


@pytest.mark.slow
def test_the_guide_runs_on_a_folder(shoes: Path) -> None:
    """All that it shows, in order, for one epoch; but for what does not end."""
    code = re.findall(r"^```(?:python|sh)\n.*?^```", shorter(GUIDE), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    for block in code:
        text = block.partition("\n")[2].removesuffix("```")
        if block.startswith("```python"):
            exec(compile(text, "own_images.md", "exec"), names)  # noqa: S102
            continue
        for line in text.replace("\\\n", " ").splitlines():
            command = line.partition(" #")[0].split()
            if command[1] != "serve":
                subprocess.run([sys.executable, "-m", *command], check=True, cwd=shoes)
    assert Path("shoes.keras").exists()


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly, so that every link and anchor leads somewhere; and it asks no other server."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assets = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(\S+?)[\"\s>]", text
        )
        assert assets
        assert not [link for link in assets if "//" in link], page
