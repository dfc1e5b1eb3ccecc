"""Layer styles that QGIS takes up by itself: a .qml beside each GeoTIFF."""

from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

#: Colours between which QGIS interpolates.
STOPS = 17


def qgis_style(limits: tuple[float, float], *, colours: str = "inferno", unit: str = "K") -> bytes:
    """Make the style of a single-band layer: colours from one end of `limits` to the other.

    Parameters
    ----------
    limits : (float, float)
        In the unit of the layer.
    colours : str
        A colour map of matplotlib.
    unit : str
        For the legend.

    Returns
    -------
    bytes
        XML as QGIS 3 writes it; values beyond the ends keep the colours of the ends.
    """
    low, high = limits
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Rendering")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1",
        alphaBand="-1", nodataColor="", classificationMin=_number(low),
        classificationMax=_number(high),
    )  # fmt: skip
    minmax = ET.SubElement(renderer, "minMaxOrigin")
    for name, text in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Exact")):
        ET.SubElement(minmax, name).text = text
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib.update(
        colorRampType="INTERPOLATED", classificationMode="2", clip="0",
        minimumValue=_number(low), maximumValue=_number(high), labelPrecision="1",
    )  # fmt: skip
    ramp = mpl.colormaps[colours]
    _gradient(shader, ramp)
    for value, share in zip(np.linspace(low, high, STOPS), np.linspace(0, 1, STOPS), strict=True):
        ET.SubElement(
            shader, "item", value=_number(value), label=f"{value:.1f} {unit}",
            color=to_hex(ramp(share)), alpha="255",
        )  # fmt: skip
    ET.SubElement(pipe, "rasterresampler", zoomedInResampler="nearest", maxOversampling="2")
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}\n".encode()


def _gradient(shader: ET.Element, ramp: mpl.colors.Colormap) -> None:
    """Say the same as the items in the form that QGIS's style dialogue edits."""
    gradient = ET.SubElement(shader, "colorramp", name="[source]", type="gradient")
    options = ET.SubElement(gradient, "Option", type="Map")
    inner = [
        f"{share:.4f};{_rgba(ramp, share)}" for share in np.linspace(0, 1, STOPS)[1:-1].tolist()
    ]
    for name, value in (
        ("color1", _rgba(ramp, 0.0)), ("color2", _rgba(ramp, 1.0)), ("discrete", "0"),
        ("rampType", "gradient"), ("stops", ":".join(inner)),
    ):  # fmt: skip
        ET.SubElement(options, "Option", type="QString", name=name, value=value)


def _rgba(ramp: mpl.colors.Colormap, share: float) -> str:
    red, green, blue, _ = (round(255 * part) for part in ramp(share))
    return f"{red},{green},{blue},255"


def _number(value: float) -> str:
    return f"{value:.6g}"
