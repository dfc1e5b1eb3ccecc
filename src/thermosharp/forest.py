"""Bagged regression trees with a linear model in each leaf."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from thermosharp import kernels
from thermosharp.parameters import Parameterized
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: Samples above which threads pay; also the size of a block that one thread predicts.
MANY_SAMPLES = 20_000

#: Samples, evenly spaced among all, whose quantiles the bins lie at: they miss those of all by
#: less than 2 % of the samples.
BINNED = 20_000


class Forest(Parameterized):
    """Bagged regression trees with a linear model in each leaf.

    The regressor of the Data Mining Sharpener (Gao, Kustas and Anderson 2012, section 2.2),
    after the piecewise-linear trees of Cubist. Each tree grows best-first on a bootstrap sample.
    In each leaf a ridge regression of the target on all predictors is solved from weighted
    normal equations; its prediction is held inside the range of the target in the leaf, widened
    on both sides by `extrapolation` of that range.

    Predictors are standardised inside, and the ridge penalty is a fraction of the total weight
    in the leaf, so the fit does not depend on the unit of any predictor.

    Parameters
    ----------
    n_estimators : int
    max_leaf_nodes : int
    min_samples_leaf : int
    shrinkage : float
        Ridge penalty per unit of sample weight, in units of the predictors' variance over all
        samples. 0.1 was best of 0.003 to 1 over the land cases of the accuracy benchmark; the
        curve is flat.
    extrapolation : float
        0.25 widens a leaf's range by a quarter on each side.
    random_state : int or None

    Attributes
    ----------
    left_, right_, feature_, threshold_ : ndarray (trees, nodes)
        The trees; see :mod:`thermosharp.kernels.trees`.
    models_ : ndarray (trees, nodes, features + 3)
        At leaves: slopes, intercept, lower and upper bound.
    """

    def __init__(
        self,
        *,
        n_estimators: int = 10,
        max_leaf_nodes: int = 30,
        min_samples_leaf: int = 10,
        shrinkage: float = 0.1,
        extrapolation: float = 0.25,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.shrinkage = shrinkage
        self.extrapolation = extrapolation
        self.random_state = random_state

    def grow(self, samples: Array, target: Array, weight: Array) -> Self:
        """Grow the trees and solve the leaves.

        Parameters
        ----------
        samples : float64 (samples, features), rows contiguous
        target, weight : float64 (samples,)
            Weight counts alike in the choice of splits and in the leaf models.
        """
        random = np.random.default_rng(self.random_state)
        level, spread = samples.mean(axis=0), samples.std(axis=0)
        # A constant predictor carries nothing: an infinite unit takes its slope to zero.
        scale = np.where(spread > 1e-12 * np.abs(level), spread, np.inf)
        n, features = samples.shape
        drawn = [random.integers(0, n, n) for _ in range(self.n_estimators)]
        counts = np.stack([np.bincount(indices, minlength=n) for indices in drawn])
        binned = _binned(samples)
        shape = self.n_estimators, 2 * max(self.max_leaf_nodes, 2) - 1
        self.left_, self.right_, self.feature_ = np.zeros((3, *shape), np.int32)
        self.threshold_, self.models_ = np.zeros(shape), np.zeros((*shape, features + 3))

        def grow(t: int) -> None:
            kernels.trees.grow_tree(
                samples, *binned, target, weight * counts[t], counts[t], scale,
                self.max_leaf_nodes, self.min_samples_leaf, self.shrinkage, self.extrapolation,
                self.left_[t], self.right_[t], self.feature_[t], self.threshold_[t],
                self.models_[t],
            )  # fmt: skip

        for _ in in_threads(grow, range(self.n_estimators), worthwhile=n > MANY_SAMPLES):
            pass
        return self

    def predict(self, samples: Array) -> Array:
        """Mean of the trees' predictions ``(samples,)``, for samples ``(samples, features)``."""
        mean = np.empty((1, len(samples)))

        def predict(start: int) -> None:
            block = slice(start, start + MANY_SAMPLES)
            self._predict_into(samples[block].T[None], mean[:, block])

        blocks = range(0, len(samples), MANY_SAMPLES)
        for _ in in_threads(predict, blocks):
            pass
        predicted: Array = mean[0]
        return predicted

    def predict_lines(self, lines: Array) -> Array:
        """Predict an image from layers as they lie: no samples are copied, nothing is validated.

        Parameters
        ----------
        lines : float32 (y, features, x)

        Returns
        -------
        float32 (y, x), NaN where a layer has no value.
        """
        image = np.empty(lines.shape[::2], np.float32)
        self._predict_into(lines, image)
        return image

    def _predict_into(self, lines: Array, image: Array) -> None:
        kernels.forest.predict_forest(
            lines, self.left_, self.right_, self.feature_, self.threshold_, self.models_, image
        )


def _binned(X: Array) -> tuple[Array, Array, Array]:
    """Codes, edges and numbers of bins of samples ``(n, features)``."""
    ordered = np.sort(np.ascontiguousarray(X[:: max(1, len(X) // BINNED)].T), axis=1)
    most, codes = kernels.trees.MAX_BINS, np.empty(X.shape, np.uint8)
    edges, bins = np.empty((len(ordered), most - 1)), np.empty(len(ordered), np.int64)
    kernels.trees.bin_edges(ordered, most, edges, bins)

    def code(start: int) -> None:
        block = slice(start, start + MANY_SAMPLES)
        kernels.trees.bin_codes(X[block], edges, bins, codes[block])

    blocks = range(0, len(X), MANY_SAMPLES)
    for _ in in_threads(code, blocks):
        pass
    return codes, edges, bins
