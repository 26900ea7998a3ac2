"""How far work has come, in logs."""

import threading

from sepjax.progress import bar


def monitors() -> int:
    return sum(type(one).__name__ == "TMonitor" for one in threading.enumerate())


def test_bars_of_a_log_share_one_thread():
    before = monitors()  # other tests may have made some
    for _ in range(5):
        assert list(bar([1], "counting", mininterval=0)) == [1]
    assert monitors() <= before + 1
