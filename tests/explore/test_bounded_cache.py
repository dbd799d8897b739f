"""A cache that is bounded in bytes."""

from __future__ import annotations

from mgdali.explore.bounded_cache import BoundedCache


def test_values_that_were_not_used_for_longest_are_dropped_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(100)
    for value, key in enumerate("abc"):
        cache.put(key, value, 30)
    assert cache.get("a") == 0
    cache.put("d", 3, 40)
    assert [cache.get(key) for key in "abcd"] == [0, None, 2, 3]
    assert cache.size == 100


def test_a_new_value_of_a_key_replaces_the_old_one_and_its_size() -> None:
    cache: BoundedCache[str, int] = BoundedCache(100)
    cache.put("a", 1, 90)
    cache.put("a", 2, 20)
    assert (cache.get("a"), cache.size) == (2, 20)
    cache.drop("a")
    assert (cache.get("a"), cache.size) == (None, 0)


def test_the_newest_value_is_kept_even_if_it_is_larger_than_the_limit() -> None:
    cache: BoundedCache[str, int] = BoundedCache(100)
    cache.put("a", 1, 50)
    cache.put("b", 2, 1000)
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    cache.put("c", 3, 10)
    assert (cache.get("b"), cache.get("c"), cache.size) == (None, 3, 10)
