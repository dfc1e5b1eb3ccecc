"""What to read of a predictor image, and its reading: strip by strip, in several threads."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.findings import Finding
from thermosharp.headstart import ROWS
from thermosharp.locations import remote
from thermosharp.products.layers import Layer, Mask
from thermosharp.rasters import Window
from thermosharp.storage import release
from thermosharp.threads import in_threads

#: Target rows read at a time: those that may be unpacked already, and whole blocks of JPEG 2000 as
#: Sentinel-2 has it.
_STRIP, _TALL_STRIP = ROWS, 1024

#: Added to digital numbers of Sentinel-2 since processing baseline 04.00.
S2_OFFSET = 1000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything needed to read the predictors of one image.

    Attributes
    ----------
    layers : tuple of Layer
    order : tuple of str
        Names of the bands in the order they are delivered.
    masks : tuple of Mask
    decoding : mapping
        What was read and what its numbers mean, in plain JSON types.
    findings : tuple of Finding
    """

    layers: tuple[Layer, ...]
    order: tuple[str, ...]
    masks: tuple[Mask, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def mended(self, fix: frozenset[str]) -> "Plan":
        """Take a suspected offset of Sentinel-2 off, if ``S2_OFFSET`` is asked for."""
        found = next((found for found in self.findings if found.code == "S2_OFFSET"), None)
        if found is None or found.code not in fix:
            return self
        layers = tuple(
            replace(
                layer,
                bands=tuple(
                    replace(band, offset=band.offset - S2_OFFSET * band.scale)
                    if band.spectral
                    else band
                    for band in layer.bands
                ),
            )
            for layer in self.layers
        )
        told = replace(
            found,
            severity="repaired",
            message=f"{found.message}; {S2_OFFSET} taken off, as asked for",
            advice="",
        )
        findings = tuple(told if other is found else other for other in self.findings)
        return replace(self, layers=layers, findings=findings)

    def read(
        self,
        target: GeoBox,
        window: Window,
        into: NDArray[np.float32],
        mask_margin: float = 0.0,
    ) -> tuple[Finding, ...]:
        """Read all bands on a window of the target grid, and say what was noticed.

        Strip by strip, `into` an array (band, y, x). Clouds and shadows are widened by
        `mask_margin` metres.
        """

        def one(strip: slice) -> list[tuple[int, int]]:
            rows = slice(strip.start - window[0].start, strip.stop - window[0].start)
            for layer in self.layers:
                places = [self.order.index(band.name) for band in layer.bands]
                beside = slice(places[0], places[0] + len(places))  # where they mostly belong
                there = places == list(range(beside.start, beside.stop))
                part = into[beside, rows] if there else np.empty_like(into[places, rows])
                layer.onto(target, (strip, window[1]), part)
                if not there:
                    into[places, rows] = part
            counts = []
            for mask in self.masks:
                untrusted, masked, seen = mask.onto(target, (strip, window[1]), mask_margin)
                into[:, rows][:, untrusted] = np.nan
                counts.append((masked, seen))
            release(into[:, rows])
            return counts

        strips = _strips(window[0], self._strip)
        counts = np.sum(
            list(in_threads(one, strips, worthwhile=apart(self._paths))), axis=0, dtype=int
        )
        shares = [masked / seen if seen else 0.0 for masked, seen in counts]
        told = [_masked(mask, share) for mask, share in zip(self.masks, shares, strict=True)]
        return (*self.findings, *told)

    @property
    def _strip(self) -> int:
        return _TALL_STRIP if _jpeg2000(self._paths) else _STRIP

    @property
    def _paths(self) -> set[Path]:
        return {band.info.path for layer in self.layers for band in layer.bands}


def apart(paths: Iterable[Path]) -> bool:
    """Tell whether to read parts of images at the same time.

    Not where each would ask a server again. Nor of JPEG 2000, which takes much memory to decode.
    """
    paths = set(paths)
    return not _jpeg2000(paths) and not any(map(remote, paths))


def _jpeg2000(paths: Iterable[Path]) -> bool:
    return any(path.suffix.lower() == ".jp2" for path in paths)


def _strips(rows: slice, height: int) -> Iterator[slice]:
    """Cut rows at multiples of a fixed number, to bound memory."""
    for start in range(rows.start // height * height, rows.stop, height):
        yield slice(max(start, rows.start), min(start + height, rows.stop))


def _masked(mask: Mask, share: float) -> Finding:
    heavy = share > 0.4
    return Finding(
        code="PREDICTORS_MASKED",
        severity="warning" if heavy else "info",
        message=f"{mask.band.info.path.name} masks {share:.1%} of the fine image"
        " (cloud, shadow or defect)",
        advice="choose a clearer date: much of the result will be empty" if heavy else "",
        measured=share,
    )
