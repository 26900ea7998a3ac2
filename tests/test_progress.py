"""How far work has come, in logs."""

import threading

from sepjax.progress import bar


def test_bars_of_a_log_share_one_thread(capsys):
    for _ in range(5):
        assert list(bar([1], "counting", mininterval=0)) == [1]
    names = [type(thread).__name__ for thread in threading.enumerate()]
    assert names.count("TMonitor") <= 1
