"""Pictures and styles of scenes that were written without them."""

from dataclasses import replace

from thermosharp.report.quicklook import MAX_PIXELS, figure_png
from thermosharp.results.stored import StoredScene
from thermosharp.writing import write_files
from thermosharp.writing.lock import locked
from thermosharp.writing.record import json_bytes
from thermosharp.writing.styles import styles

#: Longest side, in pixels, of what the colours of a style are chosen from.
_SAMPLED = 1500


def completed(scene: StoredScene, *, celsius: bool = False) -> StoredScene:
    """Draw the picture and the styles of a scene of ``--maps-only``; others stay as they are.

    Parameters
    ----------
    scene : StoredScene
    celsius : bool
        Degrees Celsius in the picture.

    Returns
    -------
    StoredScene
        Its record, on the disk too, names all of its files.

    Raises
    ------
    UnreadableFile
        A GeoTIFF is damaged.
    WriteFailed
        A file could not be written.
    """
    picture, record = f"{scene.name}.png", f"{scene.name}.json"
    files = scene.record["files"]
    if picture in files:
        return scene
    png = figure_png(scene.picture(MAX_PIXELS), celsius=celsius)
    drawn = {picture: png, **_styles(scene)}
    maps = [name for name in files if name != record]
    about = {**scene.record, "files": [*maps, *drawn, record]}
    contents = {**drawn, record: json_bytes(about)}
    write_files(scene.folder, contents, guard=locked(scene.folder))
    return replace(scene, record=about)


def _styles(scene: StoredScene) -> dict[str, bytes]:
    """Make the styles from about as many pixels as they would have been made from at once."""
    known = scene.has("uncertainty")
    return styles(
        scene.name,
        observed=scene.coarse("observed").values,
        sharp=scene.thinned("sharp", _SAMPLED),
        residual=scene.coarse("residual").values,
        uncertainty=scene.thinned("uncertainty", _SAMPLED) if known else None,
    )
