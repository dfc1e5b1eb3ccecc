"""``thermosharp report``: what is made of a folder of results as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from thermosharp.cli_options import PLACE, HotterThan, Verbose, Zones, read_temperature, start_log


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results, as given to -o.", **PLACE)],
    zones: Zones = None,
    hotter_than: HotterThan = None,
    animation: Annotated[
        bool, typer.Option("--animation", help="Make series.gif and series.webp too.")
    ] = False,
    netcdf: Annotated[
        bool, typer.Option("--netcdf", help="Make series.nc (CF conventions) too.")
    ] = False,
    celsius: Annotated[
        bool | None,
        typer.Option("--celsius/--kelvin", help="Unit of the figures.", show_default="as they are"),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Make the report of a folder of results anew.

    Writes report.html (one file that opens offline, with the maps in it), heat.csv (statistics of
    each scene, and of the polygons of --zones), a STAC catalogue in stac/, and gives the figures of a
    series one colour scale. Needs no other file than those in the folder.

    For instance:

      thermosharp report sharpened

      thermosharp report sharpened --zones parks.geojson --hotter-than 35C --animation
    """  # noqa: E501
    start_log(verbose)
    from thermosharp.results.build import build_report
    from thermosharp.results.series import write_animation, write_netcdf

    threshold = read_temperature(hotter_than)
    paths = [build_report(folder, zones=zones, hotter_than=threshold, celsius=celsius)]
    if animation:
        paths += write_animation(folder, celsius=celsius)
    if netcdf:
        paths.append(write_netcdf(folder))
    for path in paths:
        typer.echo(path)
