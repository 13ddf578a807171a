from hepprune.jobs import sources


def test_names_that_are_the_same_are_told_apart_and_take_none_of_another() -> None:
    assert sources.told_apart(["a", "b"]) == ["a", "b"]
    assert sources.told_apart(["a", "b", "a"]) == ["a_1", "b", "a_3"]
    assert sources.told_apart(["a", "a", "a_2"]) == ["a_1", "a_3", "a_2"]
    assert sources.told_apart(["a", "a", "a_1", "a_1"]) == ["a_1", "a_2", "a_1_3", "a_1_4"]
