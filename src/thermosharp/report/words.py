"""What was done to a scene, in plain words, and how to cite it."""

from collections.abc import Mapping
from typing import Any

#: How each method works, for readers who never heard of it.
METHODS = {
    "detail": "A statistical model (a Gaussian process) learned from this very scene how "
    "temperature follows the bands of the fine image and their surroundings. It treats every "
    "coarse pixel as what it is, the mean over its area, and says how sure it is of each fine one.",
    "dms": "Regression trees (Data Mining Sharpener) learned from this very scene how temperature "
    "follows the bands of the fine image, over the whole of it and in local windows.",
    "atprk": "A linear regression on the bands of the fine image, and kriging of what it leaves "
    "unexplained from coarse pixels to fine points (area-to-point regression kriging).",
    "tsharp": "A regression of temperature on vegetation (NDVI): the more plants, the cooler.",
    "bicubic": "Smooth interpolation that knows nothing of the land; the yardstick for the others.",
}

_REFERENCES = {
    "dms": "Gao, F., Kustas, W. P., Anderson, M. C. (2012): A data mining approach for sharpening "
    "thermal satellite imagery over land. Remote Sensing 4, 3287-3319.",
    "atprk": "Wang, Q., Shi, W., Atkinson, P. M., Zhao, Y. (2015): Downscaling MODIS images with "
    "area-to-point regression kriging. Remote Sensing of Environment 166, 191-204.",
    "tsharp": "Agam, N., Kustas, W. P., Anderson, M. C., Li, F., Neale, C. M. U. (2007): A "
    "vegetation index based technique for spatial sharpening of thermal imagery. Remote Sensing "
    "of Environment 107, 545-558.",
}

_DOIS = {
    "ECO2LSTE.001": "10.5067/ECOSTRESS/ECO2LSTE.001",
    "ECO_L2_LSTE.002": "10.5067/ECOSTRESS/ECO_L2_LSTE.002",
    "ECO_L2T_LSTE.002": "10.5067/ECOSTRESS/ECO_L2T_LSTE.002",
}


def simulated(record: Mapping[str, Any]) -> bool:
    """Whether a scene is made up, as the demonstration's is."""
    tags = _at(record, "thermal", "provenance", "tags")
    return isinstance(tags, Mapping) and tags.get("simulated") == "True"


def method_text(record: Mapping[str, Any]) -> str:
    """Say how the map was made, in a paragraph."""
    method = str(record.get("method"))
    text = METHODS.get(method, f"The method was {method}.")
    if _at(record, "settings", "conserve") is False:
        return text
    return (
        f"{text} Then the map was corrected until its area means are, to a hundredth of a kelvin, "
        "what the satellite measured: sharpening moves warmth around inside a coarse pixel, it "
        "does not add any."
    )


def provenance(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what went in, as (term, sentence) pairs."""
    thermal = _at(record, "thermal", "provenance") or {}
    fine = record.get("predictors") or {}
    rows = [
        ("Thermal image", f"{product(record)}, file {thermal.get('file', record.get('scene'))}"),
        ("Scale", _scale(thermal.get("lst") or {})),
        ("Quality", _quality(thermal)),
        ("Fine image", _fine(fine)),
        ("Learned from", _learned(record.get("diagnostics") or {})),
    ]
    return [(term, text) for term, text in rows if text]


def expected_error(record: Mapping[str, Any]) -> float | None:
    """Return what the map is expected to be off, K."""
    value = _at(record, "run", "expected_rmse_k")
    return float(value) if isinstance(value, int | float) else None


def citations(record: Mapping[str, Any]) -> list[str]:
    """List what to name in a publication: software, method, data."""
    version = _at(record, "versions", "thermosharp") or "unknown"
    method = str(record.get("method"))
    lines = [f"The thermosharp developers: thermosharp {version}, software. Method: {method}."]
    if method in _REFERENCES:
        lines.append(_REFERENCES[method])
    if simulated(record):
        return [*lines, "Data: simulated."]
    name = str(_at(record, "thermal", "product") or "")
    if name in _DOIS:
        lines.append(
            f"ECOSTRESS land surface temperature {name}. NASA Land Processes Distributed Active "
            f"Archive Center. https://doi.org/{_DOIS[name]}"
        )
    elif name.upper().startswith(("ECO", "LANDSAT", "MOD", "MYD", "VNP", "LC0", "LE0", "LT0")):
        lines.append(f"{name}: cite the product as its archive asks for.")
    fine = str(_at(record, "predictors", "name") or "")
    if fine.upper().startswith("S2"):
        year = str(_at(record, "predictors", "acquired") or "")[:4]
        lines.append(f"Contains modified Copernicus Sentinel data {year}".strip() + ".")
    return lines


def product(record: Mapping[str, Any]) -> str:
    """Name the product that was sharpened."""
    name = str(_at(record, "thermal", "product") or "unknown product")
    return f"made up, like {name}" if simulated(record) else name


def _scale(lst: Mapping[str, Any]) -> str:
    if "median_k" not in lst:
        return ""
    text = f"stored as {lst.get('dtype')}"
    if lst.get("scale") not in (None, 1, 1.0) or lst.get("offset"):
        text += f", times {lst.get('scale'):g}"
        text += f" plus {lst['offset']:g}" if lst.get("offset") else ""
    return (
        f"{text}; {lst['min_k']:.1f} to {lst['max_k']:.1f} K over the whole file, "
        f"median {lst['median_k']:.1f} K"
    )


def _quality(thermal: Mapping[str, Any]) -> str:
    pixels = thermal.get("pixels") or {}
    if thermal.get("quality_used") is False:
        return "not looked at, as asked: every pixel with a temperature was trusted"
    if not isinstance(pixels.get("observed"), int):
        return ""
    text = f"{pixels['usable']:,} of {pixels['observed']:,} coarse pixels in the file are usable"
    cloud = pixels.get("cloud")
    return f"{text}; {'cloud is not known' if cloud is None else f'{cloud:,} are cloudy'}"


def _fine(fine: Mapping[str, Any]) -> str:
    bands = fine.get("bands") or []
    text = f"{fine.get('name', 'unknown')}, {len(bands)} bands"
    return f"{text}, taken {fine['acquired'][:10]}" if fine.get("acquired") else text


def _learned(numbers: Mapping[str, Any]) -> str:
    if "coarse_trained" not in numbers:
        return ""
    text = f"{numbers['coarse_trained']:,} coarse pixels"
    if numbers.get("r2") is not None:
        text += f"; {numbers['r2']:.0%} of their variance is explained by the fine image"
    if numbers.get("rmsd_before") is not None:
        text += (
            f"; {numbers['rmsd_before']:.2f} K were left before the means were restored, "
            f"{numbers['rmsd_after']:.3f} K after"
        )
    return text


def _at(record: Mapping[str, Any], *keys: str) -> Any:
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
