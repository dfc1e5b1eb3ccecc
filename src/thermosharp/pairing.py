"""A thermal file and the fine image that goes with it, cut to the part that is worked on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from odc.geo.geobox import GeoBox

from thermosharp.errors import AmbiguousInput, UsageError
from thermosharp.extents import Extent
from thermosharp.findings import Finding
from thermosharp.placement import crop, part_under, partial_overlap, usable_fraction
from thermosharp.products import date_gap, find_predictors, nearest
from thermosharp.products.images import PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.products.thermal import read_thermal
from thermosharp.scenes import PredictorStack, ThermalScene, Window


@dataclass(frozen=True, kw_only=True)
class ScenePair:
    """A thermal scene that is read, and a fine image that is chosen.

    Attributes
    ----------
    thermal : ThermalScene
        What lies over the window, with a margin.
    image : PredictorImage
        The fine image nearest in time.
    window : (slice, slice)
        Rows and columns of the fine image to work on.
    coarse : GeoBox
        The whole grid of the thermal file.
    usable_fraction : float
        Usable share of what the swath saw in the area.
    findings : tuple of Finding
        What was noticed when the two were put together.
    """

    thermal: ThermalScene
    image: PredictorImage
    window: Window
    coarse: GeoBox
    usable_fraction: float
    findings: tuple[Finding, ...]

    def predictors(self) -> PredictorStack:
        """Read the window of the fine image."""
        return self.image.open(self.window)


def must_exist(paths: Sequence[Path]) -> None:
    """Refuse paths that are not there.

    Raises
    ------
    UsageError
        There is no such file or folder.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file or folder {path}", advice="check the path")


def open_pair(
    path: Path, images: Sequence[PredictorImage], *, thermal: ThermalOptions, extent: Extent
) -> ScenePair:
    """Read a thermal file, choose the fine image nearest in time, and cut both to the area.

    Raises
    ------
    NoOverlap
        LST, fine images and area have no place in common.
    AmbiguousInput
        There are several fine images, and a date is missing.
    ThermosharpError
        The file cannot be read or decoded; the class says why.
    """
    scene = read_thermal(path, thermal)
    image = nearest(images, scene.acquired, over=part_under(scene.geobox, extent))
    findings = (
        date_gap(scene.acquired, image.acquired),
        *partial_overlap(extent, scene.geobox, image.geobox),
    )
    window, cropped = crop(scene, image.geobox, extent)
    return ScenePair(
        thermal=cropped,
        image=image,
        window=window,
        coarse=scene.geobox,
        usable_fraction=usable_fraction(cropped, image.geobox[window], extent),
        findings=findings,
    )


def find_images(
    paths: Sequence[Path], *, bands: str | None = None, resolution: int = 20
) -> list[PredictorImage]:
    """Find the fine images; all but the first path add layers to each of them.

    Parameters
    ----------
    paths : sequence of Path
        The fine image, or a folder of dated ones; then single images of further layers.
    bands : str, optional
        For the first path.
    resolution : int
        See :func:`thermosharp.products.find_predictors`.

    Raises
    ------
    AmbiguousInput
        A further path holds several images.
    """
    first, *further = (
        find_predictors(path, bands=bands if not i else None, resolution=resolution)
        for i, path in enumerate(paths)
    )
    for path, images in zip(paths[1:], further, strict=True):
        if len(images) > 1:
            raise AmbiguousInput(
                f"{path} holds several images",
                expected="one image of further layers, such as a DEM",
                came=f"{len(images)} images",
                advice="give the series as the first --fine, and single images after it",
            )
    more = [images[0] for images in further]
    return [image.plus(more) for image in first] if more else first
