"""Any single-band raster of temperature."""

from pathlib import Path

from thermosharp.findings import Finding
from thermosharp.products.assembly import build_scene, read_lst, tags_of, trust_everything
from thermosharp.products.dates import date_in
from thermosharp.products.options import ThermalOptions
from thermosharp.products.quality import quality_ignored
from thermosharp.scenes import ThermalScene


def open_generic(path: Path, options: ThermalOptions) -> ThermalScene:
    """Open a raster of which only the values tell what it is.

    The time comes from the name if it holds one. Nothing is known of clouds or quality: every
    pixel with a temperature is usable.

    Raises
    ------
    AmbiguousInput
        The file has several bands.
    ScaledTwice, UnknownScale, UnreadableFile, MissingCRS
    """
    info, resolved = read_lst(path, options)
    unknown = Finding(
        "QUALITY_MISSING",
        "info",
        "the name of the file is of no product known, so no QC, cloud or water layer belongs to "
        "it: every pixel with a temperature is used",
        "keep the names of files as delivered, or mask clouds in the file with its nodata value",
    )
    return build_scene(
        path,
        options,
        info.geobox,
        resolved,
        trust_everything(resolved.kelvin, unknown if options.quality else quality_ignored()),
        acquired=date_in(path.stem),
        product="unknown",
        provenance={"companions": {}, "tags": tags_of(info)},
    )
