"""The demonstration: inputs with a known answer, and how close the answer came."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox

from thermosharp.grids import shared_window
from thermosharp.products import open_predictors, open_thermal
from thermosharp.products.raster import inspect, read
from thermosharp.scores import rmse
from thermosharp.sharpeners import sharpen
from thermosharp.simulate import simulate, write_appeears

#: Fine pixels of the demonstration: a city of 12 km, sharpened in seconds.
SHAPE = (600, 600)


@dataclass(frozen=True)
class DemoInputs:
    """Files of the made-up scene.

    Attributes
    ----------
    thermal, fine, truth : Path
        The LST among its companions, the predictors, and the temperature to be found.
    """

    thermal: Path
    fine: Path
    truth: Path


def make_inputs(folder: Path, *, seed: int = 0) -> DemoInputs:
    """Write the made-up scene as AppEEARS and Sentinel Hub would deliver it."""
    paths = write_appeears(simulate(SHAPE, seed=seed), folder)
    return DemoInputs(paths["LST"], paths["predictors"], paths["truth"])


def score(inputs: DemoInputs, results: Path) -> list[str]:
    """Compare the sharpened map, and plain bicubic interpolation, with the truth.

    Returns
    -------
    list of str
        A small table, line by line. Both are scored on the same pixels.
    """
    ours = inspect(results / f"{inputs.thermal.stem}_sharp.tif")
    sharpened = read(ours)[0]
    truth = _truth_on(ours.geobox, inputs.truth)
    fine = open_predictors(inputs.fine)
    plain = sharpen(open_thermal(inputs.thermal), fine, method="bicubic", conserve=False)
    window = shared_window(fine.geobox, ours.geobox)
    bicubic = plain.lst.values[window]
    both = np.isfinite(sharpened) & np.isfinite(truth) & np.isfinite(bicubic)
    ours_k, theirs_k = (rmse(image[both], truth[both]) for image in (sharpened, bicubic))
    return [
        "",
        f"against the known truth, over {both.sum():,} pixels of {ours.geobox.resolution.x:g} m:",
        f"  bicubic interpolation   {theirs_k:.2f} K RMSE",
        f"  thermosharp             {ours_k:.2f} K RMSE   ({1 - ours_k / theirs_k:.0%} less error)",
        "",
        f"look at   {results / 'report.html'}",
        f"in a GIS  {ours.path}",
        f"again     thermosharp sharpen {inputs.thermal.parent} --fine {inputs.fine} -o my-output",
    ]


def _truth_on(geobox: GeoBox, path: Path) -> np.ndarray:
    info = inspect(path)
    truth: np.ndarray = read(info, window=shared_window(info.geobox, geobox))[0]
    return truth
