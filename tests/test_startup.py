"""What a plain ``--help`` must not wait for."""

import subprocess
import sys


def test_help_imports_no_scientific_library():
    code = (
        "import sys; from typer.testing import CliRunner; from thermosharp.cli import app; "
        "CliRunner().invoke(app, ['--help']); "
        "print(sorted({'numpy', 'rasterio', 'sklearn', 'numba', 'xarray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
