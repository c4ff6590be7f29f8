"""Jumps at switches, by hand."""

import torch

from holdfast.evaluation.switches import switch_jumps


def test_two_episodes_by_hand():
    # the second action of two moves along a 3-4-5 triangle
    actions = torch.tensor(
        [
            [[0.0, 0.0], [1.0, 0.0], [4.0, 4.0], [4.0, 4.5], [4.0, 4.5], [4.0, 4.25]],
            [[0.0, 0.0], [0.0, 0.0], [0.0, 0.5], [0.0, 2.5], [9.0, 9.0], [0.0, 0.0]],
        ]
    )
    skills = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1]])
    found = switch_jumps(actions, skills, torch.tensor([6, 4]), window=1)
    assert found.switches.tolist() == [5.0, 2.0]
    assert found.episode.tolist() == [0, 1]
    assert found.elsewhere.tolist() == [1.0, 0.0, 0.25, 0.0]


def test_a_jump_beyond_the_window_and_one_beyond_the_end_do_not_count():
    actions = torch.tensor([[[0.0], [0.0], [0.0], [0.0], [7.0], [16.0]]])
    skills = torch.tensor([[0, 1, 1, 1, 1, 1]])
    assert switch_jumps(actions, skills, torch.tensor([5]), window=2).switches.tolist() == [0.0]
    assert switch_jumps(actions, skills, torch.tensor([5]), window=3).switches.tolist() == [7.0]
    assert switch_jumps(actions, skills, torch.tensor([6]), window=9).switches.tolist() == [9.0]


def test_no_switch():
    found = switch_jumps(torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 1]))
    assert (len(found.switches), len(found.elsewhere)) == (0, 2)
