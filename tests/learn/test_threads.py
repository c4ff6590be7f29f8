"""The number of threads is measured, and left as it was."""

import torch

from holdfast.learn.threads import fastest, measure_threads


def test_each_number_of_threads_is_timed_and_the_setting_kept(tiny_recipe, tiny_data):
    torch.set_num_threads(1)
    seconds = measure_threads(tiny_recipe, tiny_data, cores=3)
    assert sorted(seconds) == [1, 2, 3]
    assert all(0 < value < 10 for value in seconds.values())
    assert torch.get_num_threads() == 1
    assert fastest(seconds) in seconds


def test_one_core_needs_no_measurement(tiny_recipe, tiny_data):
    assert measure_threads(tiny_recipe, tiny_data, cores=1) == {1: 0.0}
