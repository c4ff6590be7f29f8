"""Linear systems, for which results are known in closed form."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ShapeError
from .base import Linearization


@dataclass(frozen=True, eq=False)
class Linear:
    """`x' = A x + B u` with stage cost `xᵀQx + uᵀRu` about the origin.

    Initial states are uniform on the box `|x_i| ≤ spread`.

    Attributes:
        A: State matrix.
        B: Action matrix.
        state_weight: `Q`, symmetric positive semidefinite. Default: identity.
        action_weight: `R`, symmetric positive definite. Default: identity.
        spread: Half-width of the box of initial states.
        steps: Control steps `T` of an episode.
        dt: Duration of a control step [s].
        name: Name in data sets.
        state_names: Names of the state coordinates. Default: `x0, x1, …`.
        action_names: Names of the action coordinates. Default: `u0, u1, …`.

    Raises:
        ShapeError: `A` is not square, or the shape of `B` or a weight does not match.

    >>> toy = Linear(A=torch.tensor([[0.9]]), B=torch.tensor([[1.0]]))
    >>> toy.step(torch.tensor([2.0]), torch.tensor([-1.0]))
    tensor([0.8000])
    """

    A: Float[Tensor, "n k"]
    B: Float[Tensor, "r m"]
    state_weight: Float[Tensor, "n n"] | None = None
    action_weight: Float[Tensor, "m m"] | None = None
    spread: float = 1.0
    steps: int = 100
    dt: float = 1.0
    name: str = "linear"
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows, columns = self.A.shape
        if rows != columns or self.B.shape[0] != rows:
            raise ShapeError(
                f"expected A [n, n] and B [n, m], got {list(self.A.shape)} and {list(self.B.shape)}. "
                "Give both the same number of rows, and A as many columns."
            )
        if not self.state_names:
            object.__setattr__(self, "state_names", tuple(f"x{i}" for i in range(self.n_states)))
        if not self.action_names:
            object.__setattr__(self, "action_names", tuple(f"u{i}" for i in range(self.n_actions)))

    @property
    def n_states(self) -> int:
        return self.A.shape[0]

    @property
    def n_actions(self) -> int:
        return self.B.shape[1]

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """`A x + B u`, in the dtype of the state."""
        return state @ self.A.to(state).mT + action @ self.B.to(action).mT

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """`A` and `B` at each point, in the dtype of the state."""
        batch = states.shape[:-1]
        return Linearization(self.A.to(states).repeat(*batch, 1, 1), self.B.to(states).repeat(*batch, 1, 1))

    @property
    def cost_is_quadratic(self) -> bool:
        return True

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count n"]:
        """Uniform samples from the box `|x_i| ≤ spread`, in float64."""
        unit = torch.rand(count, self.n_states, dtype=torch.float64, generator=rng, device=rng.device)
        return self.spread * (2 * unit - 1)

    def cost(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """`xᵀQx + uᵀRu`."""
        Q, R = self.weights()
        return (state @ Q.to(state) * state).sum(-1) + (action @ R.to(action) * action).sum(-1)

    def equilibrium(self) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """The origin and the zero action."""
        return torch.zeros(self.n_states, dtype=torch.float64), torch.zeros(self.n_actions, dtype=torch.float64)

    def weights(self) -> tuple[Float[Tensor, "n n"], Float[Tensor, "m m"]]:
        """`(Q, R)`, in float64."""
        Q = torch.eye(self.n_states) if self.state_weight is None else self.state_weight
        R = torch.eye(self.n_actions) if self.action_weight is None else self.action_weight
        return Q.double(), R.double()


def scalar(a: float = 0.9, b: float = 1.0) -> Linear:
    """The one-dimensional system `x' = a x + b u`.

    With `a = 0.9` and `b = 1` it is the example of Block et al. (2023, talk on arXiv 2307.14619): stable in open loop,
    yet a policy with the small error `.15 x` destabilises it, since `0.9 + 0.15 > 1`.

    >>> scalar().step(torch.tensor([1.0]), 0.15 * torch.tensor([1.0]))
    tensor([1.0500])
    """
    A = torch.tensor([[a]], dtype=torch.float64)
    B = torch.tensor([[b]], dtype=torch.float64)
    return Linear(A, B, name="scalar", state_names=("x",), action_names=("u",))


def double_integrator(dt: float = 0.1) -> Linear:
    """A point mass in the plane whose acceleration [m/s²], the action, is held over each step of `dt` [s].

        p' = p + dt v + ½ dt² u,    v' = v + dt u

    State: position [m] and velocity [m/s]. The discretisation is exact.

    >>> double_integrator(dt=1.0).step(torch.zeros(4), torch.tensor([2.0, 0.0]))
    tensor([1., 0., 2., 0.])
    """
    eye = torch.eye(2, dtype=torch.float64)
    A = torch.cat([torch.cat([eye, dt * eye], 1), torch.cat([0 * eye, eye], 1)])
    B = torch.cat([dt**2 / 2 * eye, dt * eye])
    names = ("x", "y", "x_dot", "y_dot")
    return Linear(A, B, dt=dt, name="double_integrator", state_names=names, action_names=("x_acc", "y_acc"))
