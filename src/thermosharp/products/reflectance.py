"""Digital numbers or reflectance: what the numbers of a fine image without a manual mean.

Reflectance comes as 0 to 1, as digital numbers of 1/10000, with a scale and an offset written in
the file, or with an offset that nobody mentions. Scale matters little to a regression; an offset
halves every vegetation index, so it is looked for.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.findings import Finding
from thermosharp.products.bands import SENTINEL2, TUTORIAL_10M, TUTORIAL_20M
from thermosharp.products.dates import day_of
from thermosharp.products.layers import Band
from thermosharp.products.samples import USUAL_FILLS, look_at, undeclared_fill

QUANTIFICATION = 10000.0
#: Since this day Sentinel-2 digital numbers carry an offset of 1000 (processing baseline 04.00).
OFFSET_SINCE = date(2022, 1, 25)
_LANDSAT_C2 = re.compile(r"L[COET]0[4-9]_L2S[PR]_.*_SR_B\d", re.IGNORECASE)
_VISIBLE = frozenset({"blue", "green", "red"})

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Bands with their meaning settled.

    Attributes
    ----------
    bands : tuple of Band
        Each ``spectral`` or not, with its scale and offset.
    dark : bool
        The numbers are digital: 0 means missing even in a spectral band that is alone.
    decoding : dict
        What was decided, in plain JSON types.
    findings : tuple of Finding
    """

    bands: tuple[Band, ...]
    dark: bool = False
    decoding: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def decode(bands: Sequence[Band], *, acquired: datetime | date | None) -> Decoded:
    """Settle what the numbers of an image's bands mean, from dtype, tags and a sample of values.

    The sample is taken over the whole image, so that every window is decoded alike. Fill that no
    nodata value declares is left out of it, and is missing in all bands. Bands known
    to be spectral, and images of several unnamed bands whose numbers look like reflectance,
    become reflectance 0 to 1. All other bands are taken as they are.

    Parameters
    ----------
    bands : sequence of Band
        ``spectral`` None where the file names no band.
    acquired : datetime, date or None
        When the image was taken; decides whether an unmentioned offset is possible.
    """
    bands = [replace(band, fills=(*band.fills, *USUAL_FILLS)) for band in bands]
    seen = look_at(bands)
    findings = list(undeclared_fill(bands, seen))
    samples = {
        place: sample.values
        for place, (band, sample) in enumerate(zip(bands, seen, strict=True))
        if band.spectral is not False
    }
    unnamed = [place for place, band in enumerate(bands) if band.spectral is None]
    if unnamed and not _are_reflectance(bands, samples, unnamed):
        for place in unnamed:
            del samples[place]
    elif len(unnamed) == len(bands):
        bands, assumed = _assume_order(bands)
        findings.extend(assumed)
    bands = [
        replace(band, spectral=place in samples, name=band.name or f"band{place + 1}")
        for place, band in enumerate(bands)
    ]
    if not samples:
        return Decoded(bands=tuple(bands), decoding={"unit": "as stored"}, findings=tuple(findings))
    spectral = [bands[place] for place in samples]
    meaning = _meaning(spectral, list(samples.values()), acquired)
    findings.extend(meaning.findings)
    settled = dict(zip(samples, meaning.bands, strict=True))
    return replace(
        meaning,
        bands=tuple(settled.get(place, band) for place, band in enumerate(bands)),
        findings=tuple(findings),
    )


def _are_reflectance(
    bands: Sequence[Band], samples: dict[int, NDArray[np.float64]], unnamed: list[int]
) -> bool:
    """Tell whether unnamed bands hold reflectance: several, and all 0 to 2, or all like 1/10000."""
    named = any(band.spectral for band in bands)
    looked_at = [samples[place] for place in unnamed if samples[place].size]
    if not looked_at or (len(unnamed) < 2 and not named):
        return False
    medians = [float(np.median(values)) for values in looked_at]
    least = min(float(np.percentile(values, 1)) for values in looked_at)
    most = max(float(np.percentile(values, 99)) for values in looked_at)
    if bands[unnamed[0]].info.dtype[0] == "f" and least > -0.3 and most < 2:
        return True
    return min(medians) > 50 and least > -3000 and most < 3 * QUANTIFICATION


def _assume_order(bands: Sequence[Band]) -> tuple[list[Band], list[Finding]]:
    """Name ten or four unnamed bands as the sharpening tutorial orders them."""
    codes = {len(order): order for order in (TUTORIAL_20M, TUTORIAL_10M)}.get(len(bands))
    if codes is None or len({band.info.path for band in bands}) > 1:
        return list(bands), []
    named = [replace(band, name=SENTINEL2[code]) for band, code in zip(bands, codes, strict=True)]
    finding = Finding(
        code="BANDS_ASSUMED",
        severity="info",
        message=f"{bands[0].info.path.name} does not name its {len(bands)} bands; taken as "
        + " ".join(codes),
        advice="say which band is which with --bands red=3,nir=4,... if the order is another",
    )
    return named, [finding]


def _meaning(
    bands: list[Band], samples: list[NDArray[np.float64]], acquired: datetime | date | None
) -> Decoded:
    """Scale spectral bands, all alike, to reflectance 0 to 1."""
    if all(_LANDSAT_C2.match(band.info.path.stem) for band in bands):
        return _scaled(
            bands, 2.75e-5, -0.2, "digital numbers of Landsat Collection 2", fills=(0.0,)
        )
    values = np.concatenate(samples) if any(part.size for part in samples) else np.zeros(1)
    integer = bands[0].info.dtype[0] in "iu"
    if integer and (own := _by_the_file(bands, samples)) is not None:
        return own
    if "int8" in {band.info.dtype.removeprefix("u") for band in bands}:
        return _scaled(bands, 1.0, 0.0, "8-bit display numbers, taken as they are", dark=True)
    # Shares, not quantiles, which take ten times as long to find.
    if np.mean(values > 50) > 0.5:
        meaning = _scaled(bands, 1 / QUANTIFICATION, 0.0, "digital numbers of 1/10000", dark=True)
        return replace(meaning, findings=_hidden_offset(bands, samples, acquired))
    if np.mean(values < 2) > 0.99:
        return _scaled(bands, 1.0, 0.0, "reflectance 0 to 1")
    finding = Finding(
        code="REFLECTANCE_UNIT",
        severity="warning",
        message="The fine bands are named as reflectance, but are neither 0 to 1 nor digital "
        f"numbers of 1/10000 (median {np.median(values):.3g}); taken as they are",
        advice="harmless to the default method; vegetation indices need reflectance",
        measured=float(np.median(values)),
    )
    return replace(_scaled(bands, 1.0, 0.0, "unknown, as stored"), findings=(finding,))


def _scaled(
    bands: Sequence[Band], scale: float, offset: float, unit: str,
    *, dark: bool = False, fills: tuple[float, ...] = (),
) -> Decoded:  # fmt: skip
    """Give all bands one scale."""
    return Decoded(
        bands=tuple(
            replace(band, scale=scale, offset=offset, fills=(*band.fills, *fills)) for band in bands
        ),
        dark=dark,
        decoding={"unit": unit, "scale": scale, "offset": offset},
    )


def _by_the_file(bands: list[Band], samples: list[NDArray[np.float64]]) -> Decoded | None:
    """Use the scale and offset the file carries, where they lead to plausible reflectance."""
    scales = [band.info.scales[band.index - 1] for band in bands]
    offsets = [band.info.offsets[band.index - 1] for band in bands]
    if all(scale == 1 for scale in scales):
        return None
    scaled = [values * scale for values, scale in zip(samples, scales, strict=True)]
    seen = [place for place, band in enumerate(bands) if band.name in _VISIBLE]
    low = np.concatenate([scaled[place] + offsets[place] for place in seen or range(len(bands))])
    below = float((low < -0.01).mean()) if low.size else 0.0
    findings: tuple[Finding, ...] = ()
    if below > 0.01 and min(offsets) < 0:
        offsets = [0.0] * len(bands)
        findings = (_applied_already(bands, below),)
    decoded = np.concatenate([part + add for part, add in zip(scaled, offsets, strict=True)])
    if not decoded.size or not 0 <= np.median(decoded) <= 1.5:
        log.warning("the scale of %s gives no reflectance; ignored", bands[0].info.path.name)
        return None
    return Decoded(
        bands=tuple(
            replace(band, scale=scale, offset=offset)
            for band, scale, offset in zip(bands, scales, offsets, strict=True)
        ),
        dark=True,
        decoding={"unit": "scale and offset of the file", "scale": scales[0], "offset": offsets[0]},
        findings=findings,
    )


def _applied_already(bands: Sequence[Band], below: float) -> Finding:
    return Finding(
        code="S2_OFFSET_APPLIED",
        severity="repaired",
        message=f"{bands[0].info.path.name} advertises an offset that would make {below:.1%} of "
        "the reflectances negative: it has been applied before and is ignored",
        measured=below,
    )


def _hidden_offset(
    bands: Sequence[Band], samples: Sequence[NDArray[np.float64]], acquired: datetime | date | None
) -> tuple[Finding, ...]:
    """Suspect the offset of baseline 04.00 where visible numbers hardly go below 1000."""
    visible = [values for band, values in zip(bands, samples, strict=True) if band.name in _VISIBLE]
    if not visible or (acquired is not None and day_of(acquired) < OFFSET_SINCE):
        return ()
    values = np.concatenate(visible)
    low = float((values < 1000).mean()) if values.size else 1.0
    if low > 0.01:
        return ()
    return (
        Finding(
            code="S2_OFFSET",
            severity="warning",
            message=f"Only {low:.1%} of the visible digital numbers are below 1000. Sentinel-2 "
            "images of processing baseline 04.00 and later carry an offset of 1000, which seems "
            "not to have been taken off: reflectance would be 0.1 too high",
            advice="take it off with `--fix S2_OFFSET`, or use the SAFE folder, which tells its "
            "offset",
            measured=low,
        ),
    )
