"""Names of bands: which layer is red, which is near infrared, and what a user calls them.

Roles follow the names STAC catalogues use for Sentinel-2: ``blue green red rededge1 rededge2
rededge3 nir nir08 swir16 swir22``. Words outrank codes, because codes mean different bands on
different sensors: ``B5 nir`` of Landsat 8 is near infrared although B05 of Sentinel-2 is not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from thermosharp.errors import MissingBands, UsageError

#: Sentinel-2 band code to role, in the order of wavelength.
SENTINEL2 = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "watervapour",
    "B10": "cirrus",
    "B11": "swir16",
    "B12": "swir22",
}
#: The ten bands of the sharpening tutorial at 20 m, in its order, and its four at 10 m.
TUTORIAL_20M = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
TUTORIAL_10M = ("B02", "B03", "B04", "B08")
#: Roles whose numbers are reflectance.
SPECTRAL = frozenset(SENTINEL2.values())
#: Roles whose numbers are something else; a zero in them is a value.
OTHER = frozenset(
    {"ndvi", "evi", "savi", "ndwi", "mndwi", "ndbi", "ndmi", "lai", "fapar", "fc", "albedo"}
    | {"elevation", "height", "slope", "aspect", "emissivity", "imperviousness"}
)
#: Roles of layers that say where a predictor may be trusted; never predictors themselves.
MASKS = frozenset({"scl", "datamask"})

_LANDSAT_OLI = dict(
    enumerate(("coastal", "blue", "green", "red", "nir", "swir16", "swir22"), start=1)
)
_LANDSAT_TM = {1: "blue", 2: "green", 3: "red", 4: "nir", 5: "swir16", 7: "swir22"}

_ALIASES = {
    "swir1": "swir16",
    "swir2": "swir22",
    "re1": "rededge1",
    "re2": "rededge2",
    "re3": "rededge3",
    "narrownir": "nir08",
    "nirnarrow": "nir08",
    "nir8a": "nir08",
    "nearinfrared": "nir",
    "nearir": "nir",
    "shortwaveinfrared1": "swir16",
    "shortwaveinfrared2": "swir22",
    "aerosol": "coastal",
    "dem": "elevation",
    "dsm": "elevation",
    "dtm": "elevation",
    "altitude": "elevation",
}
_WORDS = {role: role for role in SPECTRAL | OTHER | MASKS} | _ALIASES
#: Words written in several parts, joined before the text is split.
_COMPOUNDS = (
    (r"red[\s_.-]*edge", "rededge"),
    (r"(rededge|swir|re)[\s_.-]+(\d)(?!\d)", r"\1\2"),
    (r"near[\s_.-]*infra[\s_.-]*red", "nearinfrared"),
    (r"short[\s_.-]*wave[\s_.-]*infra[\s_.-]*red[\s_.-]*", "shortwaveinfrared"),
    (r"narrow[\s_.-]*(nir|nearinfrared)", "narrownir"),
    (r"data[\s_.-]*mask", "datamask"),
)
_CODE = re.compile(r"(?<![a-z0-9])b(?:and)?[\s_.-]?0?(8a|1[0-2]|[1-9])(?![a-z0-9])")
_COUNTED = re.compile(r"band[\s_.-]?(\d+)(\s*[:(].*)?", re.IGNORECASE)


def role_of(text: str) -> str | None:
    """Return the role a band description or a file name speaks of, or None.

    Words (``red``, ``SWIR 1``, ``NDVI``) outrank codes (``B04``, ``B8A``, ``Band 4``). Codes are
    read as Sentinel-2's unless the text is the name of a Landsat or HLS-L30 file. A text that
    speaks of two roles speaks of none.
    """
    plain = text.lower()
    for pattern, joined in _COMPOUNDS:
        plain = re.sub(pattern, joined, plain)
    words = {_WORDS[word] for word in re.split(r"[^a-z0-9]+", plain) if word in _WORDS}
    if len(words) == 1:
        return words.pop()
    codes = {_role_of_code(code, plain) for code in _CODE.findall(plain)}
    return codes.pop() if len(codes) == 1 and not words else None


def _role_of_code(code: str, name: str) -> str | None:
    if re.match(r"l[co]0[89]_|hls\.l30", name):
        return _LANDSAT_OLI.get(int(code)) if code.isdigit() else None
    if re.match(r"l[et]0[4-7]_", name):
        return _LANDSAT_TM.get(int(code)) if code.isdigit() else None
    return SENTINEL2[f"B{code.upper():0>2}"]


def code_of(role: str) -> str | None:
    """Return the Sentinel-2 band code of a role; None where the sensor has none."""
    return next((code for code, known in SENTINEL2.items() if known == role), None)


def names_of(descriptions: Sequence[str]) -> tuple[str, ...]:
    """Name the bands of a file by their descriptions: a role, the description, or nothing.

    Descriptions that only count (``Band 1``, ``Band 2``...), as many programs write them by
    themselves, name nothing.
    """
    counted = [_COUNTED.fullmatch(text.strip()) for text in descriptions]
    if all(hit and int(hit[1]) == place for place, hit in enumerate(counted, start=1)):
        return ("",) * len(descriptions)
    return tuple(role_of(text) or text.strip() for text in descriptions)


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Make names unique: the second ``red`` becomes ``red_2``, the third ``red_3``."""
    given: list[str] = []
    for name in names:
        unique, count = name, 1
        while unique in given:
            count += 1
            unique = f"{name}_{count}"
        given.append(unique)
    return tuple(given)


@dataclass(frozen=True, kw_only=True)
class BandChoice:
    """What the user said about bands.

    Attributes
    ----------
    roles : mapping of str to int
        Role of a band by its place in the file, from 1; naming a band leaves out no other.
    selected : tuple of str
        Roles or names to use, in this order; empty for all there are.
    """

    roles: Mapping[str, int] = field(default_factory=dict)
    selected: tuple[str, ...] = ()

    def name(self, names: Sequence[str], file: str) -> tuple[str, ...]:
        """Give the bands of a file the roles the user said they have.

        Raises
        ------
        UsageError
            The file has no band of that number.
        """
        named = list(names)
        for role, place in self.roles.items():
            if place > len(named):
                raise UsageError(
                    f"The bands option calls band {place} of {file} {role}",
                    expected=f"a band from 1 to {len(named)}",
                    came=str(place),
                    advice="count the bands of the file from 1, as GIS programs show them",
                )
            named = ["" if name == role else name for name in named]
            named[place - 1] = role
        return tuple(named)

    def pick(self, names: Sequence[str], file: str) -> tuple[int, ...]:
        """Return the places (from 0) of the selected bands among `names`.

        Raises
        ------
        MissingBands
            A selected band is not among them.
        """
        if not self.selected:
            return tuple(index for index, name in enumerate(names) if name not in MASKS)
        known = {name.lower(): index for index, name in reversed(list(enumerate(names)))}
        absent = [name for name in self.selected if name.lower() not in known]
        if absent:
            raise MissingBands(
                f"{file} has no band {', '.join(absent)}",
                expected=", ".join(self.selected),
                came=", ".join(
                    name or f"band {i} without a name" for i, name in enumerate(names, 1)
                ),
                advice="say which band is which, as in --bands red=3,nir=4, or ask for others",
            )
        return tuple(known[name.lower()] for name in self.selected)


def parse_bands(bands: str | Sequence[str] | Mapping[str, int] | BandChoice | None) -> BandChoice:
    """Understand what a user says about bands.

    Parameters
    ----------
    bands : str, sequence of str, mapping of str to int, or None
        ``"red=3,nir=4"`` (or the mapping ``{"red": 3, "nir": 4}``) names the bands of a file that
        does not name them itself, counted from 1. ``"B04,B08"`` or ``"red,nir"`` (or a sequence)
        chooses which bands to use.

    Raises
    ------
    UsageError
        The text is neither, names an unknown role, or says two things of one band.
    """
    if bands is None:
        return BandChoice()
    if isinstance(bands, BandChoice):
        return bands
    if isinstance(bands, Mapping):
        parts = [f"{role}={place}" for role, place in bands.items()]
    else:
        parts = bands.split(",") if isinstance(bands, str) else list(bands)
    parts = [part.strip() for part in parts]
    naming = [part for part in parts if "=" in part]
    if not parts or not all(parts) or 0 < len(naming) < len(parts):
        raise _misunderstood(",".join(parts), "an empty or half-and-half list")
    return BandChoice(roles=_roles(parts)) if naming else BandChoice(selected=_selected(parts))


def _selected(parts: Sequence[str]) -> tuple[str, ...]:
    selected = tuple(role_of(part) or part for part in parts)
    for name in MASKS & set(selected):
        raise _misunderstood(",".join(parts), f"{name}, which is a mask and no predictor")
    if len(set(selected)) < len(selected):
        raise _misunderstood(",".join(parts), "one band twice")
    return selected


def _roles(parts: Sequence[str]) -> dict[str, int]:
    text = ",".join(parts)
    roles: dict[str, int] = {}
    for part in parts:
        said, _, place = (piece.strip() for piece in part.partition("="))
        role = role_of(said)
        if role is None:
            raise _misunderstood(text, f"{said!r}, which is no role thermosharp knows")
        if not place.isdecimal() or int(place) < 1:
            raise _misunderstood(text, f"{place!r} where the number of a band belongs")
        if role in roles or int(place) in roles.values():
            raise _misunderstood(text, f"{part!r} beside another word on the same band")
        roles[role] = int(place)
    return roles


def _misunderstood(text: str, came: str) -> UsageError:
    return UsageError(
        f"The bands option {text!r} cannot be understood",
        expected="either roles with band numbers counted from 1, as in red=3,nir=4, or names of "
        "the bands to use, as in B04,B08 or red,nir",
        came=came,
        advice="roles are "
        + ", ".join([*SENTINEL2.values(), *sorted(OTHER)])
        + "; Sentinel-2 codes such as B04 do as well",
    )
