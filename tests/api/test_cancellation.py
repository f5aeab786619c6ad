"""Requests that another request cancels."""

from __future__ import annotations

from antiphon.api.cancellation import CancellableRequests


def test_a_request_is_cancelled_by_its_key_while_it_runs() -> None:
    requests = CancellableRequests()
    with requests.running(("token", "1")) as cancelled:
        assert not requests.cancel(("other token", "1"))
        assert not cancelled.is_set()
        assert requests.cancel(("token", "1"))
        assert cancelled.is_set()
    assert not requests.cancel(("token", "1"))


def test_a_second_request_with_the_same_key_leaves_the_first_one_cancellable() -> None:
    requests = CancellableRequests()
    with requests.running(("1",)) as first:
        with requests.running(("1",)) as second:
            assert requests.cancel(("1",))
        assert (first.is_set(), second.is_set()) == (True, False)
        assert requests.cancel(("1",))


def test_beyond_the_maximum_a_request_runs_to_its_end() -> None:
    requests = CancellableRequests(requests_max=1)
    with requests.running(("1",)), requests.running(("2",)) as second:
        assert not requests.cancel(("2",))
        assert not second.is_set()
