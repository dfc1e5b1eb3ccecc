"""What a fine pixel tells about its temperature: bands, their ratios, and their surroundings."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thermosharp.scenes import PredictorStack

Array = NDArray[Any]

#: Pairs whose normalised difference is taken, where both bands are there: vegetation, open water,
#: built-up land and moisture, bare soil, burnt and wet ground.
INDEX_PAIRS = (
    ("nir", "red"),
    ("green", "nir"),
    ("swir16", "nir"),
    ("green", "swir16"),
    ("swir16", "swir22"),
)

#: Radii (standard deviations) of the Gaussian surroundings, in fine pixels. A ridge on the weights
#: of these nested means shrinks the finest detail most: coefficients walk from scale to scale.
SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)

#: Gaussians are cut off at this many standard deviations.
TRUNCATE = 3.0

#: A channel is held to the range between these percentiles, widened by half of it on each side,
#: and saturates beyond this many standard deviations: single bright roofs must not lead.
PERCENTILES, SATURATION = (0.5, 99.5), 2.0

#: Fine pixels that are enough to know the distribution of a channel.
ENOUGH = 500_000


@dataclass(frozen=True)
class Channels:
    """Bands and normalised differences, standardised.

    Attributes
    ----------
    bands : int
    pairs : tuple of (int, int)
        Bands of which the normalised difference is a channel too.
    low, high, mean, spread : (channels,)
        Range a channel is held to, and what it is standardised with.
    sigmas : tuple of float
        Radii of the surroundings, in fine pixels.
    """

    bands: int
    pairs: tuple[tuple[int, int], ...]
    low: Array
    high: Array
    mean: Array
    spread: Array
    sigmas: tuple[float, ...]

    @classmethod
    def of(cls, predictors: PredictorStack, *, sigmas: tuple[float, ...] = SIGMAS) -> Self:
        """Learn the distribution of each channel from the valid pixels of a stack."""
        names, data = list(predictors.bands), predictors.data.values
        pairs = tuple(
            (names.index(a), names.index(b)) for a, b in INDEX_PAIRS if a in names and b in names
        )
        values = data[:, predictors.valid]
        values = _with_differences(values[:, :: max(1, values.shape[1] // ENOUGH)], pairs)
        low, high = np.percentile(values, PERCENTILES, axis=1)
        reach = (high - low) / 2
        low, high = low - reach, high + reach
        values = np.clip(values, low[:, None], high[:, None])
        mean, spread = values.mean(axis=1), values.std(axis=1)
        # A constant channel carries nothing: it becomes zero.
        spread = np.where(spread > 1e-6 * np.abs(mean), spread, np.inf)
        return cls(len(names), pairs, low, high, mean, spread, sigmas)

    @property
    def count(self) -> int:
        """Number of features: the channels, and each at every scale."""
        return len(self.mean) * (1 + len(self.sigmas))

    def scale(self, sigma: float | None) -> slice:
        """Where the features of one radius are; of the channels themselves for None."""
        place = 0 if sigma is None else 1 + self.sigmas.index(sigma)
        return slice(place * len(self.mean), (place + 1) * len(self.mean))

    @property
    def halo(self) -> int:
        """Fine pixels beyond a window that its features depend on."""
        return int(np.ceil(TRUNCATE * max(self.sigmas))) + 1

    def features(self, data: Array, valid: Array) -> Array:
        """Compute the features of a window and its halo.

        Parameters
        ----------
        data : (band, y, x)
        valid : (y, x) of bool

        Returns
        -------
        float32 (features, y, x)
            Channels first, then their surroundings from near to far; 0 where not valid.
        """
        values = _with_differences(np.where(valid, data, 0).astype(np.float32), self.pairs)
        shape = (len(self.mean), 1, 1)
        values = np.clip(values, self.low.reshape(shape), self.high.reshape(shape))
        values = (values - self.mean.reshape(shape)) / self.spread.reshape(shape)
        values = SATURATION * np.arcsinh(values / SATURATION) * valid
        layers = [values.astype(np.float32)]
        for sigma in self.sigmas:
            around = (0.0, sigma, sigma)
            weight = ndimage.gaussian_filter(
                valid.astype(np.float32), sigma, truncate=TRUNCATE, mode="constant"
            )
            total = ndimage.gaussian_filter(layers[0], around, truncate=TRUNCATE, mode="constant")
            layers.append(total / np.maximum(weight, 1e-6) * valid)
        return np.concatenate(layers)


def _with_differences(values: Array, pairs: tuple[tuple[int, int], ...]) -> Array:
    """Append normalised differences of pairs of bands ``(band, ...)``."""
    more = []
    for a, b in pairs:
        total = values[a] + values[b]
        floor = np.where(np.abs(total) < 1e-3, 1e-3, total)
        more.append((values[a] - values[b]) / floor)
    return np.concatenate([values, np.stack(more)]) if more else values
