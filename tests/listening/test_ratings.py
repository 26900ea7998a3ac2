"""Ratings of several listeners: statistics, screening, and files that do not count."""

import itertools
import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from sepjax.commands import cli
from sepjax.listening.items import Item
from sepjax.listening.ratings import SUMMARY, merge, screen, summarize
from sepjax.listening.trials import plan_test
from sepjax.report.html.numbers import GAP

SYSTEMS = {"small": "a", "large": "b", "huge": "c"}
SONGS = ("one", "two", "three", "four")
ANCHORS = ["low-pass 3500 Hz", "low-pass 7000 Hz"]
CONDITIONS = ["reference", *SYSTEMS, *ANCHORS]


def plan(seed=0, **changes):
    items = [Item(s, "vocals", 0, 10, 44100, (1.0, 2.0, 3.0), None, "") for s in SONGS]
    options = {"abx": 8, "mushra": True, "seed": seed} | changes
    return plan_test(items, SYSTEMS, (3500, 7000), **options)


@pytest.fixture
def key():
    return plan()[0]


def rated(key, name, scores, right=()):
    """A file of ratings: scores (items, conditions); pairs that are heard rightly."""
    mushra, abx = {}, {}
    for (number, item), row in zip(key["items"].items(), scores):
        values = dict(zip(CONDITIONS, map(int, row)))
        mushra[number] = {clip: values[c] for clip, c in item["clips"].items()}
    for number, trial in key["abx"].items():
        x, other = trial["clips"]
        good = tuple(trial["clips"].values()) in right
        abx[number] = {"x": x, "answer": x if good else other}
    head = {"kind": "sepjax listening ratings", "test": key["test"], "listener": name}
    return {**head, "mushra": mushra, "abx": abx, "file": f"{name}.json"}


def panel(seed=0, listeners=5):
    rng = np.random.default_rng(seed)
    levels = np.array([97, 50, 60, 70, 20, 45])
    scores = levels + rng.integers(-3, 4, (listeners, len(SONGS), len(levels)))
    return scores.clip(0, 100)


def test_the_interval_is_that_of_a_t_test():
    values = np.random.default_rng(0).normal(50, 10, (7, 4))
    means = values.mean(1)
    wanted = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    quartiles = statistics.quantiles(values.ravel(), n=4, method="inclusive")
    summary = dict(zip(SUMMARY, summarize(values)))
    assert (summary["low"], summary["high"]) == pytest.approx((*wanted,))
    assert summary["mean"] == pytest.approx(means.mean())
    names = "lower_quartile", "median", "upper_quartile"
    assert [summary[name] for name in names] == pytest.approx(quartiles)
    mean, *ends = summarize(np.array([[42.0, 44.0]]))[:3]
    assert mean == 43
    assert all(map(math.isnan, ends))


def test_means_are_of_listeners_and_their_files_name_the_conditions(key):
    scores = panel()
    results = merge(key, [rated(key, f"n{i}", each) for i, each in enumerate(scores)])
    for place, name in enumerate(CONDITIONS):
        own = [np.mean(each[:, place]) for each in scores]
        row = results["conditions"][name]
        low, high = stats.ttest_1samp(own, 0).confidence_interval(0.95)
        assert row["mean"] == pytest.approx(np.mean(own))
        assert (row["low"], row["high"]) == pytest.approx((low, high))
    for place, item in enumerate(results["items"]):
        wanted = scores[:, place].mean(0)
        assert list(item["mean"].values()) == pytest.approx(list(wanted))


def test_listeners_who_miss_the_reference_are_excluded_but_their_abx_counts(key):
    scores = panel()
    scores[2, 0, 0] = 80  # one of four items is more than 15 %
    files = [
        rated(key, f"n{i}", each, right=[("small", "huge")])
        for i, each in enumerate(scores)
    ]
    results = merge(key, files)
    assert [one["excluded"] for one in results["listeners"]] == [
        *("", "", "hidden reference below 90 in 1 of 4 items", "", "")
    ]
    kept = np.delete(scores, 2, axis=0)[..., 1].mean(1)
    assert results["conditions"]["small"]["mean"] == pytest.approx(kept.mean())
    told = {tuple(one["pair"]): (one["right"], one["trials"]) for one in results["abx"]}
    assert told == {
        ("small", "large"): (0, 40),
        ("small", "huge"): (40, 40),
        ("large", "huge"): (0, 40),
    }


def test_screening_allows_for_15_percent_and_for_anchors_that_nobody_hears():
    good = np.full((5, 7), 100)
    assert screen(good) == [""] * 5
    one = good.copy()
    one[0, 0] = 89
    one[1, :2] = 89
    texts = ["", "hidden reference below 90 in 2 of 7 items", "", "", ""]
    assert screen(one) == texts  # 1 of 7 is 14 %, 2 of 7 are 29 %
    middle = np.full((5, 7), 40)
    middle[3, :3] = 91
    text = "mid anchor above 90 in 3 of 7 items"
    assert screen(good, middle) == ["", "", "", text, ""]
    middle[2, :3] = 95  # now 40 % of the listeners do: the anchor's fault
    assert screen(good, middle) == [""] * 5


def test_p_is_the_sum_of_binomial_coefficients(key):
    first = next(iter(key["abx"]))
    file = rated(key, "n", panel()[0], right=[*itertools.combinations(SYSTEMS, 2)])
    answer = file["abx"][first]
    answer["answer"] = next(c for c in key["abx"][first]["clips"] if c != answer["x"])
    pairs = {tuple(one["pair"]): one for one in merge(key, [file])["abx"]}
    missed = pairs.pop(tuple(key["abx"][first]["clips"].values()))
    assert (missed["right"], missed["trials"]) == (7, 8)
    assert missed["p"] == pytest.approx((8 + 1) / 2**8)
    assert missed["listeners"]["n"] == {k: missed[k] for k in ("right", "trials", "p")}
    assert all(one["p"] == pytest.approx(2**-8) for one in pairs.values())


def test_the_page_knows_numbers_only_and_the_seed_decides_them(key):
    again, tree = plan()
    assert again == key
    assert plan(seed=1)[0]["items"].keys() != key["items"].keys()
    text = json.dumps(tree)
    for secret in (*SYSTEMS, *SONGS, "low-pass", '"seed"'):
        assert secret not in text
    known = {clip for item in key["items"].values() for clip in item["clips"]}
    abx = [trial for trial in tree["trials"] if trial["kind"] == "abx"]
    mushra = [trial for trial in tree["trials"] if trial["kind"] == "mushra"]
    assert len(abx) == 3 * 8
    assert len(mushra) == len(SONGS)
    for trial in tree["trials"]:
        assert set(trial["clips"]) <= known
        assert trial["clips"] == sorted(trial["clips"])
    for trial in mushra:  # the hidden reference is not the open one
        assert trial["reference"] not in known
    # Where the page lists a system tells nothing: over seeds, it is anywhere.
    places = set()
    for seed in range(60):
        drawn, tree = plan(seed)
        trial = next(t for t in tree["trials"] if t["kind"] == "mushra")
        clips = drawn["items"][trial["item"]]["clips"]
        places.add([clips[clip] for clip in trial["clips"]].index("small"))
    assert places == set(range(6))


def test_every_pair_hears_all_excerpts_in_turn(key):
    for pair in itertools.combinations(SYSTEMS, 2):
        own = [
            t["item"] for t in key["abx"].values() if pair == (*t["clips"].values(),)
        ]
        assert sorted(own) == sorted([*key["items"]] * 2)


def test_a_test_without_ratings_has_neither_reference_nor_anchors():
    key, tree = plan(mushra=False)
    assert {trial["kind"] for trial in tree["trials"]} == {"abx"}
    for item in key["items"].values():
        assert list(item["clips"].values()) == list(SYSTEMS)
    file = rated(key, "n", panel()[0]) | {"mushra": {}}
    assert "conditions" not in merge(key, [file])


def test_bad_files_are_told_and_the_rest_counts(tmp_path, capsys, key):
    (tmp_path / "key.json").write_text(json.dumps(key))
    files = {f"n{i}": rated(key, f"n{i}", each) for i, each in enumerate(panel())}
    first = next(iter(files["n0"]["mushra"]))
    strange = json.loads(json.dumps(files["n0"])) | {"listener": "strange"}
    strange["mushra"][first] |= {"deadbeef": 50}
    loud = json.loads(json.dumps(files["n0"])) | {"listener": "loud"}
    loud["mushra"][first] = dict.fromkeys(loud["mushra"][first], 101)
    unfinished = files["n0"] | {"abx": {}, "listener": "unfinished"}
    other = files["n0"] | {"test": "00000000", "listener": "other"}
    files |= {
        "strange": strange,
        "loud": loud,
        "unfinished": unfinished,
        "other": other,
    }
    files |= {"copy": files["n1"] | {"listener": " N1 "}, "list": [], "key": key}
    paths = []
    for name, tree in files.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(tree))
    (tmp_path / "half.json").write_text(paths[0].read_text()[:99])
    paths += [tmp_path / "half.json", tmp_path / "nowhere.json"]
    # The key itself is among the ratings, too.
    command = ["listen", "--merge", str(tmp_path / "key.json"), *map(str, paths)]
    assert cli.main(command) == 1
    told, problems = capsys.readouterr()
    lines = dict(
        line.removeprefix(f"sepjax: error: {tmp_path}/").split(".json: ", 1)
        for line in problems.splitlines()
    )
    assert lines.keys() == {
        *("strange", "loud", "unfinished", "other", "copy"),
        *("list", "key", "half", "nowhere"),
    }
    assert "trials are missing or strange" in lines["strange"]
    assert "a rating from 0 to 100 is wanted, not 101" in lines["loud"]
    assert "has to finish the page" in lines["unfinished"]
    assert "no ratings of this test" in lines["other"]
    assert "n1.json, which counts" in lines["copy"]
    results = json.loads((tmp_path / "merged" / "listening.json").read_text())
    assert len(results["listeners"]) == 5
    assert len(results["left_out"]) == 9
    assert "small" in told
    page = (tmp_path / "merged" / "listening.html").read_text()
    assert "Chart of mean ratings" in page
    assert "half.json" in page


def test_nothing_to_merge_and_no_key_are_errors(tmp_path, capsys, key):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    (tmp_path / "no.json").write_text("{}")
    assert cli.main(["listen", "--merge", str(path), str(tmp_path / "no.json")]) == 1
    assert "nothing to merge" in capsys.readouterr().err
    path.write_text(json.dumps(key | {"kind": "other"}))
    assert cli.main(["listen", "--merge", str(path), str(tmp_path / "no.json")]) == 1
    assert "is no key of a listening test" in capsys.readouterr().err
    path.write_text(json.dumps(key | {"systems": {"small": "a"}}))
    assert cli.main(["listen", "--merge", str(path), str(tmp_path / "no.json")]) == 1
    assert "clips of other conditions" in capsys.readouterr().err


def test_a_single_listener_has_no_interval_and_nobody_no_mean(tmp_path, capsys, key):
    (tmp_path / "key.json").write_text(json.dumps(key))
    for level, text in ((95, GAP), (50, "No listener is left")):
        scores = panel()[0]
        scores[:, 0] = level
        (tmp_path / "n.json").write_text(json.dumps(rated(key, "n", scores)))
        command = ["listen", "--merge", str(tmp_path / "key.json")]
        assert cli.main([*command, str(tmp_path / "n.json")]) == 0
        assert text in (tmp_path / "merged" / "listening.html").read_text()
    assert "n is excluded (BS.1534-3, 4.1.2)" in capsys.readouterr().err
