"""Where a check begins to speak: numbers with a source, which a user may change."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from thermosharp.errors import UsageError


def _threshold(default: float, about: str, source: str) -> Any:
    return field(default=default, metadata={"about": about, "source": source})


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Every number a check decides by; ``metadata`` of each field says what it is and whence.

    Raises
    ------
    UsageError
        A threshold is not finite, or below 0.
    """

    cloud_margin: float = _threshold(
        2, "pixels by which clouds of ECOSTRESS are widened",
        "masks of collections 1 and 2 miss the edges of clouds (ECOSTRESS L2 User Guide C3)",
    )  # fmt: skip
    cold_outlier: float = _threshold(
        15, "K below the median of land or water from which ground beside a cloud counts as cloud",
        "own choice; colder than shade, water or altitude within one scene usually are",
    )  # fmt: skip
    cold_share: float = _threshold(
        0.01, "share of cold outliers from which a scene without cloud mask is warned of", "own"
    )
    scl_margin: float = _threshold(
        80, "m by which clouds and shadows of Sentinel-2 are widened",
        "60 to 100 m: Sen2Cor's classes are drawn at 20 m and miss thin rims",
    )  # fmt: skip
    some_masked: float = _threshold(
        0.1, "share of the fine image under clouds from which it is warned of", "own choice"
    )
    masked: float = _threshold(
        0.4, "share of the fine image under clouds from which it is refused", "own choice"
    )
    low_ndvi: float = _threshold(
        0.25, "95th percentile of NDVI below which an offset in the reflectance is suspected",
        "an offset of 0.1 that was not taken off halves NDVI; deserts are as low",
    )  # fmt: skip
    clamped: float = _threshold(
        0.01, "share of reflectances of exactly 0 that is told of",
        "the Sentinel Hub sets negative reflectance to 0 (harmonizeValues)",
    )  # fmt: skip
    mostly_water: float = _threshold(
        0.95, "share of water from which the area is asked back",
        "latitude and longitude exchanged mostly lead to an ocean",
    )  # fmt: skip
    bias: float = _threshold(
        0.1, "K by which the mean of the result may differ from the LST", "own choice"
    )
    kept_rmsd: float = _threshold(
        1.5, "K by which area means of the result may differ from the LST",
        "the uncertainty of ECOSTRESS LST itself (User Guide C3: 1.07 K)",
    )  # fmt: skip
    unexplained_rmsd: float = _threshold(
        5, "K that the method may leave unexplained before the result is refused",
        "residuals of wrong areas and unscaled inputs in published runs are larger",
    )  # fmt: skip
    range_margin: float = _threshold(
        5, "K by which the result may exceed the range of the LST", "own choice"
    )
    outside_share: float = _threshold(
        0.01, "share of the result outside that range from which it is warned of", "own choice"
    )
    unrelated_r2: float = _threshold(
        0.1, "explained share of the variance below which images count as unrelated", "own choice"
    )
    lost_share: float = _threshold(
        0.5, "share of usable LST left without result from which it is warned of", "own choice"
    )

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise UsageError(
                    f"--threshold {name}={value:g} cannot be", expected="a number of at least 0"
                )

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Read ``name=value`` words.

        Raises
        ------
        UsageError
            There is no such threshold, or its value is no number.
        """
        known = [entry.name for entry in fields(cls)]
        told: dict[str, float] = {}
        for word in words:
            name, _, value = word.partition("=")
            if name.strip() not in known:
                raise UsageError(
                    f"There is no threshold {name.strip()!r}", expected=", ".join(known)
                )
            try:
                told[name.strip()] = float(value)
            except ValueError:
                raise UsageError(
                    f"--threshold {word} has no number",
                    expected=f"{name.strip()}=NUMBER, such as {name.strip()}="
                    f"{getattr(cls, name.strip()):g}",
                ) from None
        return cls(**told)

    def changed(self) -> dict[str, float]:
        """Return the thresholds that differ from their defaults."""
        return {
            entry.name: value
            for entry in fields(self)
            if (value := getattr(self, entry.name)) != entry.default
        }
