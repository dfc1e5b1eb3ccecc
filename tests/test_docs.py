"""The documentation builds without a warning, runs as written, and names every code."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
#: Commands that need networks; what they do is tested against services on loopback elsewhere.
NEEDS_NETWORK = re.compile(r"thermosharp (fetch|run)\b|.* --scheduler |.*(s3|https)://")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_built_and_reached(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in PAGES:
        name = page.replace(".md", ".html")
        assert (site / name).is_file()
        assert f'href="{name}"' in start or page == "index.md", f"{page} is not in the menu"


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)", text)
        loaded += re.findall(
            r"<link[^>]+rel=\"(?:stylesheet|preconnect)\"[^>]+href=\"(https?:.+?)\"", text
        )
        assert loaded == [], page.name


def test_references_are_written_by_the_code(site):
    """Commands, options and API as they are now, not as somebody once wrote them down."""
    from thermosharp.cli import app

    page = (site / "cli.html").read_text(encoding="utf-8")
    waiting = [("thermosharp", app)]
    told = 0
    while waiting:
        prefix, group = waiting.pop()
        for name, command in group.commands.items():
            assert f"{prefix} {name}" in page
            if hasattr(command, "commands"):
                waiting.append((f"{prefix} {name}", command))
            for parameter in command.params:
                for option in parameter.opts if parameter.param_type_name == "option" else ():
                    assert f"<code>{option}</code>" in page, f"{name} {option}"
                    told += 1
    assert told > 30
    api = (site / "api.html").read_text(encoding="utf-8")
    for told in ("open_thermal", "usable_fraction", "build_report", "random_state", "Kelvin"):
        assert told.lower() in api.lower(), told


def test_every_code_is_explained():
    """Each code of an error or a finding in the sources has its words in the documentation."""
    from thermosharp import errors

    text = "".join(PAGES.values())
    codes = set()
    for path in (ROOT / "src").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        codes |= set(re.findall(r'Finding\(\s*(?:code=)?"([A-Z0-9_]+)"', source))
        codes |= set(re.findall(r'\bcode="([A-Z0-9_]+)"', source))
    assert len(codes) > 15
    assert sorted(code for code in codes if f"`{code}`" not in text) == []
    refusals = {
        kind.code for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ThermosharpError)
    } - {"ERROR"}  # fmt: skip
    assert "<!-- errors -->" in PAGES["troubleshooting.md"], "they have a table of their own"
    explained = set(re.findall(r"^(?:\| |\* )?`([A-Z0-9_]+)`", PAGES["troubleshooting.md"], re.M))
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py"))
    stale = {code for code in explained if f'"{code}"' not in sources}
    assert stale == set(), "explained, but nothing says it any more"
    assert refusals


def test_table_of_refusals(site):
    from thermosharp import errors

    text = (site / "troubleshooting.html").read_text(encoding="utf-8")
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ThermosharpError):
            assert kind.code == "ERROR" or f"<code>{kind.code}</code>" in text


def fenced(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_commands_are_in_blocks_that_are_run():
    for name, text in {**PAGES, "README.md": (ROOT / "README.md").read_text("utf-8")}.items():
        for language, block in fenced(text):
            ours = [line for line in block.splitlines() if line.startswith("thermosharp ")]
            never_run = [line for line in ours if not NEEDS_NETWORK.match(line)]
            assert language == "bash" or not never_run, f"{name}: {block}"


def test_commands_and_snippets_of_the_pages_run_as_written(tmp_path):
    """In the order of the menu, in one folder, where the tutorial's folders lie as well."""
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    order = ["index.md", *sorted(set(PAGES) - {"index.md"})]
    commands = [
        line for page in order for language, block in fenced(PAGES[page]) if language == "bash"
        for line in block.splitlines()
        if line and not line.startswith("#") and not NEEDS_NETWORK.match(line)
    ]  # fmt: skip
    assert len(commands) >= 5
    for command in commands:
        if "lst_dir" in command:
            tutorial_folders(tmp_path)
        done = subprocess.run(
            shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    for made in ("sharpened/report.html", "sharpened/series.nc", "dst_dir/summary.csv"):
        assert (tmp_path / made).is_file(), made
    snippets = [block for page in order for language, block in fenced(PAGES[page])
                if language == "python"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(snippets)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def tutorial_folders(folder: Path) -> None:
    """The demonstration's files, in the folders that the tutorial sets up."""
    where = {"_LST_": "lst_dir", "_QC_": "QC_dir", "_cloud_mask_": "cloud_dir"}
    for path in (folder / "demo" / "ecostress").glob("*.tif"):
        for part, name in where.items():
            if part in path.name:
                (folder / name).mkdir(exist_ok=True)
                shutil.copy(path, folder / name)
    shutil.copytree(folder / "demo" / "sentinel2", folder / "S2_output_folder")
