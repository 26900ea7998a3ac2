"""Which songs are wanted: by tags, drawn evenly over them, counted before and after."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.collections.collection import (
    Collection,
    Filters,
    Part,
    Recording,
    SplitRules,
)
from data_pipelines.collections.file import read_collection, write_collection
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare
from data_pipelines.prepare.choice import chosen, survey, tag_values
from data_pipelines.songs.prepared import read_prepared


def collection(tags, seed=42, **filters):
    """A recording of drums for each tree of tags, every third one with bass."""
    recordings = []
    for number, each in enumerate(tags):
        labels = ("drum", "bass") if number % 3 == 0 else ("drum",)
        parts = tuple(Part(f"{number}-{one}.wav", one) for one in labels)
        recordings.append(Recording(f"song {number}", parts, split="train", tags=each))
    rules = SplitRules(seed=seed)
    names = ("drum", "bass")
    return Collection(
        names, tuple(recordings), filters=Filters(**filters), splits=rules
    )


def names(made):
    return [one.id for one in chosen(made).recordings]


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        (1994, "1990s"),
        ("1994", "1990s"),
        ("2003-05-01", "2000s"),
        ("19945", "19945"),
        (" Unknown ", "unknown"),
        (None, "none"),
        ("", "none"),
        ((), "none"),
        ((1961, 1975), "1960s"),
    ],
)
def test_years_are_counted_in_decades(value, counted):
    assert tag_values({"Release year": value}, "Release year")[0] == counted
    assert tag_values({"number": 1994}, "number") == ("1994", "1994")


def test_tags_choose_songs():
    tags = [
        {"genre": "Rock", "year": 1994},
        {"genre": "rock ", "year": "1987"},
        {"genre": ["pop", "rock"], "year": 1990},
        {"year": 2001, "live": True},
    ]
    cases = [
        ({"genre": "rock"}, [0, 1]),
        ({"genre": ("POP", "rock")}, [0, 1, 2]),
        ({"genre": "none"}, [3]),
        ({"year": "1990s"}, [0, 2]),
        ({"year": (1994, 1987)}, [0, 1]),
        ({"genre": "rock", "year": "1990s"}, [0]),
        ({"live": True}, [3]),
    ]
    for where, kept in cases:
        assert names(collection(tags, where=where)) == [f"song {n}" for n in kept]


def level(sizes, count):
    """How many each group gives: one more for all that have one, until it is enough."""
    given = dict.fromkeys(sizes, 0)
    while sum(given.values()) < count:
        able = [group for group in sizes if given[group] < sizes[group]]
        least = min(given[group] for group in able)
        given[next(group for group in able if given[group] == least)] += 1
    return sorted(given.values())


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([1960, 1975, 1991, None]))
    )
    .filter(bool)
    .flatmap(lambda tags: st.tuples(st.just(tags), st.integers(1, len(tags)))),
    st.integers(0, 50),
)
def test_a_draw_is_as_even_as_its_groups_allow(tags_and_count, seed):
    pairs, count = tags_and_count
    tags = [{"genre": genre, "year": year} for genre, year in pairs]
    made = collection(tags, seed, songs=count, balance=("genre", "year"))
    drawn = names(made)
    assert len(drawn) == len(set(drawn)) == count
    sizes = Counter(pairs)
    given = dict.fromkeys(sizes, 0) | Counter(pairs[int(n.split()[1])] for n in drawn)
    assert sorted(given.values()) == level(sizes, count)
    again = dataclasses.replace(made, recordings=made.recordings[::-1])
    assert set(names(again)) == set(drawn)
    # What is drawn first does not depend on how many are.
    if count > 1:
        fewer = collection(tags, seed, songs=count - 1, balance=("genre", "year"))
        assert set(names(fewer)) < set(drawn)


def test_single_values_are_even_where_combinations_are_too_many():
    tags = [{"genre": g, "year": 1950 + 10 * d} for g in "abcd" for d in range(4)]
    drawn = chosen(collection(tags, songs=4, balance=("genre", "year"))).recordings
    assert {one.tags["genre"] for one in drawn} == set("abcd")
    assert len({one.tags["year"] for one in drawn}) == 4


def test_other_seeds_draw_others_and_what_is_known_to_be_dropped_takes_no_part():
    tags = [{"genre": "rock"}] * 30
    draws = {tuple(names(collection(tags, seed, songs=5))) for seed in range(4)}
    assert len(draws) == 4
    rules = {"require_classes": "all", "exclude": ("song 0",)}
    drawn = names(collection(tags, songs=9, **rules))
    assert set(drawn) == {f"song {n}" for n in range(3, 30, 3)}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"where": {"gnre": "rock"}}, "tag 'gnre': did you mean 'genre'"),
        ({"balance": ("yeer",), "songs": 1}, "tag 'yeer': did you mean 'year'"),
        ({"where": {"genre": ("rok", "jazz")}}, "genre 'rok': did you mean 'rock'"),
        ({"songs": 4}, "songs=4 to draw must be 1 to 3"),
        ({"songs": -1}, "songs=-1 to draw must be 1 to 3"),
        ({"balance": ("genre",)}, "songs=0 to draw must be 1 to 3"),
        ({"where": {"genre": "jazz"}, "songs": 2}, "songs=2 to draw must be 1 to 1"),
    ],
)
def test_mistakes_are_told_with_the_nearest_names(filters, message):
    tags = [{"genre": "rock", "year": 1}, {"genre": "rock"}, {"genre": "Jazz"}]
    with pytest.raises(DataError, match=message):
        chosen(collection(tags, **filters))


def test_a_survey_counts_all_and_the_chosen():
    tags = [{"genre": "rock", "year": 1990 + n} for n in range(12)] + [{"genre": "pop"}]
    found = survey(collection(tags, songs=4, balance=("genre", "year")))
    assert [row[:2] for row in found["genre"]] == [("rock", 12), ("pop", 1)]
    years = [("1990s", 10), ("2000s", 2), ("none", 1)]
    assert [row[:2] for row in found["year"]] == years
    assert found["genre and year"][0][0] == "rock, 1990s"
    assert [row[:2] for row in found["class"]] == [("drum", 13), ("bass", 5)]
    for name in ("genre", "year", "genre and year"):
        assert sum(row[2] for row in found[name]) == 4
    many = survey(collection([{"title": f"t{n:02}"} for n in range(40)], songs=40))
    assert len(many["title"]) == 17
    assert many["title"][-1] == ("24 others", 24, 24)


def test_the_choice_is_made_recorded_and_surveyed_again(songs, tmp_path):
    tagged = [
        dataclasses.replace(one, tags={"genre": ("rock", "pop")[n % 2]}, split="train")
        for n, one in enumerate(songs.recordings)
    ]
    rules = Filters(where={"genre": "rock"}, songs=3)
    made = dataclasses.replace(songs, recordings=tuple(tagged), filters=rules)
    file = write_collection(made, tmp_path / "mine.yaml")
    kept = names(made)
    prepared = prepare(read_collection(file), tmp_path / "out")
    assert sorted(song["song"] for song in prepared.songs) == sorted(kept)
    assert prepared.done == 3
    header, _ = read_prepared(tmp_path / "out")
    assert header["filters"] == {"where": {"genre": "rock"}, "songs": 3}
    found = survey(tmp_path / "out")
    assert found["genre"] == [("rock", 3, 3)]
    assert found["class"][0] == ("drum", 3, 3)
