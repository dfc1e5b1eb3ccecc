"""What commands must not wait for."""

import os
import subprocess
import sys

import pytest

from scenes_for_tests import known_files

SCIPY = {"scipy.ndimage", "scipy.sparse", "scipy.linalg", "scipy.fft", "scipy.optimize"}


def test_help_imports_no_scientific_library():
    code = (
        "import sys; from click.testing import CliRunner; from thermosharp.cli import app; "
        "CliRunner().invoke(app, ['--help']); "
        "print(sorted({'numpy', 'rasterio', 'sklearn', 'numba', 'xarray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.fixture
def files(tmp_path):
    """Words of the command line for a scene that is there."""
    known_files(tmp_path)
    return ["lst.tif", "--fine", "fine.tif"]


@pytest.fixture
def loaded(tmp_path, files):
    """Sharpens in a process of its own, and tells which of some modules that has loaded."""

    def run(unwanted, *options):
        words = ["sharpen", *files, *options]
        code = (
            "import sys; from click.testing import CliRunner; from thermosharp.cli import app; "
            f"done = CliRunner().invoke(app, {words}); "
            f"print(done.exit_code, sorted({unwanted} & set(sys.modules)))"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        status, _, modules = done.stdout.strip().partition(" ")
        assert status == "0", done.stdout + done.stderr
        return modules

    return run


@pytest.mark.parametrize(
    ("options", "more"),
    [([], set()), (["--maps-only"], {"matplotlib", "pystac"})],
    ids=["everything", "maps only"],
)
def test_sharpening_imports_no_library_it_does_not_take(options, more, loaded):
    unwanted = {"dask.array", "pydantic", "scipy.optimize", "xarray", "pandas"}
    assert loaded(unwanted | more, "-o", "out", *options) == "[]"


def test_dms_takes_no_part_of_scipy(loaded):
    """Neither does registration, and the expected error: a quarter of a second."""
    assert loaded(SCIPY, "-o", "out", "--method", "dms", "--window", "0") == "[]"


def test_detail_takes_linear_algebra_and_transforms_of_scipy_alone(loaded):
    """Its images are smoothed by the compiled loop that smooths its features."""
    assert loaded({"scipy.ndimage", "scipy.sparse", "scipy.optimize"}, "-o", "out") == "[]"


def test_what_asked_to_be_called_at_the_end_is():
    """Though the process ends without taking Python apart."""
    code = (
        "import atexit, sys; from thermosharp.__main__ import run; sys.argv[1:] = ['--version']; "
        "atexit.register(print, 'the end'); run(); print('not reached')"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=buffered
    )
    assert done.returncode == 0, done.stderr
    version, *after = done.stdout.splitlines()
    assert version.startswith("thermosharp ")
    assert after == ["the end"]


@pytest.mark.parametrize("method", [["detail"], ["dms", "--window", "6"]], ids=" ".join)
def test_what_is_compiled_loads_without_the_compiler(method, loaded):
    compiler = {"numba.np.arraymath", "numba.typed.typedlist"}
    loaded(compiler, "--maps-only", "--method", *method, "-o", "first")
    assert loaded(compiler, "--maps-only", "--method", *method, "-o", "second") == "[]"


def test_loops_are_kept_by_a_numba_that_names_its_parts_otherwise(tmp_path):
    (tmp_path / "twice.py").write_text(
        "from thermosharp.kernels.loops import loop\n"
        "@loop()\ndef twice(number):\n    return 2 * number\n"
    )
    code = (
        "import numba.core.cpu, numba.core.runtime.nrt as nrt; del nrt.rtsys\n"
        "from twice import twice\n"
        "print(twice(4), sum(twice.stats.cache_hits.values()))"
    )
    command = [sys.executable, "-c", code]
    for hits in (0, 1):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout.split() == ["8", str(hits)], done.stdout + done.stderr


def test_no_part_of_scipy_is_loaded_before_it_is_used():
    """Files can be read meanwhile."""
    code = f"import sys, thermosharp.one_scene; print(sorted({SCIPY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("method", ["detail", "dms", "atprk", "tsharp", "bicubic"])
def test_the_environment_stays_as_it_is_once_there_are_threads(method, tmp_path, files):
    """C libraries look variables up in other threads, and crash where one is set meanwhile."""
    code = (
        "import sys, threading; from click.testing import CliRunner; seen = []\n"
        "def look(event, arguments):\n"
        "    if event in ('os.putenv', 'os.unsetenv') and threading.active_count() > 1:\n"
        "        seen.append(arguments)\n"
        "from thermosharp.cli import app\n"
        "sys.addaudithook(look)\n"
        f"done = CliRunner().invoke(app, {['sharpen', *files, '-o', 'out', '--method', method]})\n"
        "print(done.exit_code, seen)"
    )
    # Libraries that this process has loaded have set theirs already.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=clean)
    assert done.stdout.strip() == "0 []", done.stdout + done.stderr
