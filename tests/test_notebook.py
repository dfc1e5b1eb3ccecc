"""The example notebook runs from top to bottom; scenes show themselves in notebooks."""

import os
import re
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from factories_results import DAY, sharpened
from scenes_for_tests import known_scene

NOTEBOOK = Path(__file__).parents[1] / "examples" / "dodger_stadium.ipynb"
LONGEST = 180  # seconds


def test_the_example_runs_within_three_minutes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"
    start = time.perf_counter()
    NotebookClient(
        notebook, timeout=LONGEST, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert time.perf_counter() - start < LONGEST
    text = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert float(re.search(r"RMSE ([\d.]+) K at 20 m", text).group(1)) < 1.5
    shown = [
        kind for cell in notebook.cells for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    ]  # fmt: skip
    assert shown.count("text/html") >= 3, "scenes show themselves"
    assert "image/png" in shown, "the figure"
    results = tmp_path / "dodger_stadium" / "results"
    assert (results / "report.html").stat().st_size > 100_000
    assert "40.0" not in (results / "heat.csv").read_text()
    assert "313.15" in (results / "heat.csv").read_text()


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.images, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert all(image["alt"] for image in tags.images)
    assert all(image["src"].startswith("data:image/png;base64,") for image in tags.images)
    return tags


def test_scenes_show_themselves():
    sharp = sharpened("<b>day</b>", DAY, "tsharp")
    shown = parsed(sharp._repr_html_())
    assert len(shown.images) == 2
    assert "<b>day</b>" in shown.text
    assert "12:1" in shown.text and "tsharp" in shown.text and "70 m" in str(shown.images)
    thermal = parsed(sharp.thermal._repr_html_())
    assert "usable" in thermal.text and len(thermal.images) == 1
    _, fine, _ = known_scene()
    assert "natural colours" in parsed(fine._repr_html_()).text


@pytest.mark.parametrize("layer", ["lst", "thermal"])
def test_empty_scenes_show_themselves_too(layer):
    from dataclasses import replace

    sharp = sharpened("x", None, "tsharp")
    lst = sharp.lst * np.nan
    thermal = replace(sharp.thermal, lst=sharp.thermal.lst * np.nan)
    sharp = replace(sharp, lst=lst) if layer == "lst" else replace(sharp, thermal=thermal)
    assert parsed(sharp._repr_html_()).text
    assert parsed(sharp.thermal._repr_html_()).text


def test_plot_is_a_figure_in_the_unit_asked_for():
    sharp = sharpened("day", DAY, "tsharp")
    figure = sharp.plot(celsius=True, limits=(290.0, 310.0))
    assert any("°C" in ax.get_ylabel() for ax in figure.axes)
    image = figure.axes[0].get_images()[0]
    np.testing.assert_allclose(image.get_clim(), (16.85, 36.85))
