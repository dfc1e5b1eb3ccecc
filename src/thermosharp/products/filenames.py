"""What the names of thermal products say. Parsed, never searched for a substring.

Names are those of AppEEARS (ECOSTRESS, MODIS, VIIRS), of LP DAAC's ECOSTRESS tiles and HDF5
files, and of Landsat Collection 2 Level 2.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

Kind = Literal["appeears", "tile", "gridded", "swath", "c1"]

_FLAGS = re.ASCII | re.IGNORECASE
_APPEEARS = re.compile(
    r"(?P<prod>[A-Z0-9_]+)\.(?P<ver>\d{3})_(?P<layer>.+?)_doy(?P<time>\d{7}(?:\d{6})?)"
    r"[_.]aid(?P<aid>\d{4})(?:_(?P<zone>\d{1,2}[NS]))?(?P<rest>.*)\.tiff?",
    _FLAGS,
)
_TILE = re.compile(
    r"ECOv(?P<ver>00[23])_L2T_(?P<prod>[A-Z]+)_(?:(?P<orbit>\d{5})_(?P<scene>\d{3})_)?"
    r"(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<time>\d{8}T\d{6})_(?:(?P<build>\d{4})_)?(?P<iter>\d{2})"
    r"_(?P<layer>LST_err|LST|SST|QC|cloud|water|view_zenith|height|EmisWB|Emis\d(?:_err)?)"
    r"(?P<rest>.*)\.tiff?",
    _FLAGS,
)
_HDF5 = re.compile(
    r"ECOv(?P<ver>00[23])_L2(?P<grid>G?)_(?P<prod>LSTE|CLOUD)_(?P<orbit>\d{5})_(?P<scene>\d{3})_"
    r"(?P<time>\d{8}T\d{6})_(?:(?P<build>\d{4})_)?(?P<iter>\d{2})(?P<rest>.*)\.h5",
    _FLAGS,
)
_C1_HDF5 = re.compile(
    r"ECOSTRESS_L2_(?P<prod>LSTE|CLOUD)_(?P<orbit>\d{5})_(?P<scene>\d{3})_"
    r"(?P<time>\d{8}T\d{6})_(?P<build>\d{4})_(?P<iter>\d{2})(?P<rest>.*)\.h5",
    _FLAGS,
)
_LANDSAT = re.compile(
    r"(?P<scene>(?P<sensor>L[COTE]0[4-9])_(?P<level>L2S[PR])_\d{6}_(?P<date>\d{8})_\d{8}_\d{2}_"
    r"(?:T1|T2|RT))_(?P<layer>ST_B10|ST_B6|ST_[A-Z]+|SR_\w+?|QA_[A-Z]+)(?P<rest>[^A-Z0-9].*)?\.tiff?",
    _FLAGS,
)

#: ECOSTRESS layers that are temperature; all others accompany it.
ECOSTRESS_LST = frozenset({"LST", "SDS_LST"})
MODIS_LST = frozenset({"LST_Day_1km", "LST_Night_1km", "LST_1KM"})
_MODIS_PRODUCT = re.compile(r"(?:MOD|MYD|VNP|VJ1)(?:11|21)[A-Z0-9]*", _FLAGS)


@dataclass(frozen=True, kw_only=True)
class GranuleName:
    """A parsed file name of ECOSTRESS, MODIS or VIIRS.

    Attributes
    ----------
    kind : {"appeears", "tile", "gridded", "swath", "c1"}
        AppEEARS GeoTIFF; LP DAAC tile; gridded HDF5; swath HDF5 of collection 2 and of 1.
    product : str
        As in the name, such as ``ECO_L2_LSTE``.
    collection : int
        1, 2 or 3 for ECOSTRESS; 61 or so for MODIS.
    layer : str
        The whole layer token, ``LST`` or ``LST_err``; empty for HDF5.
    acquired : datetime (UTC, aware) or date
        A bare date where the name has no time.
    aid, zone : str
        Feature number and UTM zone of AppEEARS.
    tile, orbit, scene, build, iteration : str
        Of LP DAAC names; empty where the name lacks them.
    rest : str
        What someone appended, such as ``_clipped``; empty in a file as delivered.
    """

    kind: Kind
    product: str
    collection: int
    layer: str
    acquired: datetime | date
    aid: str = ""
    zone: str = ""
    tile: str = ""
    orbit: str = ""
    scene: str = ""
    build: str = ""
    iteration: str = ""
    rest: str = ""

    @property
    def ecostress(self) -> bool:
        """Whether the instrument is ECOSTRESS."""
        return self.product.upper().startswith("ECO")

    @property
    def modis(self) -> bool:
        """Whether it is an LST product of MODIS or VIIRS."""
        return _MODIS_PRODUCT.fullmatch(self.product) is not None

    @property
    def is_lst(self) -> bool:
        """Whether the file holds temperature, not a companion of it."""
        if self.kind not in ("appeears", "tile"):
            return self.product.endswith("LSTE")
        if self.modis:
            return self.layer in MODIS_LST
        return self.layer in ECOSTRESS_LST

    @property
    def stamp(self) -> str:
        """The time as the name spells it."""
        day = "%Y%j" if self.kind == "appeears" else "%Y%m%dT"
        return self.acquired.strftime(f"{day}%H%M%S" if self.timed else day)

    @property
    def timed(self) -> bool:
        """Whether the name gives a time, not only a date."""
        return isinstance(self.acquired, datetime)

    @property
    def pairing(self) -> tuple[str, ...]:
        """What files of one scene have in common.

        Cloud masks come under a product of their own: ``ECO2CLD`` goes with ``ECO2LSTE``.
        """
        family = self.product.upper().replace("CLOUD", "LSTE").replace("CLD", "LSTE")
        place = (self.aid, self.zone.upper(), self.tile.upper(), self.orbit, self.scene)
        made = (str(self.collection), self.build, self.iteration)
        return (self.kind, family, self.acquired.isoformat(), *place, *made)


@dataclass(frozen=True, kw_only=True)
class LandsatName:
    """A parsed file name of Landsat Collection 2 Level 2.

    Attributes
    ----------
    scene : str
        Everything before the layer; what files of one scene have in common.
    sensor : str
        ``LC08``, ``LE07``, ``LT05`` ...
    level : str
        ``L2SP``, or ``L2SR``, which has no surface temperature.
    layer : str
        ``ST_B10``, ``ST_QA``, ``QA_PIXEL`` ...
    acquired : date
    rest : str
        What someone appended.
    """

    scene: str
    sensor: str
    level: str
    layer: str
    acquired: date
    rest: str = ""

    @property
    def is_lst(self) -> bool:
        """Whether the file holds temperature, not a companion of it."""
        return self.layer in ("ST_B10", "ST_B6")


def parse_granule(path: Path) -> GranuleName | None:
    """Parse a file name of ECOSTRESS, MODIS or VIIRS; None if it is not one."""
    for pattern, parse in (
        (_APPEEARS, _appeears),
        (_TILE, _tile),
        (_HDF5, _hdf5),
        (_C1_HDF5, _hdf5),
    ):
        if match := pattern.fullmatch(path.name):
            try:
                return parse(match)
            except ValueError:  # digits that are no date: not a name of ours
                return None
    return None


def _appeears(match: re.Match[str]) -> GranuleName:
    stamp = match["time"]
    return GranuleName(
        kind="appeears",
        product=match["prod"],
        collection=int(match["ver"]),
        layer=match["layer"],
        acquired=_utc(stamp, "%Y%j%H%M%S") if len(stamp) == 13 else _day(stamp, "%Y%j"),
        aid=match["aid"],
        zone=match["zone"] or "",
        rest=match["rest"],
    )


def _tile(match: re.Match[str]) -> GranuleName:
    return GranuleName(
        kind="tile",
        product=f"ECO_L2T_{match['prod'].upper()}",
        collection=int(match["ver"]),
        layer=match["layer"],
        acquired=_utc(match["time"], "%Y%m%dT%H%M%S"),
        tile=match["tile"],
        orbit=match["orbit"] or "",
        scene=match["scene"] or "",
        build=match["build"] or "",
        iteration=match["iter"],
        rest=match["rest"],
    )


def _hdf5(match: re.Match[str]) -> GranuleName:
    groups = match.groupdict()
    gridded = groups.get("grid", "").upper() == "G"
    first = "ver" not in groups
    product = f"ECO2{match['prod']}" if first else f"ECO_L2{'G' if gridded else ''}_{match['prod']}"
    return GranuleName(
        kind="c1" if first else "gridded" if gridded else "swath",
        product=product.upper(),
        collection=1 if first else int(match["ver"]),
        layer="",
        acquired=_utc(match["time"], "%Y%m%dT%H%M%S"),
        orbit=match["orbit"],
        scene=match["scene"],
        build=match["build"] or "",
        iteration=match["iter"],
        rest=match["rest"],
    )


def parse_landsat(path: Path) -> LandsatName | None:
    """Parse a file name of Landsat Collection 2 Level 2; None if it is not one."""
    match = _LANDSAT.fullmatch(path.name)
    if match is None:
        return None
    try:
        acquired = _day(match["date"], "%Y%m%d")
    except ValueError:
        return None
    return LandsatName(
        scene=match["scene"],
        sensor=match["sensor"].upper(),
        level=match["level"].upper(),
        layer=match["layer"].upper(),
        acquired=acquired,
        rest=match["rest"] or "",
    )


def _utc(text: str, layout: str) -> datetime:
    return datetime.strptime(text.upper(), layout).replace(tzinfo=UTC)


def _day(text: str, layout: str) -> date:
    return datetime.strptime(text, layout).replace(tzinfo=UTC).date()
