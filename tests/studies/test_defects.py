"""The published defect of the gains' range, and the Jacobian of the expert's law that it is made with."""

import torch

from holdfast.control import Quadrotor2D, Receding, synthesize
from holdfast.data import MinMax
from holdfast.studies.quadrotor.run_arms import _with_gain_range
from holdfast.studies.quadrotor.world import expert_jacobians
from holdfast.types import Episodes, Trajectory


def test_the_experts_jacobian_at_hover_is_its_receding_horizon_gain():
    drone = Quadrotor2D()
    state, action = drone.equilibrium()
    still = Trajectory(actions=action.expand(40, -1), states=state.expand(41, -1))
    gain = synthesize(Receding(1.0, (0.5, 0.1)), drone, still).gains[0]
    hover = Episodes(actions=action[None], states=state[None], lengths=torch.tensor([1]))
    torch.testing.assert_close(expert_jacobians(drone, hover)[0], gain, atol=2e-3, rtol=1e-3)


def test_only_the_gains_of_a_code_get_the_other_range():
    own = MinMax(low=torch.zeros(20).double(), high=torch.arange(1.0, 21.0).double())
    other = torch.stack([-torch.arange(12.0), torch.arange(12.0) + 1]).double()
    wrong = _with_gain_range(own, other)
    torch.testing.assert_close(wrong.high[:8], own.high[:8])
    torch.testing.assert_close(wrong.low[8:], other[0])
    torch.testing.assert_close(wrong.high[8:], other[1])
