"""Regressors for sharpening, as estimators of scikit-learn."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from thermosharp.forest import Forest

Array = NDArray[Any]


class LeafLinearForest(RegressorMixin, BaseEstimator, Forest):  # type: ignore[misc]
    """The :class:`~thermosharp.forest.Forest` with the whole contract of scikit-learn.

    Takes the same options; `random_state` may be a RandomState too. After `fit` it has the same
    attributes, and ``n_features_in_``.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the trees and solve the leaves.

        Parameters
        ----------
        X : (samples, features)
        y : (samples,)
        sample_weight : (samples,), optional
            Counts alike in the choice of splits and in the leaf models.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        given = self.random_state
        try:
            if given is not None and not isinstance(given, int | np.integer):
                self.random_state = check_random_state(given).randint(2**31)
            return self.grow(X, y.astype(np.float64), weight)
        finally:
            self.random_state = given

    def predict(self, X: Any) -> Array:
        """Mean of the trees' predictions, ``(samples,)``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        return Forest.predict(self, X)
