"""Text that is not the zoo's is shown as it is, on any terminal."""

from __future__ import annotations

import html
import io
import json
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console
from typer import rich_utils

import export
import zoo
from export.report import Report as Verification
from export.report import Row
from tests.support.odd_names import ODD
from zoo.cli import app, main
from zoo.cli.console import Zoo, ZooCommand, notices_in_one_line
from zoo.convert.report import Equality, Report, TensorRow
from zoo.io import terminal


def _run(capsys: pytest.CaptureFixture, *arguments: object, status: int = 0) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert stop.value.code == status, printed
    return printed.out + printed.err


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for console in (terminal.console, terminal.errors):
        monkeypatch.setattr(console, "_width", 1000)
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 1000)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a GAN, of odd data in an odd folder."""
    folder = tmp_path_factory.mktemp("text") / ODD
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    np.savez(folder / "data.npz", x_train=pixels, x_test=pixels[:10])
    with pytest.raises(SystemExit) as stop:
        main([
            "train", "dcgan", "--data", str(folder / "data.npz"), "--out", str(folder / "run"),
            "--epochs", "1", "--batch-size", "20", "--latent-dim", "3", "--network", "mlp",
        ])  # fmt: skip
    assert stop.value.code == 0
    return folder / "run"


def _in_a_table(text: object, table: str) -> bool:
    """Whether a cell or title has a text, however its lines are broken."""
    return "".join(str(text).split()) in "".join(table.split())


@pytest.mark.slow
def test_paths_in_messages_and_tables(run: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    out = tmp_path / ODD
    assert f"Resuming {run}, as" in _run(capsys, "train", run, "--epochs", 1)
    assert f"{run} has had 1 epoch or more" in _run(
        capsys, "train", "dcgan", "--resume", "--out", run, "--epochs", 1
    )
    assert f"2 images: {out}.npy\n" in _run(capsys, "sample", run, "--n", 2, "--out", f"{out}.npy")
    assert f"4 images: {out}.png\n" in _run(
        capsys, "interpolate", run, "--rows", 2, "--steps", 2, "--out", f"{out}.png"
    )
    assert f"{run}\n" in _run(capsys, "info", run)
    page = f"{out}.html"
    assert f"Report: {page}\n" in _run(capsys, "report", run, "--out", page)
    assert html.escape(str(run.parent / "data.npz")) in Path(page).read_text(encoding="utf-8")
    export = out / "export"
    assert f"Exported saved_model: {export / '1'}\n" in _run(
        capsys, "export", run, "--out", export, "--function", "generate"
    )
    told = _run(capsys, "info", export)
    assert f"{export}\n" in told
    assert f"Not verified yet: zoo verify {shlex.quote(str(export))}\n" in told
    assert _in_a_table(f"{export / '1'}: equal", _run(capsys, "verify", export))
    into = out / "vae"
    told = _run(capsys, "convert", run, "--to", "vae", "--out", into)
    assert f"zoo train {shlex.quote(str(into))} --epochs 5\n" in told
    told = _run(capsys, "evaluate", into, "--extractor", "none", "--importance-samples", 2)
    assert f"{into} on {run.parent / 'data.npz'} (test)\n" in told
    monkeypatch.setattr("zoo.bench.table.table", lambda out: [str(out)])
    assert f"{out}\n" in _run(capsys, "bench", "--table", "--out", out)


def test_other_ones_words(run: Path, capsys, monkeypatch) -> None:
    """What a hub, a measurement or a benchmark says."""
    monkeypatch.setattr("zoo.hub.publishing.push", lambda *_, **__: ODD)
    assert f"Published: {ODD}\n" in _run(capsys, "push", run, ODD)
    monkeypatch.setattr("zoo.hub.measuring.check", lambda name: [f"{name}: {ODD}"])
    assert f"[x]: {ODD}\n" in _run(capsys, "bench", "--pretrained", "[x]", status=1)

    def bench(*_: object, say: Any, **__: object) -> bool:
        say(ODD)
        return True

    monkeypatch.setattr("zoo.bench.run.bench", bench)
    assert f"{ODD}\n" in _run(capsys, "bench")


def test_names_of_models(capsys, monkeypatch) -> None:
    from zoo.core.registry import ModelInfo
    from zoo.hub.catalog import Preset

    monkeypatch.setattr("zoo.core.registry.describe_models", lambda: [ModelInfo(ODD, ODD, ODD)])
    for line in ODD.split("\n"):
        assert _run(capsys, "list").count(line) >= 3
    preset = Preset(ODD, ODD, ODD, ODD, (8, 8, 1), 1, ODD, (ODD, 1.0))
    monkeypatch.setattr("zoo.hub.list_pretrained", lambda pattern: [preset])
    for line in ODD.split("\n"):
        assert _run(capsys, "list", "--pretrained").count(line) >= 2  # name and headline


@pytest.mark.parametrize("markup", [False, True])
def test_tables_that_python_users_print(markup: bool) -> None:
    """On a console of their own, which reads markup."""
    row = TensorRow(f"decoder/{ODD}/kernel", f"generator/{ODD}", ODD, (3, 4), "COPIED", (5, 4))
    converted = Report(
        ODD, ODD, ODD, "bitwise", Equality(1, 0.0, 0.0, 0.0, 0.0, 1.0), [row], mode=ODD,
        batch_norm=ODD, first_diverging=ODD, notes=(ODD,),
    )  # fmt: skip
    numbers = (0.1, 0.1, 0.1, 0.2, False)
    verified = Verification(ODD, "onnx", [ODD], [Row(ODD, ODD, "x", *numbers)], [ODD])
    for table in (converted.table(), verified.table()):
        console = Console(file=io.StringIO(), width=1000, markup=markup, emoji=markup)
        console.print(table)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        for line in ODD.split("\n"):
            assert text.count(line) >= 4
        assert "\\[b]" not in text


def test_control_characters_are_shown(capsys) -> None:
    """A name may not clear the screen, or write over what was printed."""
    printed = _run(capsys, "info", "./a\x1b[2J\rb\x07\x9bc", status=1)
    assert "a\\x1b[2J\\x0db\\x07\\x9bc" in printed


def test_warnings_of_this_package_have_no_line_of_code(capsys) -> None:
    ours, other = Path(zoo.__file__).parent / "data" / "sources.py", Path(np.__file__)

    def warn() -> None:
        with notices_in_one_line():
            warnings.simplefilter("always")
            warnings.warn_explicit("few images [b]", UserWarning, str(ours), 1)
            warnings.warn_explicit("old", UserWarning, str(other), 1)

    with pytest.warns(UserWarning, match="old"):
        warn()
    assert capsys.readouterr().err == "few images [b]\n"


def test_nothing_but_our_own_help_is_markup() -> None:
    """One way to print: no other console, and no markup in any text."""
    roots = [Path(package.__file__ or "").parent for package in (zoo, export)]
    for path in (path for root in roots for path in root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name != "terminal.py":
            assert "rich.console" not in text, path
            assert not re.search(r"\[/?(bold|red)\b", text), path
    assert not terminal.console._markup
    assert not terminal.errors._markup


# Help


@pytest.mark.parametrize("name", ["", *typer.main.get_command(app).commands])  # type: ignore[attr-defined]
def test_help_is_whole(name: str, capsys) -> None:
    """Every text of ours, with what looks like markup."""
    command = typer.main.get_command(app)
    command = command.commands[name] if name else command  # type: ignore[attr-defined]
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", _run(capsys, *filter(None, [name]), "--help")).split())
    for each in (command, *command.params):
        if getattr(each, "help", None):
            text = each.help.replace("\\[", "[")
            assert " ".join(text.split()) in shown, text


def test_brackets_in_help(capsys) -> None:
    assert "float32 [n, h, w, c]" in _run(capsys, "sample", "--help")
    assert "float32 [n, h, w, c]" in _run(capsys, "--help")

    other = typer.Typer(cls=Zoo, add_completion=False)

    @other.command(cls=ZooCommand)
    def one(a: str = typer.Option("", help="x [serving] [/b] y")) -> None:
        """Shapes [n, height, width, channels]."""

    @other.command(cls=ZooCommand)
    def two() -> None:
        """Extras [serving]."""

    for arguments, words in (([], "Extras [serving]."), (["one"], "x [serving] [/b] y")):
        with pytest.raises(SystemExit):
            other([*arguments, "--help"])
        printed = capsys.readouterr().out
        assert words in printed
        assert "Shapes [n, height, width, channels]." in printed


# Encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        monkeypatch.setattr(sys, name, stream)
        found[name] = stream.buffer
    name = "./β × é → \U0001f600 \udcff ≥ 1"
    for arguments in (["list"], ["--help"], ["train", "--help"], ["info", name]):
        with pytest.raises(SystemExit):
            main(arguments)
    out, err = (found[name].getvalue().decode(encoding) for name in ("stdout", "stderr"))
    assert ("β-VAE" if encoding == "utf-8" else "beta-VAE") in out
    wanted = {
        "ascii": "beta x e -> \\U0001f600 \\udcff >= 1",
        "latin-1": "beta × é -> \\U0001f600 \\udcff >= 1",
        "cp1252": "beta × é -> \\U0001f600 \\udcff >= 1",
        "utf-8": "β × é → \U0001f600 \\udcff ≥ 1",
    }
    assert wanted[encoding] in err


def test_a_users_own_choice_for_what_cannot_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="ignore", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit):
        main(["list"])
    assert "beta-VAE" not in stream.buffer.getvalue().decode()


def test_a_stream_without_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit):
        main(["list"])
    assert "β-VAE" in sys.stdout.getvalue()


# What needs no TensorFlow


def test_quick_commands_leave_tensorflow_alone(run: Path, tmp_path: Path) -> None:
    """And write in ASCII where the terminal has no more."""
    preset = Path(__file__).parents[1] / "frozen_preset" / "dcgan"
    page = tmp_path / "report.html"
    shown = [["info", str(run)], ["info", str(preset)], ["info", "wgan_gp"]]
    shown += [["report", str(run), str(preset), "--out", str(page)]]
    code = (
        "import json, os, sys\n"
        "from zoo.cli import main\n"
        "for words in (['list'], ['list', '--pretrained'], ['--help'], ['train', '--help'], "
        "['--version'], *json.loads(sys.argv[1]), None):\n"
        "    if words is None:\n"
        "        os.environ.update(_ZOO_COMPLETE='complete_bash', COMP_CWORD='2', "
        "COMP_WORDS='zoo train vq')\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == 0, words\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(shown)],
        env={"PYTHONPATH": str(Path.cwd()), "PYTHONIOENCODING": "ascii", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "beta-VAE" in done.stdout
    assert done.stdout.endswith("vq_vae\nvqgan\n")
    assert "option: network" in done.stdout
    assert "n_critic" in done.stdout
    assert page.exists()


def test_a_folder_named_like_a_model(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vae").mkdir()
    printed = _run(capsys, "info", "vae")
    assert "likelihood" in printed
    assert printed.endswith("There is a folder of that name too: zoo info ./vae\n")


def test_version(capsys) -> None:
    from zoo import __version__

    assert _run(capsys, "--version").startswith(f"zoo {__version__} (tensorflow ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("zoo train wgan", {"wgan", "wgan_gp"}),
        ("zoo convert vq_vae_f", {"vq_vae_fashion_mnist"}),
        ("zoo sample vq_vae_f", {"vq_vae_fashion_mnist"}),
        ("zoo in", {"info", "interpolate"}),
    ],
)
def test_completion(words: str, expected: set[str], capsys, monkeypatch) -> None:
    for name, value in {
        "_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    assert set(capsys.readouterr().out.split()) == expected
