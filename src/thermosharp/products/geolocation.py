"""What a product says of its own geolocation: tags, metadata and the files that come with it.

ECOSTRESS tells in three places: AppEEARS writes 'orbit correction performed' into its GeoTIFFs and
into ``<product>-Statistics.csv``; LP DAAC writes ``GeolocationAccuracyQA`` (Best, Good, Suspect,
Poor or No Match) into ``<granule>.json``. Whatever cannot be read tells nothing.
"""

import csv
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermosharp.products.filenames import GranuleName
from thermosharp.products.siblings import beside

log = logging.getLogger(__name__)

_ORBIT = "orbit_correction_performed"
_ACCURACY = "geolocationaccuracyqa"
#: Sidecars are a few kilobytes; larger ones are none, bytes.
_LARGEST = 20_000_000


def geolocation_of(path: Path, name: GranuleName, tags: Mapping[str, str]) -> dict[str, Any]:
    """Gather what is told of the geolocation of an ECOSTRESS GeoTIFF.

    Returns
    -------
    dict
        ``orbit_corrected`` (bool or None) and ``accuracy`` (str or None).
    """
    told = told_by(tags)
    if name.kind == "tile":
        told = _more(told, told_by(_flat(_sidecar(path, name))))
    elif told["orbit_corrected"] is None:
        told = _more(told, _statistics(path))
    return told


def told_by(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Read both flags off tags under any spelling of their names."""
    plain = {key.lower().replace(" ", "_"): value for key, value in tags.items()}
    accuracy = plain.get(_ACCURACY)
    return {
        "orbit_corrected": _truth(plain.get(_ORBIT, plain.get("orbitcorrectionperformed"))),
        "accuracy": None if accuracy is None else str(accuracy),
    }


def _more(told: dict[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    return {key: further.get(key) if value is None else value for key, value in told.items()}


def _truth(value: Any) -> bool | None:
    text = str(value).strip().lower()
    if text in ("true", "1", "1.0", "yes"):
        return True
    return False if text in ("false", "0", "0.0", "no") else None


def _sidecar(path: Path, name: GranuleName) -> Any:
    """Return the JSON that LP DAAC puts beside the layers of a granule, if it is there."""
    granule = path.name[: path.name.rindex(f"_{name.layer}")]
    file = beside(path, f"{granule}.json")
    return {} if file is None else _json(file)


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size <= _LARGEST:
            return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s tells nothing: %s", path.name, error)
    return {}


def _flat(document: Any) -> dict[str, Any]:
    """Return StandardMetadata and ProductMetadata of a sidecar as one table."""
    if not isinstance(document, dict):
        return {}
    parts = [document, document.get("StandardMetadata"), document.get("ProductMetadata")]
    return {
        str(key): value for part in parts if isinstance(part, dict) for key, value in part.items()
    }


def _statistics(path: Path) -> dict[str, Any]:
    """Look an image up in the table AppEEARS delivers with it."""
    wanted = path.stem.replace(".", "_").lower()
    for table in sorted(path.parent.glob("*-Statistics.csv"))[:10]:
        try:
            if table.stat().st_size > _LARGEST:
                continue
            with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
                for row in csv.DictReader(file):
                    if str(row.get("File Name", "")).lower() == wanted:
                        return told_by({str(key): value for key, value in row.items()})
        except (OSError, csv.Error) as error:
            log.warning("%s tells nothing: %s", table.name, error)
    return {}
