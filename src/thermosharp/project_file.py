"""The project file as it is written: every setting, with a word about it."""

import json
from pathlib import Path

from thermosharp.settings import Project
from thermosharp.writing import write_files

NAME = "project.toml"

_EXAMPLE = Project(
    bbox="23.63,37.91,23.99,38.07", dates="2023-07-01/2023-07-31", output=Path("athens")
)

_TEXT = """\
# A project of thermosharp. Run it with: thermosharp run project.toml
# Accounts do not belong here, but into .env or the environment (see docs/accounts.md).

# Where: a box W,S,E,N in degrees, as bboxfinder.com prints it, or a GeoJSON file.
{area}

# When the thermal images were taken: FROM/TO, both days included.
dates = {dates}

# Folder for everything; beside this file if it is no absolute path.
output = {output}

[sentinel2]
# auto: Copernicus Data Space where there is an OAuth client, else the open archive (stac).
source = {s2.source}
# Pixels of the maps, m: 20 or 10.
resolution = {s2.resolution}
# Most cloud cover the catalogue may tell of a tile, %.
max_cloud = {s2.max_cloud}
# Most processing units to spend at Copernicus; 10000 a month are free.
max_pu = {s2.max_pu}
# Most days between a thermal image and its Sentinel-2 one.
within_days = {s2.within_days}
# Fill clouds from clear dates at most so many days away.
{fill}

[thermal]
# ecostress or landsat.
sensor = {th.sensor}
# Of ECOSTRESS: earthdata (tiles), or appeears (cut to the area; takes hours).
source = {th.source}
# Landsat: most cloud cover of a scene, %.
max_cloud = {th.max_cloud}
# appeears: longest wait for an order, hours.
wait_hours = {th.wait_hours}

[sharpen]
# detail, dms, atprk, tsharp or bicubic.
method = {sh.method}
seed = {sh.seed}
# Skip scenes with a smaller usable share (0 to 1).
min_usable = {sh.min_usable}
# Pictures in degrees Celsius; the maps are in kelvin always.
celsius = {sh.celsius}
# Go on in spite of what a check finds, by its code, as in ["PREDICTORS_MASKED"].
force = {sh.force}

[services]
# Addresses of services, where they are not the usual ones, as in
# stac_url = "https://planetarycomputer.microsoft.com/api/stac/v1"
{services}"""


class _Toml:
    """Shows the settings of a table as TOML values, which JSON strings and numbers are."""

    def __init__(self, table: object) -> None:
        self._table = table

    def __getattr__(self, name: str) -> str:
        return json.dumps(getattr(self._table, name))


def example() -> str:
    """Return a project file to start from."""
    return render(_EXAMPLE)


def render(project: Project) -> str:
    """Return a project as a commented TOML file."""
    key, value = ("bbox", project.bbox) if project.aoi is None else ("aoi", str(project.aoi))
    fill = project.sentinel2.fill_days
    return _TEXT.format(
        area=f"{key} = {json.dumps(value)}",
        dates=json.dumps(project.dates),
        output=json.dumps(str(project.output)),
        fill="# fill_days = 10" if fill is None else f"fill_days = {fill}",
        s2=_Toml(project.sentinel2),
        th=_Toml(project.thermal),
        sh=_Toml(project.sharpen),
        services="".join(f"{name} = {json.dumps(url)}\n" for name, url in project.services.items()),
    )


def write_project(project: Project, folder: Path) -> Path:
    """Write the project into its own output folder, so that the run can be repeated.

    Raises
    ------
    WriteFailed
    """
    absolute = {"output": Path(), "aoi": project.aoi and project.aoi.absolute()}
    text = render(project.model_copy(update=absolute))
    return write_files(folder, {NAME: text.encode()})[0]
