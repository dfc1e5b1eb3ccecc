"""Boxes, periods and grids of queries."""

import json
from datetime import date

import pytest

from thermosharp.errors import UsageError
from thermosharp.sources.areas import Area, Period, blocks


def test_a_box_becomes_an_aligned_utm_grid():
    (grid,) = Area.parse("23.63,37.91,23.99,38.07").grids(20)
    assert grid.crs.epsg == 32634 and grid.resolution.xy == (20, -20)
    assert all(side % 20 == 0 for side in grid.boundingbox)
    west, south, east, north = grid.geographic_extent.boundingbox.bbox
    assert west <= 23.63 and south <= 37.91 and east >= 23.99 and north >= 38.07
    (fine,) = Area.parse("23.63,37.91,23.99,38.07").grids(10)
    assert fine.boundingbox == grid.boundingbox and fine.shape == tuple(2 * n for n in grid.shape)


def test_a_margin_and_a_wider_area_reach_as_far_to_all_sides():
    area = Area.parse("23.63,37.91,23.99,38.07")
    (grid,), (wide,) = area.grids(20), area.grids(20, margin=560)
    assert wide.boundingbox.left == grid.boundingbox.left - 560
    assert wide.boundingbox.top == grid.boundingbox.top + 560
    (wider,) = area.widened(560).grids(20)
    for side, other in zip(wider.boundingbox, wide.boundingbox, strict=True):
        assert abs(side - other) < 100
    assert Area.parse("179.8,-17.2,-179.9,-17.0").widened(1000).boxes[0][2] == 180


def test_southern_areas_lie_in_southern_zones():
    assert Area.parse("18.3,-34.2,18.6,-33.8").grids(20)[0].crs.epsg == 32734


def test_area_over_a_border_of_zones_is_one_grid():
    (grid,) = Area.parse("23.9,37.9,24.3,38.0").grids(20)
    assert grid.crs.epsg == 32635


def test_area_over_the_antimeridian_has_two_parts():
    area = Area.parse("179.8,-17.2,-179.9,-17.0")
    assert area.boxes == ((179.8, -17.2, 180.0, -17.0), (-180.0, -17.2, -179.9, -17.0))
    assert [grid.crs.epsg for grid in area.grids(20)] == [32760, 32701]
    assert area.extent.window(area.grids(20)[0]) is not None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,2,3", "no box"),
        ("lst", "no box"),
        ("37.91,123.63,38.07,123.99", "swapped; try 123.63,37.91,123.99,38.07"),
        ("23.99,37.91,23.63,38.07", "west beyond its east"),
        ("23.63,38.07,23.99,37.91", "south at or above"),
        ("500000,4100000,510000,4110000", "degrees, not metres"),
        ("nan,1,2,3", "not finite"),
        ("170,-100,-170,-17", "globe|beyond"),
    ],
)
def test_impossible_boxes(text, told):
    with pytest.raises(UsageError, match=told):
        Area.parse(text)


def test_too_large_an_area():
    with pytest.raises(UsageError, match="too large"):
        Area.parse("10,40,16,45").grids(20)
    with pytest.raises(UsageError, match="too large"):
        Area.parse("-170,-60,170,60").grids(20)


def test_geojson(tmp_path):
    ring = [[23.7, 37.9], [23.8, 37.9], [23.75, 38.0], [23.7, 37.9]]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    area = Area.from_geojson(path)
    assert area.outline and area.extent.cut and area.swapped() is None
    assert area.boxes == ((23.7, 37.9, 23.8, 38.0),)


def test_swapping_only_where_it_is_possible():
    assert Area.parse("23.63,37.91,23.99,38.07").swapped().text == "37.91,23.63,38.07,23.99"
    assert Area.parse("-118.3,34.0,-118.2,34.1").swapped() is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2023-08-01/2023-07-01", "try 2023-07-01/2023-08-01"),
        ("2023-13-01/2023-07-01", "no period"),
        ("07-01-2023/07-31-2023", "no period"),
        ("yesterday", "no period"),
        ("2023-07-01/2023-07-02/2023-07-03", "no period"),
    ],
)
def test_impossible_periods(text, told):
    with pytest.raises(UsageError, match=told):
        Period.parse(text)


def test_period_includes_its_last_day():
    period = Period.parse("2023-07-01/2023-07-31")
    assert period.utc() == "2023-07-01T00:00:00Z/2023-07-31T23:59:59Z"
    assert Period.parse("2023-07-14") == Period(first=date(2023, 7, 14), last=date(2023, 7, 14))


def test_blocks_visit_each_pixel_once():
    import numpy as np

    (grid,) = Area.parse("23.63,37.91,23.99,38.07").grids(20)
    visits = np.zeros(grid.shape, int)
    for window in blocks(grid, 100):
        assert all(part.stop - part.start <= 100 for part in window)
        visits[window] += 1
    assert (visits == 1).all()
