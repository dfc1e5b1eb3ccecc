"""``thermosharp report``: what is made of a folder of results as a whole."""

from pathlib import Path

import click

from thermosharp import cli_options as options
from thermosharp.cli_help import Command
from thermosharp.cli_options import read_temperature, start_log
from thermosharp.locations import location


@click.command(cls=Command)
@click.argument(
    "folder", type=location, metavar="FOLDER", help="Folder of results, as given to -o."
)
@options.zones
@options.hotter_than
@click.option("--animation", is_flag=True, help="Make series.gif and series.webp too.")
@click.option("--netcdf", is_flag=True, help="Make series.nc (CF conventions) too.")
@click.option(
    "--celsius/--kelvin", default=None, help="Unit of the figures.", show_default="as they are"
)
@options.verbose
def report(
    folder: Path,
    zones: Path | None,
    hotter_than: str | None,
    animation: bool,
    netcdf: bool,
    celsius: bool | None,
    verbose: bool,
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
        click.echo(path)
