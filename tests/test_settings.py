"""Settings: addresses, credentials, project files."""

import tomllib
from pathlib import Path

import pytest

from thermosharp.errors import UsageError
from thermosharp.project_file import example, render, write_project
from thermosharp.settings import (
    Project,
    Services,
    read_credentials,
    read_project,
    read_services,
)

VARIABLES = (
    "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SH_CLIENT_ID", "SH_CLIENT_SECRET", "SH_PROFILE",
    "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD", "EARTHDATA_TOKEN", "NETRC",
)  # fmt: skip
LOGIN = "https://urs.earthdata.nasa.gov"


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """No account, whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("prefix", ["OAUTH", "SH"])
def test_oauth_client_of_the_environment(monkeypatch, prefix):
    monkeypatch.setenv(f"{prefix}_CLIENT_ID", "me")
    monkeypatch.setenv(f"{prefix}_CLIENT_SECRET", "s3cret")
    client = read_credentials().oauth_client(Services().cdse_url)
    assert [part.get_secret_value() for part in client] == ["me", "s3cret"]


def test_oauth_client_of_dotenv_and_never_shown(tmp_path):
    (tmp_path / ".env").write_text(
        'OAUTH_CLIENT_ID=me\nOAUTH_CLIENT_SECRET="s3cret"\nOTHER=1\nEARTHDATA_TOKEN=t0ken\n'
    )
    credentials = read_credentials()
    assert credentials.oauth_client("x")[1].get_secret_value() == "s3cret"
    shown = repr(credentials) + str(credentials) + repr(credentials.earthdata(LOGIN))
    assert "s3cret" not in shown and "t0ken" not in shown


def test_the_example_of_dotenv_as_it_is_means_no_account(tmp_path):
    example = Path(__file__).parents[1] / ".env.example"
    (tmp_path / ".env").write_text(example.read_text(encoding="utf-8"))
    credentials = read_credentials()
    assert credentials.oauth_client("x") is None and not credentials.earthdata(LOGIN).known
    names = set(example.read_text(encoding="utf-8").replace("=", " ").split())
    assert {"OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "EARTHDATA_TOKEN"} <= names


def test_half_an_oauth_client_names_the_other_half(monkeypatch):
    monkeypatch.setenv("OAUTH_CLIENT_ID", "me")
    with pytest.raises(UsageError, match="no OAUTH_CLIENT_SECRET"):
        read_credentials().oauth_client("x")


def test_profile_of_the_client_library_where_it_is_for_the_same_service(tmp_path, monkeypatch):
    folder = tmp_path / "config" / "sentinelhub"
    folder.mkdir(parents=True)
    url = Services().cdse_url
    (folder / "config.toml").write_text(
        f'[cdse]\nsh_client_id = "me"\nsh_client_secret = "s"\nsh_base_url = "{url}"\n'
        '[other]\nsh_client_id = "me"\nsh_client_secret = "s"\n'
    )
    assert read_credentials().oauth_client(url) is None
    monkeypatch.setenv("SH_PROFILE", "cdse")
    assert read_credentials().oauth_client(url)[0].get_secret_value() == "me"
    monkeypatch.setenv("SH_PROFILE", "other")
    assert read_credentials().oauth_client(url) is None


def test_earthdata_account_of_netrc(tmp_path):
    path = tmp_path / ".netrc"
    path.write_text("machine urs.earthdata.nasa.gov\n  login somebody\n  password s3cret\n")
    path.chmod(0o600)
    login = read_credentials().earthdata(LOGIN)
    assert login.basic == ("somebody", "s3cret") and login.known and "s3cret" not in repr(login)
    assert not read_credentials().earthdata("https://elsewhere.org").known


def test_environment_outranks_netrc(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine urs.earthdata.nasa.gov login a password b\n")
    monkeypatch.setenv("EARTHDATA_USERNAME", "c")
    monkeypatch.setenv("EARTHDATA_PASSWORD", "d")
    assert read_credentials().earthdata(LOGIN).basic == ("c", "d")


def test_a_broken_netrc_is_told_without_its_content(tmp_path):
    (tmp_path / ".netrc").write_text("machine x login a passwort s3cret\n")
    with pytest.raises(UsageError, match="machine urs") as caught:
        read_credentials().earthdata(LOGIN)
    assert "s3cret" not in str(caught.value)


def test_addresses_of_services(monkeypatch):
    assert read_services().stac_url == "https://earth-search.aws.element84.com/v1"
    monkeypatch.setenv("THERMOSHARP_STAC_URL", "http://127.0.0.1:8/v1/")
    assert read_services().stac_url == "http://127.0.0.1:8/v1"
    assert read_services({"stac_url": "https://mirror.org"}).stac_url == "https://mirror.org"
    monkeypatch.setenv("THERMOSHARP_CMR_URL", "no address")
    with pytest.raises(UsageError, match="THERMOSHARP_CMR_URL"):
        read_services()


def test_all_addresses_are_documented():
    text = (Path(__file__).parents[1] / "docs" / "accounts.md").read_text(encoding="utf-8")
    for name in Services.model_fields:
        assert f"THERMOSHARP_{name.upper()}" in text


def test_secrets_go_unencrypted_only_within_this_machine(monkeypatch):
    monkeypatch.setenv("THERMOSHARP_STAC_URL", "http://mirror.org")
    monkeypatch.setenv("THERMOSHARP_APPEEARS_URL", "http://localhost:8/api")
    read_services()
    monkeypatch.setenv("THERMOSHARP_APPEEARS_URL", "http://mirror.org/api")
    with pytest.raises(UsageError, match="https"):
        read_services()


def test_a_dotenv_that_is_no_text(tmp_path):
    (tmp_path / ".env").write_bytes("EARTHDATA_TOKEN=ü".encode("utf-16"))
    with pytest.raises(UsageError, match=r"\.env cannot be read"):
        read_credentials()
    with pytest.raises(UsageError, match=r"\.env cannot be read"):
        read_services()


def test_links_are_signed_only_for_the_service_that_signs():
    services = read_services()
    assert services.sign_url_for(services.landsat_stac_url) == services.sign_url
    assert services.sign_url_for(services.stac_url) is None


def test_the_example_holds_every_setting_and_is_valid(tmp_path):
    path = tmp_path / "project.toml"
    path.write_text(example())
    told = tomllib.loads(example())
    project = read_project(path)
    assert project.output == tmp_path / "athens"
    for name, table in (
        ("sentinel2", project.sentinel2), ("thermal", project.thermal),
        ("sharpen", project.sharpen),
    ):  # fmt: skip
        optional = {"fill_days"}
        assert set(told[name]) == set(type(table).model_fields) - optional


def test_a_project_survives_writing_and_reading(tmp_path):
    project = Project(
        aoi=tmp_path / 'my "area".geojson', dates="2023-07-01/2023-07-31", output=tmp_path / "o",
        sentinel2={"fill_days": 5, "resolution": 10}, sharpen={"method": "bicubic"},
        services={"stac_url": "http://127.0.0.1:8/v1"},
    )  # fmt: skip
    (tmp_path / "o").mkdir()
    assert read_project(write_project(project, tmp_path / "o")) == project
    assert "fill_days = 5" in render(project)


GOOD = 'bbox = "1,2,3,4"\ndates = "2023-07-01/2023-07-31"\noutput = "o"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "colour = 3\n", r"unknown key colour.*dates.*output"),
        (GOOD + "[sentinel2]\nresolutoin = 20\n", r"sentinel2.resolutoin.*resolution"),
        (GOOD + "[sentinel2]\nresolution = 15\n", r"impossible at sentinel2.resolution.*10.*20"),
        (GOOD + "[sharpen]\nmin_usable = 75\n", "sharpen.min_usable"),
        (GOOD + "[services]\nstac = 'x'\n", "stac_url"),
        (GOOD + 'aoi = "x.geojson"\n', "one of bbox and aoi"),
        ('dates = "2023-07-01"\noutput = "o"\n', "one of bbox and aoi"),
        ('bbox = "1,2,3,4"\noutput = "o"\n', "dates"),
        ("bbox = [1, 2", "no TOML"),
    ],
)
def test_what_is_wrong_with_a_project_is_said(tmp_path, text, told):
    path = tmp_path / "project.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_project(path)


def test_a_project_that_is_not_there():
    with pytest.raises(UsageError, match="thermosharp init"):
        read_project(Path("nowhere.toml"))


def test_lists_and_dates_of_toml_are_understood(tmp_path):
    path = tmp_path / "project.toml"
    path.write_text('bbox = [1, 2, 3.5, 4]\ndates = [2023-07-01, 2023-07-31]\noutput = "o"\n')
    project = read_project(path)
    assert (project.bbox, project.dates) == ("1,2,3.5,4", "2023-07-01/2023-07-31")
