"""Who has fallen silent, by a clock that the test turns."""

from datetime import UTC, datetime, timedelta

from al_loop.ledger.expired_leases import ExpiredLeases
from al_loop.ledger.records import Holder

START = datetime(2026, 1, 1, tzinfo=UTC)


def holder(beat_s=0.0, mark="a"):
    return Holder("request", mark, START + timedelta(seconds=beat_s), "worker")


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def looks(silence, clock, holders, seconds, step_s=1.0):
    """What each look finds; ``holders`` is called with the number of the look."""
    found = []
    for number in range(int(seconds / step_s)):
        clock.now_s += step_s
        found.append(silence.after(holders(number)))
    return found


def test_one_that_shows_no_life_is_silent_after_a_lease():
    clock = Clock()
    found = looks(ExpiredLeases(8.0, clock), clock, lambda _: [holder()], 20)
    assert [bool(one) for one in found].index(True) == 8


def test_a_beat_starts_it_anew_whatever_the_servers_clock_says():
    clock = Clock()
    beats = [holder(beat) for beat in (0, 3600, 3602, -7200, -7198, 0.5)]
    found = looks(ExpiredLeases(8.0, clock), clock, lambda number: [beats[number // 5 % 6]], 90)
    assert not any(found)


def test_a_long_gap_between_two_looks_counts_for_a_quarter_of_a_lease():
    clock = Clock()
    silence = ExpiredLeases(8.0, clock)
    silence.after([holder()])
    for _ in range(3):
        clock.now_s += 1000.0
        assert silence.after([holder()]) == []
    clock.now_s += 1000.0
    assert silence.after([holder()]) == [holder()]


def test_another_claim_is_another_holder():
    clock = Clock()
    found = looks(ExpiredLeases(8.0, clock), clock, lambda number: [holder(mark="ab"[number // 5 % 2])], 60)
    assert not any(found)
