"""Which source answers a query, given what is configured and who one is."""

from pathlib import Path
from typing import Literal

from thermosharp.errors import UsageError
from thermosharp.settings import Credentials, Sentinel2Settings, Services, ThermalSettings
from thermosharp.sources.appeears import AppeearsOrder, Waiting
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.copernicus import Copernicus
from thermosharp.sources.earthdata import EcostressTiles
from thermosharp.sources.landsat import LandsatFetch
from thermosharp.sources.plan import Fetch, Tell, silent
from thermosharp.sources.sentinel2 import Archive, Budget, Sentinel2Fetch
from thermosharp.sources.stac import OpenArchive

#: Folder, inside that of the images, for answers that cost processing units.
CACHE = ".sentinelhub"


def sentinel2(
    area: Area,
    period: Period,
    folder: Path,
    *,
    settings: Sentinel2Settings,
    services: Services,
    credentials: Credentials,
    margin: int = 0,
) -> Sentinel2Fetch:
    """Return the fetch of Sentinel-2: from Copernicus where there is an OAuth client, else open.

    Raises
    ------
    UsageError
        Copernicus is asked for, but there is no OAuth client.
    """
    return Sentinel2Fetch(
        archive=_archive(settings.source, folder, services, credentials),
        area=area,
        period=period,
        folder=folder,
        resolution=settings.resolution,
        margin=margin,
        max_cloud=settings.max_cloud,
        budget=Budget(settings.max_pu),
        fill_days=settings.fill_days,
    )


def _archive(
    source: Literal["auto", "cdse", "stac"],
    folder: Path,
    services: Services,
    credentials: Credentials,
) -> Archive:
    client = None if source == "stac" else credentials.oauth_client(services.cdse_url)
    if client is not None:
        return Copernicus(
            url=services.cdse_url,
            token_url=services.cdse_token_url,
            client_id=client[0],
            client_secret=client[1],
            cache=folder / CACHE,
        )
    if source == "cdse":
        raise UsageError(
            "There is no OAuth client for the Copernicus Data Space",
            expected="OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET in .env or the environment",
            came="neither",
            advice="make one (docs/accounts.md), or use --source stac, which needs no account",
        )
    url = services.stac_url
    return OpenArchive(url=url, sign_url=services.sign_url_for(url))


def thermal(
    area: Area,
    period: Period,
    folder: Path,
    *,
    settings: ThermalSettings,
    services: Services,
    credentials: Credentials,
    tell: Tell = silent,
) -> Fetch:
    """Return the fetch of thermal images: ECOSTRESS tiles unless told otherwise."""
    if settings.sensor == "landsat":
        url = services.landsat_stac_url
        return LandsatFetch(
            area=area,
            period=period,
            folder=folder,
            url=url,
            sign_url=services.sign_url_for(url),
            max_cloud=settings.max_cloud,
        )
    login = credentials.earthdata(services.earthdata_login_url)
    if settings.source == "appeears":
        return AppeearsOrder(
            area=area,
            period=period,
            folder=folder,
            login=login,
            url=services.appeears_url,
            waiting=Waiting(deadline=settings.wait_hours * 3600),
            tell=tell,
        )
    return EcostressTiles(
        area=area,
        period=period,
        folder=folder,
        login=login,
        cmr_url=services.cmr_url,
        login_url=services.earthdata_login_url,
        tell=tell,
    )
