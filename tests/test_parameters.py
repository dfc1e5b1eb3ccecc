"""Options of sharpeners behave as those of scikit-learn's estimators."""

import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from scenes_for_tests import known_scene
from thermosharp.sharpeners import DMS, Bicubic, Detail


def test_options_are_read_and_changed_by_name():
    method = DMS(window=0, regressor=Ridge(alpha=2.0))
    assert method.get_params(deep=False).keys() == {"window", "regressor", "random_state"}
    assert method.get_params()["regressor__alpha"] == 2.0
    assert method.set_params(window=5, regressor__alpha=3.0) is method
    assert (method.window, method.regressor.alpha) == (5, 3.0)
    with pytest.raises(ValueError, match="no option 'windows'"):
        method.set_params(windows=3)
    assert Bicubic().get_params() == {}


@pytest.mark.parametrize("copied", [clone, lambda method: method.fresh()])
def test_a_fresh_one_has_the_options_and_nothing_learnt(copied):
    thermal, fine, _ = known_scene()
    method = DMS(window=0, regressor=Ridge(alpha=2.0)).fit(thermal, fine)
    other = copied(method)
    assert other is not method
    assert other.regressor is not method.regressor
    assert other.regressor.alpha == 2.0
    assert not hasattr(other, "pair_")
    assert hasattr(method, "pair_")


def test_only_what_was_chosen_is_shown():
    assert repr(Detail()) == "Detail()"
    assert repr(Detail(random_state=3)) == "Detail(random_state=3)"
    assert repr(DMS(window=0)) == "DMS(window=0)"


def test_predicting_before_fitting_is_an_error_that_says_so():
    _, fine, _ = known_scene()
    with pytest.raises(NotFittedError, match="fit"):
        Bicubic().predict(fine)
