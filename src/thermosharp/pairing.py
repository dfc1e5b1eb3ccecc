"""A thermal file and the fine image that goes with it, cut to the part that is worked on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from odc.geo.geobox import GeoBox

from thermosharp.cloud_rims import distrust_rims
from thermosharp.coregister import register_to_water, search_reach
from thermosharp.errors import AmbiguousInput, ThermosharpError, UsageError
from thermosharp.extents import Extent
from thermosharp.findings import Finding
from thermosharp.locations import remote
from thermosharp.placement import crop, part_under, partial_overlap, usable_fraction
from thermosharp.products import date_gap, find_predictors, find_thermal, nearest
from thermosharp.products.images import ImageWindow, PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.products.thermal import is_own_output, read_thermal
from thermosharp.rasters import Window
from thermosharp.scenes import PredictorStack, ThermalScene


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

    def sent(self, stack: PredictorStack) -> ImageWindow:
        """Return what :meth:`predictors` has read, for other machines to read themselves."""
        return ImageWindow.of(self.image, self.window, stack)


def must_exist(paths: Sequence[Path]) -> None:
    """Refuse paths that are not there.

    Raises
    ------
    UsageError
        There is no such file or folder.
    """
    for path in paths:
        if not path.exists():
            address = remote(path)
            advice = "check the path"
            if address is not None and not address.lists:
                advice += "; folders of a web server cannot be listed: give the files themselves"
            raise UsageError(f"There is no file or folder {path}", advice=advice)


def find_scenes(paths: Sequence[Path]) -> tuple[list[Path], tuple[Finding, ...]]:
    """Find the thermal images of files and folders; outputs of ours among many files are left out.

    Returns
    -------
    list of Path
    tuple of Finding
        ``OWN_OUTPUT``, if any was left out.

    Raises
    ------
    UnsupportedProduct
        All that was given are outputs of ours.
    UsageError, NothingFound
        As :func:`thermosharp.products.find_thermal`.
    """
    ours = [path for path in paths if path.is_file() and is_own_output(path)]
    rest = [path for path in paths if path not in ours] or list(paths)
    files = [file for path in rest for file in find_thermal(path)]
    if not ours:
        return files, ()
    names = ", ".join(path.name for path in ours[:3]) + (", ..." if len(ours) > 3 else "")
    told = f"{len(ours)} of the files given are outputs of thermosharp and were left out: {names}"
    advice = "write results to a folder of their own"
    return files, (Finding("OWN_OUTPUT", "repaired", told, advice, float(len(ours))),)


def open_pair(
    path: Path,
    images: Sequence[PredictorImage],
    *,
    thermal: ThermalOptions,
    extent: Extent,
    register: bool = False,
) -> ScenePair:
    """Read a thermal file, choose the fine image nearest in time, and cut both to the area.

    With `register`, a scene that lies kilometres off its own water layer is moved first, and it
    keeps a margin wide enough to search for the rest.

    Raises
    ------
    NoOverlap
        LST, fine images and area have no place in common.
    AmbiguousInput
        There are several fine images, and a date is missing.
    ThermosharpError
        The file cannot be read or decoded; the class says why.
    """
    scene = distrust_rims(read_thermal(path, thermal), thermal.thresholds)
    if register:
        found = register_to_water(scene)
        scene = found.thermal.replaced(findings=(*found.thermal.findings, *found.findings))
    image = nearest(images, scene.acquired, over=part_under(scene.geobox, extent))
    findings = (
        date_gap(scene.acquired, image.acquired),
        *partial_overlap(extent, scene.geobox, image.geobox),
    )
    margin = 2 + search_reach(scene.geobox) if register else 2
    window, cropped = crop(scene, image.geobox, extent, margin=margin)
    return ScenePair(
        thermal=cropped,
        image=image,
        window=window,
        coarse=scene.geobox,
        usable_fraction=usable_fraction(cropped, image.geobox[window], extent),
        findings=findings,
    )


def find_images(
    paths: Sequence[Path],
    *,
    bands: str | None = None,
    resolution: int = 20,
    thermal: ThermalOptions | None = None,
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
    thermal : ThermalOptions, optional
        Its faults to repair, and its threshold of how far clouds are widened, go for fine images
        too.

    Raises
    ------
    AmbiguousInput
        A further path holds several images.
    """
    thermal = thermal or ThermalOptions()
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
    margin, fix = thermal.thresholds.scl_margin, thermal.fix
    return [replace(image.plus(more), mask_margin=margin, fix=fix) for image in first]


def images_or_why(
    paths: Sequence[Path], *, bands: str | None, resolution: int, thermal: ThermalOptions
) -> tuple[list[PredictorImage], ThermosharpError | None]:
    """Do as :func:`find_images`; where the images are at fault, say why there are none.

    Raises
    ------
    UsageError
        The call is at fault.
    """
    try:
        return find_images(paths, bands=bands, resolution=resolution, thermal=thermal), None
    except UsageError:
        raise
    except ThermosharpError as error:
        return [], error
