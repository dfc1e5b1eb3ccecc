"""What commands must not wait for."""

import subprocess
import sys

import pytest

from scenes_for_tests import known_scene
from thermosharp.writing.cog import cog_bytes


def test_help_imports_no_scientific_library():
    code = (
        "import sys; from typer.testing import CliRunner; from thermosharp.cli import app; "
        "CliRunner().invoke(app, ['--help']); "
        "print(sorted({'numpy', 'rasterio', 'sklearn', 'numba', 'xarray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "unwanted"),
    [([], {"dask.array"}), (["--maps-only"], {"dask.array", "matplotlib", "pystac"})],
    ids=["everything", "maps only"],
)
def test_sharpening_imports_no_library_it_does_not_take(options, unwanted, tmp_path):
    thermal, fine, _ = known_scene()
    (tmp_path / "lst.tif").write_bytes(cog_bytes(thermal.lst.values, thermal.geobox))
    (tmp_path / "fine.tif").write_bytes(cog_bytes(fine.data.values, fine.geobox))
    words = ["sharpen", "lst.tif", "--fine", "fine.tif", "-o", "out", *options]
    code = (
        "import sys; from typer.testing import CliRunner; from thermosharp.cli import app; "
        f"done = CliRunner().invoke(app, {words}); "
        f"print(done.exit_code, sorted({unwanted} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "0 []", done.stdout + done.stderr
