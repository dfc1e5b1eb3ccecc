"""What is configured: where services are, who one is there, and what a project wants.

Addresses and credentials come from the environment, or from a file ``.env`` in the working
folder; credentials for NASA from ``~/.netrc`` too. A project is a TOML file.
"""

import netrc
import os
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from thermosharp.errors import UsageError
from thermosharp.sources.accounts import Login

#: Names of the OAuth client's variables: the tutorial's, and those of the sentinelhub library.
_CLIENT_ID = AliasChoices("OAUTH_CLIENT_ID", "SH_CLIENT_ID")
_CLIENT_SECRET = AliasChoices("OAUTH_CLIENT_SECRET", "SH_CLIENT_SECRET")

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")

_FROM_ENV = SettingsConfigDict(
    env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True,
    hide_input_in_errors=True, populate_by_name=True,
)  # fmt: skip


class Services(BaseSettings):
    """Addresses of all services; ``THERMOSHARP_CDSE_URL`` in the environment sets `cdse_url`."""

    model_config = SettingsConfigDict(**_FROM_ENV, env_prefix="THERMOSHARP_")

    cdse_url: str = "https://sh.dataspace.copernicus.eu"
    cdse_token_url: str = (
        "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
    )
    stac_url: str = "https://earth-search.aws.element84.com/v1"
    landsat_stac_url: str = "https://planetarycomputer.microsoft.com/api/stac/v1"
    sign_url: str = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    appeears_url: str = "https://appeears.earthdatacloud.nasa.gov/api"
    cmr_url: str = "https://cmr.earthdata.nasa.gov/search"
    earthdata_login_url: str = "https://urs.earthdata.nasa.gov"

    @field_validator("*")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address such as https://example.org/api")
        return value.rstrip("/")

    @field_validator("cdse_url", "cdse_token_url", "appeears_url", "earthdata_login_url")
    @classmethod
    def _is_private(cls, value: str) -> str:
        """Secrets go to these: in the clear only within this machine."""
        parts = urlsplit(value)
        if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
            raise ValueError("an address that begins with https://")
        return value

    def sign_url_for(self, url: str) -> str | None:
        """Return the address that signs links of a catalogue, where both are of one service."""
        return self.sign_url if urlsplit(url).netloc == urlsplit(self.sign_url).netloc else None


class Credentials(BaseSettings):
    """Accounts, as far as there are any. Never shown."""

    model_config = _FROM_ENV

    client_id: SecretStr | None = Field(default=None, validation_alias=_CLIENT_ID)
    client_secret: SecretStr | None = Field(default=None, validation_alias=_CLIENT_SECRET)
    earthdata_username: str = Field(default="", validation_alias="EARTHDATA_USERNAME", repr=False)
    earthdata_password: SecretStr | None = Field(
        default=None, validation_alias="EARTHDATA_PASSWORD"
    )
    earthdata_token: SecretStr | None = Field(default=None, validation_alias="EARTHDATA_TOKEN")

    def oauth_client(self, cdse_url: str) -> tuple[SecretStr, SecretStr] | None:
        """Return the OAuth client for the Copernicus Data Space, if there is one.

        From the environment or ``.env``; else from the profile of the sentinelhub library that is
        in use, if it is for the same service.

        Raises
        ------
        UsageError
            There is only one half of it.
        """
        if self.client_id and self.client_secret:
            return self.client_id, self.client_secret
        if self.client_id or self.client_secret:
            missing = "OAUTH_CLIENT_SECRET" if self.client_id else "OAUTH_CLIENT_ID"
            raise UsageError(
                "Only one half of the OAuth client is set",
                expected="OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET",
                came=f"no {missing}",
                advice=f"set {missing} in .env or the environment (docs/accounts.md)",
            )
        return _from_profile(cdse_url)

    def earthdata(self, login_url: str) -> Login:
        """Return the Earthdata account, from the environment, ``.env`` or ``~/.netrc``."""
        username, password = self.earthdata_username, self.earthdata_password
        if not (username and password):
            found = _from_netrc(urlsplit(login_url).hostname or "")
            if found is not None:
                username, password = found
        return Login(token=self.earthdata_token, username=username, password=password)


def _from_profile(cdse_url: str) -> tuple[SecretStr, SecretStr] | None:
    config = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    file = config / "sentinelhub" / "config.toml"
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    profile = profiles.get(os.environ.get("SH_PROFILE", "default-profile"), {})
    if not isinstance(profile, dict) or profile.get("sh_base_url", "").rstrip("/") != cdse_url:
        return None
    ours = profile.get("sh_client_id"), profile.get("sh_client_secret")
    return (SecretStr(str(ours[0])), SecretStr(str(ours[1]))) if all(ours) else None


def _from_netrc(host: str) -> tuple[str, SecretStr] | None:
    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        found = netrc.netrc(str(path)).hosts.get(host)
    except OSError:
        return None
    except netrc.NetrcParseError as error:
        raise UsageError(
            f"{path} cannot be read",
            expected=f"a line such as: machine {host} login NAME password SECRET",
            came=f"a mistake in line {error.lineno}",
        ) from None
    return (found[0], SecretStr(found[2])) if found and found[2] else None


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Sentinel2Settings(_Table):
    """Table ``[sentinel2]`` of a project."""

    source: Literal["auto", "cdse", "stac"] = "auto"
    resolution: Literal[10, 20] = 20
    max_cloud: float = Field(default=30.0, ge=0, le=100)
    max_pu: float = Field(default=500.0, ge=0)
    within_days: int = Field(default=30, ge=0, le=366)
    fill_days: int | None = Field(default=None, ge=1, le=366)


class ThermalSettings(_Table):
    """Table ``[thermal]`` of a project."""

    sensor: Literal["ecostress", "landsat"] = "ecostress"
    source: Literal["auto", "earthdata", "appeears"] = "auto"
    max_cloud: float = Field(default=60.0, ge=0, le=100)
    wait_hours: float = Field(default=24.0, gt=0)


class SharpenSettings(_Table):
    """Table ``[sharpen]`` of a project."""

    method: str = "detail"
    seed: int = 0
    min_usable: float = Field(default=0.25, ge=0, le=1)
    celsius: bool = False
    force: list[str] = []


class Project(_Table):
    """A project file: an area, a period, a folder, and what else is wanted.

    Attributes
    ----------
    bbox : str or None
        ``W,S,E,N`` in degrees; a list of four numbers is understood too.
    aoi : Path or None
        GeoJSON; beside the project file if it is no absolute path. One of the two must be given.
    dates : str
        ``FROM/TO``.
    output : Path
        Beside the project file if it is no absolute path.
    """

    bbox: str | None = None
    aoi: Path | None = None
    dates: str
    output: Path
    sentinel2: Sentinel2Settings = Sentinel2Settings()
    thermal: ThermalSettings = ThermalSettings()
    sharpen: SharpenSettings = SharpenSettings()
    services: dict[str, str] = {}

    @field_validator("output", mode="before")
    @classmethod
    def _on_a_disk(cls, value: Any) -> Any:
        if "://" in str(value):
            raise ValueError("a local or shared folder: downloads are resumed and checked there")
        return value

    @field_validator("bbox", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("dates", mode="before")
    @classmethod
    def _period(cls, value: Any) -> Any:
        if isinstance(value, list):
            return "/".join(map(str, value))
        return str(value) if isinstance(value, date) else value

    @field_validator("services")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - set(Services.model_fields))
        if unknown:
            raise ValueError(
                f"no service {unknown[0]}; there are {', '.join(Services.model_fields)}"
            )
        return value

    @model_validator(mode="after")
    def _one_area(self) -> "Project":
        if (self.bbox is None) == (self.aoi is None):
            raise ValueError("one of bbox and aoi")
        return self


def read_services(overrides: dict[str, str] | None = None) -> Services:
    """Return the addresses of services: of the project, else of the environment, else the usual.

    Raises
    ------
    UsageError
        One is no address.
    """
    try:
        return Services(**(overrides or {}))
    except (UnicodeDecodeError, OSError) as error:
        raise _bad_dotenv(error) from None
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(
            f"{name} is no address of a service",
            expected=str(first["msg"]).removeprefix("Value error, "),
            advice=f"set THERMOSHARP_{name.upper()}, or leave it away for the usual one",
        ) from None


def read_credentials() -> Credentials:
    """Return the accounts of the environment and of ``.env``.

    Raises
    ------
    UsageError
        ``.env`` cannot be read.
    """
    try:
        return Credentials()
    except (UnicodeDecodeError, OSError) as error:
        raise _bad_dotenv(error) from None


def _bad_dotenv(error: Exception) -> UsageError:
    came = "another encoding" if isinstance(error, UnicodeDecodeError) else type(error).__name__
    return UsageError(
        "The file .env cannot be read",
        expected="text in UTF-8, with lines such as EARTHDATA_TOKEN=...",
        came=came,
        advice="save it again as plain text in UTF-8, or set the variables in the environment",
    )


def read_project(path: Path) -> Project:
    """Read a project file.

    Raises
    ------
    UsageError
        There is no such file, it is no TOML, or holds something unknown or impossible.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"The project {path} cannot be read",
            came=error.strerror or str(error),
            advice="`thermosharp init` writes one to start from",
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no TOML", came=str(error)) from None
    try:
        project = Project(**told)
    except ValidationError as error:
        raise _wrong(path, error) from None
    beside = path.absolute().parent
    return project.model_copy(
        update={
            "output": beside / project.output,
            "aoi": None if project.aoi is None else beside / project.aoi,
        }
    )


def _wrong(path: Path, error: ValidationError) -> UsageError:
    """Say what is wrong with a project, in its own words."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "bbox or aoi"
    if first["type"] == "extra_forbidden":
        table: Any = Project
        for part in first["loc"][:-1]:
            table = table.model_fields[part].annotation
        return UsageError(
            f"{path.name} has an unknown key {place}",
            expected=", ".join(table.model_fields),
            advice="correct or remove it; `thermosharp init` writes all there are",
        )
    return UsageError(
        f"{path.name} has something impossible at {place}",
        expected=str(first["msg"]).removeprefix("Value error, "),
        advice="`thermosharp init` writes an example with comments",
    )
