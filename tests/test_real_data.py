"""The main job on real images; skipped where the shared data is not beside the checkout."""

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

import thermosharp as ts
from thermosharp.grids import GridPair, common_window
from thermosharp.radiometry import to_kelvin, to_radiance

#: Over the coast of 2023184152551 and the gap of 2023190054140, UTM zone 11.
PREDICTORS = GeoBox((900, 1100), Affine(20, 0, 392_000, 0, -20, 3_754_000), "EPSG:32611")


@pytest.fixture(scope="module")
def los_angeles(shared, tmp_path_factory):
    """The real folder sharpened with a predictor image made over part of it."""
    folder = tmp_path_factory.mktemp("la")
    rng = np.random.default_rng(0)
    bands = np.stack(
        [0.25 + 0.05 * (f := gaussian_filter(rng.standard_normal(PREDICTORS.shape), s)) / f.std()
         for s in (1.5, 3, 6, 12)]
    ).clip(0.01, 1)  # fmt: skip
    with rasterio.open(
        folder / "S2_20m_2023-07-14.tif", "w", driver="GTiff", count=4, dtype="float32",
        height=PREDICTORS.shape[0], width=PREDICTORS.shape[1],
        crs="EPSG:32611", transform=PREDICTORS.transform,
    ) as dataset:  # fmt: skip
        dataset.write(bands.astype(np.float32))
        for i, name in enumerate(("B02", "B03", "B04", "B08"), 1):
            dataset.set_band_description(i, name)
    source = shared / "data" / "eco_la_2023_appeears"
    done = subprocess.run(
        [sys.executable, "-m", "thermosharp", "sharpen", source, "--fine",
         folder / "S2_20m_2023-07-14.tif", "-o", folder / "out"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return source, folder / "out"


def stored(path: Path):
    with rasterio.open(path) as dataset:
        return dataset.read(1), GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())


def test_los_angeles_maps_follow_cloud_and_qc(los_angeles):
    """Against masks decoded by hand from the raw companions."""
    source, out = los_angeles
    files = sorted(source.glob("*_LST_*.tif"))
    assert len(files) == 4
    hidden = {}
    for file in files:
        sharp, fine = stored(out / f"{file.stem}_sharp.tif")
        dn, coarse = stored(file)
        qc, _ = stored(Path(str(file).replace("_LST_", "_QC_")))
        cloud, _ = stored(Path(str(file).replace("_LST_", "_cloud_mask_")))
        good = (dn > 0) & (qc >= 0) & ((qc & 3) < 2) & (cloud == 0)
        under = GridPair(coarse, fine).lookup(good, False)
        np.testing.assert_array_equal(np.isfinite(sharp), under)
        hidden[file.stem.split("doy")[1][:13]] = 1 - under.mean()
    assert hidden["2023184152551"] > 0.05, "marine stratus along the coast"
    assert hidden["2023190054140"] > 0.05, "the gap"
    assert hidden["2023202005411"] < 0.02


def test_los_angeles_maps_return_what_was_observed(los_angeles):
    source, out = los_angeles
    for file in sorted(source.glob("*_LST_*.tif")):
        sharp, fine = stored(out / f"{file.stem}_sharp.tif")
        dn, coarse = stored(file)
        pair = GridPair(coarse, fine)
        full = pair.coverage(np.isfinite(sharp)) == 1
        assert full.sum() > 10_000
        means = to_kelvin(pair.aggregate(to_radiance(sharp.astype(float))))
        assert np.abs(means - dn * 0.02)[full].max() < 0.01


def test_los_angeles_summary(los_angeles):
    _, out = los_angeles
    with (out / "summary.csv").open(newline="") as file:
        rows = {row["scene"]: row for row in csv.DictReader(file)}
    assert len(rows) == 4
    for name, row in rows.items():
        assert row["status"] == "done"
        assert row["predictors"] == "S2_20m_2023-07-14"
        record = json.loads((out / f"{name}.json").read_text())
        assert record["thermal"]["product"] == "ECO_L2_LSTE.002"
        assert record["checks"]
    times = [row["acquired"] for row in rows.values()]
    assert "2023-07-21T00:54:11+00:00" in times


def test_usable_fraction_is_over_the_swath_inside_the_area(los_angeles):
    """Clouds under the predictors count, the gap and what lies elsewhere do not."""
    source, out = los_angeles
    for stamp, low, high in (("2023184152551", 0.7, 0.9), ("2023190054140", 0.99, 1.0)):
        (file,) = source.glob(f"*_LST_*{stamp}*.tif")
        record = json.loads((out / f"{file.stem}.json").read_text())
        cloud, coarse = stored(Path(str(file).replace("_LST_", "_cloud_mask_")))
        here = common_window(coarse, PREDICTORS)
        seen = stored(file)[0][here] > 0
        expected = (seen & (cloud[here] == 0)).sum() / seen.sum()
        assert low < expected <= high
        assert record["run"]["summary"]["usable_fraction"] == pytest.approx(expected, abs=0.002)


def test_saint_malo(shared):
    (file,) = (shared / "data" / "eco_l2t_30N_20230112").glob("*_LST_*.tif")
    thermal = ts.open_thermal(file)
    raw, _ = stored(file)
    np.testing.assert_allclose(thermal.lst.values, raw, atol=1e-4)
    assert thermal.acquired.isoformat() == "2023-01-12T22:24:50+00:00"
    assert "CLOUD_UNKNOWN" in [finding.code for finding in thermal.findings]
    assert thermal.water is not None


def test_muenster_celsius_against_sentinel2(shared, tmp_path):
    """Landsat in Celsius without a unit tag, 30 m from 100 m, and one Sentinel-2 band."""
    folder = shared / "data" / "muenster_l8st_s2b11"
    file = next(folder.glob("LC09*ST_B10.TIF"))
    thermal = ts.open_thermal(file, units="celsius")
    assert thermal.geobox.resolution.x == 90
    sharp = ts.sharpen(thermal, ts.open_predictors(folder / "S2_B11_20m.tif"))
    assert 285 < float(np.nanmedian(sharp.lst)) < 320
    assert sharp.diagnostics.rmsd_after < 0.01


# --- accuracy on cases with a known answer ------------------------------------------------------


@pytest.fixture(scope="module")
def cases(shared, tmp_path_factory):
    """The accuracy cases, made of real scenes."""
    folder = tmp_path_factory.mktemp("cases")
    script = shared / "accuracy" / "export_cases.py"
    arguments = sys.argv
    sys.argv = [str(script), str(shared / "data"), str(folder)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = arguments
    peer = json.loads((shared / "accuracy" / "peer_scores.json").read_text())
    found = {path.name: path for path in sorted(folder.iterdir())}
    assert set(peer) <= set(found)
    return {name: found[name] for name in peer}, peer


def test_dms_is_at_least_as_accurate_as_the_peer(cases):
    """And the invariants hold on every case: conserved, masked, nothing missing."""
    folders, peer = cases
    ratios = []
    for name, folder in folders.items():
        thermal = ts.open_thermal(folder / "lst.tif")
        sharp = ts.sharpen(thermal, ts.open_predictors(folder / "fine.tif"), method="dms")
        truth, fine = stored(folder / "truth.tif")
        assert sharp.geobox.shape == fine.shape
        image = sharp.lst.values.astype(float)
        pair = GridPair(thermal.geobox, sharp.geobox)
        held = thermal.usable.values & (pair.coverage(np.isfinite(image)) == 1)
        means = to_kelvin(pair.aggregate(to_radiance(image)))
        assert np.abs(means - thermal.lst.values)[held].max() < 0.01, name
        under = pair.lookup(thermal.usable.values, False)
        assert not np.isfinite(image[~under]).any(), name
        scored = np.isfinite(truth)
        assert np.isfinite(image[scored]).mean() > 0.97, name
        if not name.startswith("modis"):
            error = (image - truth)[scored & np.isfinite(image)]
            ratios.append(np.sqrt((error**2).mean()) / peer[name]["w15"])
    assert len(ratios) == 15
    assert np.exp(np.mean(np.log(ratios))) <= 1.0


def test_detail_reaches_its_goals(cases):
    """Against the peer and interpolation on every case, with the uncertainty it states."""
    folders, peer = cases
    ratios: dict[str, list[float]] = {"land": [], "modis": []}
    worst, coverage = 0.0, []
    for name, folder in folders.items():
        thermal, fine = ts.open_thermal(folder / "lst.tif"), ts.open_predictors(folder / "fine.tif")
        sharp = ts.sharpen(thermal, fine)
        plain = ts.sharpen(thermal, fine, method="bicubic", conserve=False)
        truth, _ = stored(folder / "truth.tif")
        image = sharp.lst.values.astype(float)
        scored = np.isfinite(truth) & np.isfinite(image)
        assert scored.sum() > 0.97 * np.isfinite(truth).sum(), name
        kind = name.split("_")[0] if name.startswith("modis") else "land"
        errors = [(e.astype(float) - truth)[scored] for e in (image, plain.lst.values)]
        ours, bicubic = (e - (e.mean() if kind == "modis" else 0) for e in errors)
        rmse, yardstick = (float(np.sqrt((e**2).mean())) for e in (ours, bicubic))
        ratios[kind].append(rmse / peer[name]["w0"])
        worst = max(worst, rmse / min(peer[name]["w0"], peer[name]["w15"], yardstick))
        assert sharp.diagnostics.rmsd_after < 0.01, name
        if kind == "land":
            sigma = sharp.uncertainty.values[scored]
            coverage.append([(np.abs(ours) < k * sigma).mean() for k in (1, 2)])
    land, modis = (float(np.exp(np.mean(np.log(r)))) for r in ratios.values())
    assert land <= 0.70
    assert modis <= 0.87
    assert worst <= 1.02
    one, two = np.mean(coverage, axis=0)
    assert 0.63 <= one <= 0.73
    assert 0.92 <= two <= 0.98
