"""How good is it, on this very scene: degrade one scale up, recover, compare.

The module is not called ``evaluate``: it would hide the function of that name in the package.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.degrade import Degraded, degrade
from thermosharp.errors import ThermosharpError, TooFewPixels
from thermosharp.grids import GridPair, common_window, even_parts, strips_of
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors, PredictorStack, SharpenedScene, ThermalScene
from thermosharp.scorecard import Evaluation, MethodScores
from thermosharp.scores import Scores, rmse, score
from thermosharp.sharpeners import METHODS, Bicubic, Sharpener, make_sharpener
from thermosharp.storage import release

Array = NDArray[Any]
Shift = tuple[float, float]

#: Bicubic interpolation that does not conserve the means: what skill is measured against.
PLAIN = "plain bicubic"

#: Two positions of the degraded grid: the pixel borders of one are the pixel centres of the other.
SHIFTS: tuple[Shift, ...] = ((0.0, 0.0), (0.5, 0.5))

#: Fewer pixels than this say nothing about a method.
MIN_SCORED = 30

#: With fewer than this away from the rim, those under the rim are compared as well.
ENOUGH_SCORED = 300

#: A method that leaves more than this share of the pixels empty has not recovered the scene.
MAX_EMPTY = 0.05

#: Coarse pixels a side that are enough to know an expected error: larger scenes are cut, and the
#: part with most usable pixels is degraded.
ENOUGH_DEGRADED = 240

#: What :func:`expected_rmse` is called in records.
EXPECTED_RMSE = "expected_rmse_k"


@dataclass(frozen=True)
class Trial:
    """A scene degraded once, and where a recovered one counts.

    Attributes
    ----------
    up : Degraded
    pair : GridPair
        The degraded and the observed grid.
    scored : (y, x) of bool
        On the observed grid: usable, under a usable degraded pixel, and not under the outermost
        ones, which lack neighbours (under them too in scenes that are small or cloudy).
    """

    up: Degraded
    pair: GridPair
    scored: Array


@dataclass(frozen=True)
class Answer:
    """What a method made of the trials; images ``(trial, y, x)`` in K on the observed grid.

    Attributes
    ----------
    lst : Array
    uncertainty : Array or None
    coarse_consistency : float or None
    """

    lst: Array
    uncertainty: Array | None
    coarse_consistency: float | None


def evaluate(
    thermal: ThermalScene,
    predictors: PredictorStack,
    *,
    methods: Iterable[str | Sharpener] | None = None,
    shifts: Sequence[Shift] = SHIFTS,
    random_state: int = 0,
) -> Evaluation:
    """Score methods on a scene of your own, by degrading and recovering it.

    The LST and its predictors are degraded by their own ratio. Each method sharpens the degraded
    LST with predictors at the LST's grid, and the result is compared with the LST observed (Wald
    et al. 1997). All methods are scored on the same pixels: usable ones under usable degraded
    pixels, away from the rim (of small or cloudy scenes, where that leaves fewer than 300, also
    at the rim). Plain bicubic interpolation is always among the methods, as the yardstick.

    Scores one scale up do not prove the same at the target scale; see ``docs/methods.md``.

    Parameters
    ----------
    thermal : ThermalScene
    predictors : PredictorStack
        On a finer grid, in any coordinate reference system.
    methods : iterable of str or Sharpener, optional
        Names as `sharpen` takes them, or sharpeners of your own making. All methods by default.
    shifts : sequence of (rows, columns)
        Positions of the degraded grid, as shares of its pixel; scores are pooled over them.
        One that the scene is too small for is left out.
    random_state : int
        For the methods given by name that draw.

    Returns
    -------
    Evaluation
        Methods in order of their RMSE, and those that this scene does not allow, with reasons.

    Raises
    ------
    UsageError
        There is no such method.
    TooFewPixels
        The scene is too small, or too cloudy, to be degraded.
    ThermosharpError
        None of the methods can work on this scene; the class says why.

    Examples
    --------
    >>> import thermosharp as ts
    >>> thermal = ts.open_thermal("ECO_L2_LSTE.002_LST_doy2023202005411_aid0001.tif")
    >>> fine = ts.open_predictors("S2_20m_2023-07-14.tif")
    >>> print(ts.evaluate(thermal, fine))  # doctest: +SKIP
    """
    wanted = _sharpeners(methods, random_state)
    trials, plain = _trials(thermal, predictors, shifts)
    answers, errors = {PLAIN: plain}, {}
    for name, method in wanted.items():
        try:
            answers[name] = _recover(method, list(trials.values()))
        except ThermosharpError as error:
            errors[name] = error
    if errors and len(answers) == 1:
        raise next(iter(errors.values()))
    ratio = next(iter(trials.values())).pair.ratio
    return Evaluation(
        scene=thermal.name,
        ratio=ratio,
        pixel=_size(thermal.geobox, 1),
        degraded_pixel=_size(thermal.geobox, ratio),
        shifts=tuple(trials),
        methods=_ranked(answers, list(trials.values()), ratio),
        not_run={name: str(error) for name, error in errors.items()},
    )


def expected_rmse(
    method: Sharpener,
    thermal: ThermalScene,
    predictors: Predictors,
    *,
    pair: GridPair | None = None,
    shift: Shift = (0.0, 0.0),
    uncertainty: NDArray[Any] | None = None,
) -> float | None:
    """RMSE, K, to expect of one method's map of a scene.

    What the method's error is one scale up, where it is known; and for methods that state an
    uncertainty the geometric mean of that and of the root mean square of what they state: the one
    is measured at the wrong scale, the other stated at the right one, and they err independently.
    Costs one run on a scene smaller by the ratio squared, and of large scenes on a part. How well
    it does over real scenes is in ``docs/accuracy.md``.

    Parameters
    ----------
    method : Sharpener
        Cloned; neither changed nor asked what it has learnt.
    thermal : ThermalScene
    predictors : Predictors
    pair : GridPair, optional
        Their grids, if already related (``pair_`` of a fitted method).
    shift : (rows, columns)
        Position of the degraded grid, as a share of its pixel.
    uncertainty : (y, x), optional
        Standard deviation that the method states for its map, K.

    Returns
    -------
    float or None
        Where the scene is too small to be degraded, what the method states alone; None if it states
        nothing.
    """
    return and_stated(
        one_scale_up(method, thermal, predictors, pair=pair, shift=shift), uncertainty
    )


def and_stated(measured: float | None, uncertainty: NDArray[Any] | None) -> float | None:
    """Take the error measured one scale up and the uncertainty stated together.

    Parameters
    ----------
    measured : float or None
        What :func:`one_scale_up` gives, K.
    uncertainty : (y, x), optional
        Standard deviation that the method states for its map, K.

    Returns
    -------
    float or None
        What :func:`expected_rmse` gives.
    """
    stated = None if uncertainty is None else _root_mean_square(uncertainty)
    if stated is None or measured is None:
        return measured if stated is None else stated
    return math.sqrt(stated * measured)


def _root_mean_square(image: Array) -> float | None:
    """Root mean square of the known values, strip by strip: an image may be larger than memory."""
    total, count = 0.0, 0
    for rows in strips_of(image.shape):
        known = image[rows][np.isfinite(image[rows])].astype(np.float64)
        total, count = total + float((known**2).sum()), count + known.size
        release(image)
    return math.sqrt(total / count) if count else None


def one_scale_up(
    method: Sharpener,
    thermal: ThermalScene,
    predictors: Predictors,
    *,
    pair: GridPair | None = None,
    shift: Shift = (0.0, 0.0),
) -> float | None:
    """RMSE, K, of a scene that is degraded and recovered; None where it is too small.

    The measured half of :func:`expected_rmse`, with the same parameters: it needs no map, so it can
    be found while one is made.
    """
    if max(thermal.geobox.shape) > ENOUGH_DEGRADED:
        thermal, predictors = _best_part(thermal, predictors)
        pair = None
    try:
        trial = _trial(thermal, predictors, shift, pair)
        if trial.scored.sum() < MIN_SCORED:
            return None
        recovered = _recover(method, [trial])
    except ThermosharpError:
        return None
    return rmse(np.where(trial.scored, recovered.lst[0], np.nan), trial.up.truth.values("lst"))


def _best_part(
    thermal: ThermalScene, predictors: Predictors
) -> tuple[ThermalScene, PredictorStack]:
    """Cut a large scene into even parts and return the one with most usable pixels."""
    parts: list[tuple[int, Window, Window]] = []
    for window in even_parts(thermal.geobox.shape, (ENOUGH_DEGRADED, ENOUGH_DEGRADED)):
        under = common_window(predictors.geobox, thermal.geobox[window])
        if under is not None:
            parts.append((int(thermal.values("usable")[window].sum()), window, under))
    _, window, under = max(parts, key=lambda part: part[0])
    return thermal.crop(window), predictors.crop(under)


def _sharpeners(
    methods: Iterable[str | Sharpener] | None, random_state: int
) -> dict[str, Sharpener]:
    """Methods by the name of their row; a sharpener made by hand stands as its description."""
    made: dict[str, Sharpener] = {}
    for method in METHODS if methods is None else methods:
        if isinstance(method, Sharpener):
            made[" ".join(repr(method).split())] = method
        elif method != PLAIN:
            sharpener = make_sharpener(method)
            if "random_state" in sharpener.get_params(deep=False):
                sharpener.set_params(random_state=random_state)
            made[method] = sharpener
    return made


def _trials(
    thermal: ThermalScene, predictors: PredictorStack, shifts: Sequence[Shift]
) -> tuple[dict[Shift, Trial], Answer]:
    """Degrade a scene at each shift it is large enough for; recover it by interpolation.

    Raises
    ------
    TooFewPixels
        It is too small for any, or too few pixels can be compared.
    """
    pair = GridPair(thermal.geobox, predictors.geobox)
    trials: dict[Shift, Trial] = {}
    plain = []
    small: TooFewPixels | None = None
    for shift in dict.fromkeys((down, along) for down, along in shifts):
        try:
            trial = _trial(thermal, predictors, shift, pair)
            plain.append(_recover(Bicubic(), [trial], conserve=False))
        except TooFewPixels as error:
            small = error
        else:
            trials[shift] = trial
    if not trials and small is not None:
        raise small
    scored = sum(int(trial.scored.sum()) for trial in trials.values())
    if scored < MIN_SCORED:
        raise TooFewPixels(
            f"{thermal.name}: too few pixels are left to compare one scale up",
            expected=f"at least {MIN_SCORED} usable LST pixels",
            came=str(scored),
            advice="take a larger area or a clearer scene",
        )
    return trials, _joined(plain)


def _trial(
    thermal: ThermalScene, predictors: Predictors, shift: Shift, pair: GridPair | None
) -> Trial:
    up = degrade(thermal, predictors, pair=pair, shift=shift)
    over = GridPair(up.thermal.geobox, thermal.geobox)
    usable, inner = up.thermal.values("usable"), np.zeros(up.thermal.geobox.shape, bool)
    inner[1:-1, 1:-1] = usable[1:-1, 1:-1]
    scored = up.truth.values("usable") & over.lookup(inner, False)
    if scored.sum() < ENOUGH_SCORED:
        scored = up.truth.values("usable") & over.lookup(usable, False)
    return Trial(up, over, scored)


def _recover(method: Sharpener, trials: Sequence[Trial], *, conserve: bool = True) -> Answer:
    """Let a copy of a method sharpen each degraded scene.

    Raises
    ------
    ThermosharpError
        It cannot, or leaves pixels empty that have all it takes.
    """
    answers = []
    for trial in trials:
        sharp = method.fresh().sharpen(trial.up.thermal, trial.up.predictors, conserve=conserve)
        lst = sharp.values("lst").astype(np.float64)
        empty = float((~np.isfinite(lst[trial.scored])).mean()) if trial.scored.any() else 0.0
        if empty > MAX_EMPTY:
            raise TooFewPixels(
                f"{method.name} gave no temperature for {empty:.0%} of the pixels to compare"
            )
        deviation = sharp.values("uncertainty")
        sigma = None if deviation is None else deviation[None]
        answers.append(Answer(lst[None], sigma, _inconsistency(sharp, trial)))
    return _joined(answers)


def _joined(answers: Sequence[Answer]) -> Answer:
    sigmas = [answer.uncertainty for answer in answers if answer.uncertainty is not None]
    gaps = [a.coarse_consistency for a in answers if a.coarse_consistency is not None]
    return Answer(
        lst=np.concatenate([answer.lst for answer in answers]),
        uncertainty=np.concatenate(sigmas) if len(sigmas) == len(answers) else None,
        coarse_consistency=max(gaps, default=None),
    )


def _inconsistency(sharp: SharpenedScene, trial: Trial) -> float | None:
    """Largest difference, K, of the area means from the degraded LST where both are complete."""
    radiance = to_radiance(sharp.values("lst").astype(np.float64))
    held = trial.up.thermal.values("usable") & (trial.pair.coverage(np.isfinite(radiance)) == 1)
    gap = to_kelvin(trial.pair.aggregate(radiance)) - trial.up.thermal.values("lst")
    return float(np.abs(gap[held]).max()) if held.any() else None


def _ranked(
    answers: dict[str, Answer], trials: Sequence[Trial], ratio: float
) -> tuple[MethodScores, ...]:
    """Score all answers on the pixels that all of them have, least RMSE first."""
    shared = np.stack([trial.scored for trial in trials])
    for answer in answers.values():
        shared &= np.isfinite(answer.lst)
    scored = {name: _scores(answer, trials, shared, ratio) for name, answer in answers.items()}
    rows = [
        MethodScores(
            method=name,
            scores=scores,
            skill=_skill(scores.rmse, scored[PLAIN].rmse),
            coarse_consistency=answers[name].coarse_consistency,
        )
        for name, scores in scored.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.scores.rmse))


def _scores(answer: Answer, trials: Sequence[Trial], scored: Array, ratio: float) -> Scores:
    truth = np.stack([trial.up.truth.values("lst") for trial in trials])
    masked = np.where(scored, answer.lst, np.nan)
    return score(masked, truth, ratio=ratio, uncertainty=answer.uncertainty)


def _skill(rmse: float, plain: float) -> float:
    """Share of the yardstick's error that is gone; a scene without detail leaves none to remove."""
    return 1 - rmse / plain if plain > 0 else 0.0


def _size(grid: GeoBox, times: float) -> str:
    """Width of a pixel of a grid, made wider, with its unit."""
    transform = grid.transform
    width = times * math.sqrt(abs(transform.a * transform.e - transform.b * transform.d))
    geographic = grid.crs is not None and grid.crs.geographic
    return f"{width:.4g} degrees" if geographic else f"{width:.4g} m"
