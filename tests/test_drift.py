"""Coefficients that drift, against windows solved one by one."""

import numpy as np

from thermosharp.drift import CELL, WINDOW, Drift


def images(shape=(37, 42), seed=0):
    rng = np.random.default_rng(seed)
    components = rng.standard_normal((3, *shape))
    tilt = np.linspace(-1, 1, shape[1])[None, :]
    residual = tilt * components[0] + 0.5 * components[1] + 0.1 * rng.standard_normal(shape)
    return components, residual, rng.random(shape) > 0.1


def test_each_node_is_a_ridge_regression_in_its_window():
    components, residual, held = images()
    drift = Drift.of(components, residual, held, 0.7)
    y, x = np.indices(held.shape)
    cell_y, cell_x = y // CELL, x // CELL
    for node in ((0, 0), (4, 5), (9, 10)):
        # The window is taken cell by cell: pixels of a cell weigh alike.
        away = np.hypot(cell_y - node[0], cell_x - node[1]) * CELL / WINDOW
        inside = (np.abs(cell_y - node[0]) <= 5) & (np.abs(cell_x - node[1]) <= 5)
        weight = np.exp(-0.5 * away**2) * held * inside
        design = components.reshape(3, -1)
        precision = (design * weight.ravel()) @ design.T + np.eye(3) / 0.7
        moment = (design * weight.ravel()) @ residual.ravel()
        expected = np.linalg.solve(precision, moment)
        np.testing.assert_allclose(drift.coefficients[node], expected, atol=0.01)
        np.testing.assert_allclose(
            drift.spread[node], np.linalg.inv(precision), rtol=0.05, atol=1e-4
        )


def test_coefficients_are_followed_between_nodes():
    components, residual, held = images()
    drift = Drift.of(components, residual, held, 0.7)
    found = drift.on_pixels(held.shape)
    assert found.shape == components.shape
    explained = (found * components).sum(axis=0)
    assert np.var(residual - explained) < 0.15 * np.var(residual)
    middle = CELL * 4 + (CELL - 1) / 2  # halfway between two pixels lies the centre of a cell
    low, high = int(np.floor(middle)), int(np.ceil(middle))
    mean = (found[:, low, low] + found[:, high, high]) / 2
    np.testing.assert_allclose(mean, drift.coefficients[4, 4], atol=0.05)


def test_no_drift_is_nowhere():
    drift = Drift.none(3)
    assert not drift.on_pixels((5, 6)).any()
    assert drift.on_pixels((5, 6)).shape == (3, 5, 6)
