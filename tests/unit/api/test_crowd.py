from uuid import uuid4

import pytest

from copilot_api.http.crowd import Crowd
from copilot_common.base.errors import Unavailable


def test_a_tenant_that_has_its_share_waits_and_others_do_not() -> None:
    crowd, one, other = Crowd("uploads", of_tenant=1, of_all=2), uuid4(), uuid4()
    with crowd.inside(one):
        with pytest.raises(Unavailable):
            crowd.check(one)
        crowd.check(other)
    crowd.check(one)


def test_there_is_room_for_so_many_in_all() -> None:
    crowd = Crowd("uploads", of_tenant=2, of_all=2)
    with crowd.inside(uuid4()), crowd.inside(uuid4()), pytest.raises(Unavailable):
        crowd.check(uuid4())


def test_who_enters_is_counted_at_once_and_until_they_leave() -> None:
    """Not from the first piece on that their stream yields."""
    crowd, one = Crowd("streams", of_tenant=1, of_all=2), uuid4()
    place = crowd.enter(one)
    with pytest.raises(Unavailable):
        crowd.enter(one)
    place.leave()
    place.leave()
    again = crowd.enter(one)
    with pytest.raises(Unavailable):
        crowd.enter(one)
    again.leave()


def test_a_place_is_given_back_whatever_happened() -> None:
    crowd, one = Crowd("uploads", of_tenant=1, of_all=1), uuid4()
    with pytest.raises(ZeroDivisionError), crowd.inside(one):
        raise ZeroDivisionError
    crowd.check(one)
