"""Sharpen with pyDMS: run by a Python that has `python-dms`, for benchmarks/speed.py.

python peer.py FINE LST OUT WINDOW SEED: writes OUT, prints the seconds it took, imports left out.
"""

import sys
import time

import numpy as np
from osgeo import gdal
from pyDMS.pyDMS import DecisionTreeSharpener

fine, lst, out, window, seed = sys.argv[1:]
start = time.perf_counter()
np.random.seed(int(seed))  # noqa: NPY002 - what the peer draws from
sharpener = DecisionTreeSharpener(
    highResFiles=[fine],
    lowResFiles=[lst],
    lowResQualityFiles=[],
    lowResGoodQualityFlags=[],
    cvHomogeneityThreshold=0,
    movingWindowSize=int(window),
    disaggregatingTemperature=True,
    perLeafLinearRegression=True,
    linearRegressionExtrapolationRatio=0.25,
)
sharpener.trainSharpener()
image = sharpener.applySharpener(fine, lst)
_, corrected = sharpener.residualAnalysis(image, lst, doCorrection=True)
gdal.GetDriverByName("GTiff").CreateCopy(out, corrected, 0, ["COMPRESS=DEFLATE"])
print(f"seconds {time.perf_counter() - start:.3f}")
