"""Threads: bounded where asked for, in order, and linear algebra kept to one."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - brings a library for linear algebra of its own
from threadpoolctl import threadpool_info

from thermosharp import threads
from thermosharp.threads import beside, cores, in_threads, limited, one_blas_thread


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)


def test_bounds():
    assert cores() == 4
    with limited(3):
        assert cores() == 3
        with limited(1):
            assert cores() == 1
        assert list(in_threads(lambda _: cores(), range(6))) == [3] * 6, "threads inherit it"
    with limited(99):
        assert cores() == 4
    assert cores() == 4


def test_as_many_threads_as_allowed():
    for most in (1, 2, 3):
        gate = threading.Barrier(most, timeout=10)

        def meet(item, gate=gate):
            gate.wait()
            return threading.get_ident(), item

        with limited(most):
            done = list(in_threads(meet, range(6)))
        assert [item for _, item in done] == list(range(6))
        assert len({thread for thread, _ in done}) == most


def test_results_do_not_pile_up():
    begun = []
    with limited(2):
        results = in_threads(begun.append, range(1000))
        next(results)
    assert len(begun) <= 2 * threads.AHEAD + 1
    results.close()


@pytest.mark.parametrize("most", [1, 4])
def test_work_beside_other_work(most):
    here = threading.get_ident()
    with limited(most), beside(lambda: (threading.get_ident(), cores())) as wanted:
        thread, allowed = wanted()
    assert allowed == 1
    assert (thread == here) == (most == 1)


def test_work_beside_goes_on_while_others_work():
    begun, go_on = threading.Event(), threading.Event()

    def work():
        begun.set()
        return go_on.wait(10)

    with beside(work) as wanted:
        assert begun.wait(10)
        go_on.set()
        assert wanted()


@pytest.mark.parametrize("most", [1, 4])
def test_errors_beside_are_raised_where_the_result_is_asked_for(most):
    with limited(most), beside(lambda: 1 // 0) as wanted, pytest.raises(ZeroDivisionError):
        wanted()


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_one_blas_thread_until_the_last_has_left():
    """Scenes of several threads come and go in any order."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_threads; test_threads.come_and_go()"
    )
    environment = {"OPENBLAS_NUM_THREADS": "2", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def come_and_go():
    np.linalg.inv(np.eye(3))
    before, seen = blas_threads(), {}
    assert before != {1}
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first():
        with one_blas_thread:
            first_in.set()
            second_in.wait(10)
        first_out.set()
        stay.wait(10)  # its thread lives on, as those of a pool do

    def second():
        first_in.wait(10)
        with one_blas_thread:
            second_in.set()
            first_out.wait(10)
            seen["inside"] = blas_threads()
        seen["after"] = blas_threads()

    stay = threading.Event()
    both = [threading.Thread(target=work) for work in (first, second)]
    for thread in both:
        thread.start()
    both[1].join(10)
    stay.set()
    both[0].join(10)
    assert seen == {"inside": {1}, "after": before}
