"""LeafLinearForest: the contract of scikit-learn, and a slow twin of its prediction."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from thermosharp.forest import BINNED, _binned
from thermosharp.kernels.trees import MAX_BINS, grow_tree
from thermosharp.regression import LeafLinearForest

BOOTSTRAP = "bootstrap samples are drawn before weights are known, as in scikit-learn's bagging"


@parametrize_with_checks(
    [LeafLinearForest(n_estimators=3)],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": BOOTSTRAP,
        "check_sample_weight_equivalence_on_sparse_data": BOOTSTRAP,
    },
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def data(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    y = 300 + 3 * X[:, 0] + 2 * np.abs(X[:, 1]) + 0.1 * rng.normal(size=n)
    return X, y, rng.random(n)


def predict_slowly(forest: LeafLinearForest, X):
    """One tree, one sample, one step at a time."""
    total = np.zeros(len(X))
    for t in range(forest.n_estimators):
        for i, x in enumerate(X):
            node = 0
            while forest.left_[t, node] >= 0:
                low = x[forest.feature_[t, node]] <= forest.threshold_[t, node]
                node = (forest.left_ if low else forest.right_)[t, node]
            *slopes, intercept, floor, ceiling = forest.models_[t, node]
            total[i] += min(max(intercept + x @ slopes, floor), ceiling)
    return total / forest.n_estimators


def ridge_slowly(X, y, weight, scale, shrinkage):
    """Least squares with the ridge as added rows; the intercept is not shrunk."""
    share = weight / weight.sum()
    level, centre = share @ y, share @ X
    design = np.vstack([(X - centre) / scale * np.sqrt(share)[:, None],
                        np.sqrt(shrinkage) * np.eye(X.shape[1])])  # fmt: skip
    wanted = np.concatenate([(y - level) * np.sqrt(share), np.zeros(X.shape[1])])
    slopes = np.linalg.lstsq(design, wanted, rcond=None)[0] / scale
    return slopes, level - centre @ slopes


@pytest.mark.parametrize("leaves", [1, 2, 30, 32, 33, 100])
def test_prediction_equals_its_slow_twin(leaves):
    X, y, weight = data(2000)
    options = {"max_leaf_nodes": leaves, "min_samples_leaf": 5, "random_state": 0}
    forest = LeafLinearForest(**options).fit(X, y, sample_weight=weight)
    new = data(seed=1)[0] * 2
    np.testing.assert_allclose(forest.predict(new), predict_slowly(forest, new), rtol=1e-12)


def grown_on_all(X, y, weight, **options):
    """One tree on every sample once: the bootstrap taken out."""
    n, options = len(y), {"max_leaf_nodes": 12, "min_samples_leaf": 10, **options}
    forest = LeafLinearForest(n_estimators=1, shrinkage=0.1, random_state=0, **options)
    forest.fit(X, y)
    drawn = np.ones(n, np.int64)
    grow_tree(
        X, *_binned(X), y, weight, drawn, X.std(axis=0),
        forest.max_leaf_nodes, forest.min_samples_leaf, 0.1, 0.25,
        forest.left_[0], forest.right_[0], forest.feature_[0], forest.threshold_[0],
        forest.models_[0],
    )  # fmt: skip
    return forest


def leaf_of(forest, x):
    node = 0
    while forest.left_[0, node] >= 0:
        low = x[forest.feature_[0, node]] <= forest.threshold_[0, node]
        node = (forest.left_ if low else forest.right_)[0, node]
    return node


def test_splits_are_those_of_scikit_learn():
    X, y, weight = data(250)
    forest = grown_on_all(X, y, weight)
    twin = DecisionTreeRegressor(max_leaf_nodes=12, min_samples_leaf=10, random_state=0)
    theirs = twin.fit(X, y, sample_weight=weight).apply(X)
    ours = np.array([leaf_of(forest, x) for x in X])
    pairs = set(zip(ours, theirs, strict=True))
    assert len(pairs) == len(set(ours)) == len(set(theirs)) == 12


def test_leaf_models_are_weighted_ridge_regressions():
    X, y, weight = data(250)
    forest = grown_on_all(X, y, weight)
    leaves = np.array([leaf_of(forest, x) for x in X])
    for leaf in set(leaves):
        here = leaves == leaf
        slopes, intercept = ridge_slowly(X[here], y[here], weight[here], X.std(axis=0), 0.1)
        low, high = y[here].min(), y[here].max()
        bounds = low - 0.25 * (high - low), high + 0.25 * (high - low)
        np.testing.assert_allclose(forest.models_[0, leaf], [*slopes, intercept, *bounds])


@pytest.mark.parametrize("n", [5000, 5 * BINNED + 7])
def test_quantile_bins_of_many_values(n):
    values = np.random.default_rng(0).exponential(size=(n, 1))
    codes, edges, bins = _binned(values)
    assert bins[0] == MAX_BINS
    np.testing.assert_array_equal(
        codes[:, 0], np.searchsorted(edges[0, : bins[0] - 1], values[:, 0])
    )
    shares = np.bincount(codes[:, 0]) / n
    assert shares.max() < 2 / MAX_BINS
    # The stated bound: quantiles of the sample miss those of all by less than 2 %.
    assert np.abs(np.cumsum(shares) - np.arange(1, MAX_BINS + 1) / MAX_BINS).max() < 0.02


def test_layers_are_predicted_as_samples_are():
    X, y, weight = data()
    forest = LeafLinearForest(random_state=0).fit(X, y, sample_weight=weight)
    layers = data(seed=1)[0].T.reshape(4, 25, 16).astype(np.float32)
    layers[2, 3, 4] = np.nan
    strided = np.repeat(layers.transpose(1, 0, 2), 2, axis=2)[:, :, ::2]
    image = forest.predict_lines(strided)
    known = np.isfinite(layers).all(axis=0)
    assert (~known).sum() == 1
    np.testing.assert_array_equal(np.isfinite(image), known)
    np.testing.assert_allclose(
        image[known], predict_slowly(forest, layers[:, known].T.astype(float)), rtol=1e-6
    )


def test_single_precision_takes_the_sides_that_double_does():
    X, y, weight = data()
    forest = LeafLinearForest(random_state=0).fit(X, y, sample_weight=weight)
    split = forest.threshold_[0, 0].astype(np.float32)
    first = forest.feature_[0, 0]
    layers = np.repeat(data(seed=1)[0].T.astype(np.float32)[:, :1], 3, axis=1)
    layers[first] = [
        np.nextafter(split, -np.inf, dtype=np.float32),
        split,
        np.nextafter(split, np.inf, dtype=np.float32),
    ]
    twin = predict_slowly(forest, layers.T.astype(float))
    image = forest.predict_lines(np.ascontiguousarray(layers[None]))
    np.testing.assert_allclose(image[0], twin, rtol=1e-6)
    assert np.ptp(twin) > 1e-5 * np.abs(twin).max()  # the sides differ


def test_threads_change_nothing(monkeypatch):
    X, y, weight = data(3000)
    one = LeafLinearForest(random_state=0).fit(X, y, weight).predict(X)
    monkeypatch.setattr("thermosharp.forest.MANY_SAMPLES", 100)
    many = LeafLinearForest(random_state=0).fit(X, y, weight).predict(X)
    assert one.tobytes() == many.tobytes()


def test_unit_of_predictors_does_not_matter():
    X, y, weight = data()
    new = data(seed=1)[0]
    units = np.array([1, 1e4, 1e-3, 50.0])
    one = LeafLinearForest(random_state=0).fit(X, y, weight).predict(new)
    other = LeafLinearForest(random_state=0).fit(X * units + 7, y, weight).predict(new * units + 7)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_same_seed_same_bytes():
    X, y, _ = data()
    runs = [LeafLinearForest(random_state=3).fit(X, y).predict(X) for _ in range(2)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert not np.array_equal(runs[0], LeafLinearForest(random_state=4).fit(X, y).predict(X))


def test_leaves_are_held_inside_their_widened_range():
    X, y, _ = data()
    for extrapolation in (0.0, 0.25):
        forest = LeafLinearForest(extrapolation=extrapolation, random_state=0).fit(X, y)
        margin = extrapolation * np.ptp(y)
        far = forest.predict(X * 100)
        assert far.min() >= y.min() - margin
        assert far.max() <= y.max() + margin


def test_linear_leaves_beat_constant_ones_on_a_line():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (200, 1))
    y = 300 + 10 * X[:, 0]
    forest = LeafLinearForest(shrinkage=1e-6, random_state=0).fit(X, y)
    assert np.abs(forest.predict(X) - y).max() < 0.1


def test_leaf_whose_weights_are_all_zero_still_has_a_model():
    X, y, _ = data(200)
    weight = (X[:, 0] > 0).astype(float)
    forest = LeafLinearForest(max_leaf_nodes=8, random_state=0).fit(X, y, weight)
    assert np.isfinite(forest.predict(X)).all()


def test_constant_predictor_is_ignored():
    X, y, _ = data()
    X = np.column_stack([X, np.full(len(X), 7.0)])
    forest = LeafLinearForest(random_state=0).fit(X, y)
    moved = X.copy()
    moved[:, -1] = 1e6
    np.testing.assert_array_equal(forest.predict(X), forest.predict(moved))
