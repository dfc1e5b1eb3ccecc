"""The functions of the land that temperature is written in."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thermosharp.features import Channels
from thermosharp.scenes import PredictorStack, Window

Array = NDArray[Any]

#: Radius, in fine pixels, of the features whose coefficients drift over the land.
DRIFTING = 0.7

#: Radius, in fine pixels, over which the contrast of the land is looked at.
CONTRAST = 1.0


@dataclass(frozen=True)
class Kind:
    """A family of features, centred and brought to a mean square length of 1 over the land.

    One length for all: means over wider surroundings vary less, and shall.
    """

    mean: Array
    length: float

    @classmethod
    def of(cls, samples: Array) -> "Kind":
        """Learn centre and length from samples ``(features, n)``."""
        mean = samples.mean(axis=1, dtype=np.float64)
        length = float(np.sqrt(((samples - mean[:, None]) ** 2).sum(axis=0).mean()))
        return cls(mean.astype(np.float32), length or 1.0)

    def __call__(self, values: Array) -> Array:
        """Normalise features ``(features, ...)``."""
        shape = (len(self.mean),) + (1,) * (values.ndim - 1)
        normalised: Array = (values - self.mean.reshape(shape)) / np.float32(self.length)
        return normalised


@dataclass(frozen=True)
class Basis:
    """The functions of the land that temperature is written in.

    Attributes
    ----------
    channels : Channels
    frequencies : (frequencies, features)
        Of the random Fourier features.
    linear, drift, random : Kind
    contrast : float
        Mean of :meth:`contrast_of` over the land.
    """

    channels: Channels
    frequencies: Array
    linear: Kind
    drift: Kind
    random: Kind
    contrast: float

    @classmethod
    def of(cls, channels: Channels, frequencies: Array, land: list["Land"]) -> "Basis":
        """Learn the normalisation from some of the land."""
        samples = np.concatenate([part.features[:, part.valid] for part in land], axis=1)
        linear = Kind.of(samples)
        drift, random = Kind.of(samples[channels.scale(DRIFTING)]), Kind.of(samples[:0])
        basis = cls(channels, frequencies, linear, drift, random, 1.0)
        basis = replace(basis, random=Kind.of(basis.waves(samples)))
        contrasts = [basis.contrast_of(part)[part.valid] for part in land]
        return replace(basis, contrast=float(np.concatenate(contrasts).mean()) or 1.0)

    def waves(self, features: Array) -> Array:
        """Random Fourier features ``(2 frequencies, ...)``, not yet normalised."""
        phase = np.tensordot(self.frequencies, features, axes=1)
        return np.concatenate([np.cos(phase), np.sin(phase)])

    def families(self, features: Array) -> tuple[Array, Array, Array]:
        """Linear, drifting and random features, normalised, of features ``(features, ...)``."""
        drifting = features[self.channels.scale(DRIFTING)]
        return self.linear(features), self.drift(drifting), self.random(self.waves(features))

    def contrast_of(self, land: "Land") -> Array:
        """How much the bands differ from their surroundings, ``(y, x)``: errors grow with it."""
        bands = slice(0, self.channels.bands)
        here = land.features[bands]
        around = land.features[self.channels.scale(CONTRAST)][bands]
        square = np.where(land.valid, ((here - around) ** 2).mean(axis=0), 0)
        share = ndimage.gaussian_filter(land.valid.astype(float), CONTRAST)
        mean = ndimage.gaussian_filter(square, CONTRAST) / np.maximum(share, 1e-6)
        contrast: Array = np.sqrt(mean)
        return contrast


@dataclass(frozen=True)
class Land:
    """Features of a window of the fine grid.

    Attributes
    ----------
    window : (slice, slice)
        Of the fine grid.
    features : (features, y, x)
    valid : (y, x) of bool
    """

    window: Window
    features: Array
    valid: Array

    @classmethod
    def of(cls, channels: Channels, predictors: PredictorStack, window: Window) -> "Land":
        """Compute the features of a window, looking as far around it as they reach."""
        rows, cols = (
            slice(max(0, part.start - channels.halo), min(size, part.stop + channels.halo))
            for part, size in zip(window, predictors.geobox.shape, strict=True)
        )
        data = predictors.data.values[:, rows, cols]
        valid = np.isfinite(data).all(axis=0)
        inner = within(window, (rows, cols))
        return cls(window, channels.features(data, valid)[(slice(None), *inner)], valid[inner])

    def crop(self, window: Window) -> "Land":
        """Return the part under a smaller window of the fine grid."""
        inner = within(window, self.window)
        return Land(window, self.features[(slice(None), *inner)], self.valid[inner])


def within(window: Window, around: Window) -> Window:
    """Express a window relative to the start of one that holds it."""
    rows, cols = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for inner, outer in zip(window, around, strict=True)
    )
    return rows, cols
