"""Every command and snippet of the README runs as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_commands_and_snippets_run_as_written(tmp_path):
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    commands = [
        line for block in blocks("bash") for line in block.splitlines()
        if line and not line.startswith("#")
    ]  # fmt: skip
    assert len(commands) >= 6
    for command in commands:
        done = subprocess.run(
            command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    for folder in ("sharpened", "clear", "box", "plain"):
        assert list((tmp_path / folder).glob("*_sharp.tif")), folder
        assert (tmp_path / folder / "report.html").stat().st_size > 100_000
    assert (tmp_path / "sharpened" / "series.nc").is_file()
    snippets = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippets],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*_sharp.tif"))


def test_demo_beats_bicubic_by_far(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "thermosharp", "demo", "-o", tmp_path / "demo", "--seed", "3"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bicubic = float(re.search(r"bicubic interpolation\s+([\d.]+) K", done.stdout).group(1))
    ours = float(re.search(r"thermosharp\s+([\d.]+) K", done.stdout).group(1))
    assert ours < 0.7 * bicubic
