"""Linear-quadratic regulators: discrete Riccati equations, batched, in float64.

    minimise  Σ_t x_tᵀQ x_t + u_tᵀR u_t     subject to  x_{t+1} = A_t x_t + B_t u_t

The value of a state is `V_t(x) = xᵀP_t x` (no ½), the optimal action `u_t = K_t x`, with

    K_t = −(R + BᵀP_{t+1}B)⁻¹ BᵀP_{t+1}A,      P_t = Q + K_tᵀR K_t + (A + B K_t)ᵀ P_{t+1} (A + B K_t).

All computations and results are in float64 for inputs of any dtype: Riccati equations square condition numbers.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import SynthesisError
from ._typed import eigenvalues, solve
from .stabilisable import unreachable_mode

# A doubling step squares the closed loop: after 45 of them a loop of spectral radius 1 - 1e-12 has decayed.
_MAX_DOUBLINGS = 45


def gain(
    A: Float[Tensor, "*b n n"], B: Float[Tensor, "*b n m"], R: Float[Tensor, "m m"], P: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b m n"]:
    """Optimal gain `K = −(R + BᵀPB)⁻¹BᵀPA` if `xᵀPx` is the value of the next state.

    >>> one = torch.ones(1, 1)
    >>> gain(one, one, one, one)
    tensor([[-0.5000]], dtype=torch.float64)
    """
    pull = B.double().mT @ P.double()
    return -solve(R.double() + pull @ B.double(), pull @ A.double())


def riccati_step(
    A: Float[Tensor, "*b n n"],
    B: Float[Tensor, "*b n m"],
    Q: Float[Tensor, "n n"],
    R: Float[Tensor, "m m"],
    P: Float[Tensor, "*b n n"],
) -> tuple[Float[Tensor, "*b m n"], Float[Tensor, "*b n n"]]:
    """One step of the backward recursion: the gain `K_t`, and `P_t` from `P_{t+1}`.

    In Joseph form, a sum of squares, so that rounding cannot make `P` indefinite.
    """
    K = gain(A, B, R, P)
    closed = A.double() + B.double() @ K
    return K, Q.double() + K.mT @ R.double() @ K + closed.mT @ P.double() @ closed


def tvlqr(
    A: Float[Tensor, "*b t n n"],
    B: Float[Tensor, "*b t n m"],
    Q: Float[Tensor, "n n"],
    R: Float[Tensor, "m m"],
    terminal: Float[Tensor, "*b n n"],
) -> tuple[Float[Tensor, "*b t m n"], Float[Tensor, "*b t+1 n n"]]:
    """Gains and values of the time-varying LQR along `t` steps, by backward recursion from `P_T = terminal`.

    >>> A = torch.full((3, 1, 1), 2.0)
    >>> K, P = tvlqr(A, torch.ones(3, 1, 1), torch.eye(1), torch.eye(1), torch.zeros(1, 1))
    >>> P.flatten()
    tensor([4., 3., 1., 0.], dtype=torch.float64)
    """
    gains: list[Tensor] = []
    values = [terminal.double()]
    for t in reversed(range(A.shape[-3])):
        K, P = riccati_step(A[..., t, :, :], B[..., t, :, :], Q, R, values[-1])
        gains.append(K)
        values.append(P)
    return torch.stack(gains[::-1], -3), torch.stack(values[::-1], -3)


def dare(
    A: Float[Tensor, "*b n n"],
    B: Float[Tensor, "*b n m"],
    Q: Float[Tensor, "n n"],
    R: Float[Tensor, "m m"],
    *,
    state_names: tuple[str, ...] = (),
    steps: Int[Tensor, "*b"] | None = None,
) -> Float[Tensor, "*b n n"]:
    """Stabilising solution of the discrete algebraic Riccati equation, batched.

        P = Q + AᵀPA − AᵀPB (R + BᵀPB)⁻¹ BᵀPA

    By structure-preserving doubling, which converges quadratically (Chu, Fan & Lin 2005, "A structure-preserving
    doubling algorithm for periodic discrete-time algebraic Riccati equations").

    Args:
        A: State matrices.
        B: Action matrices.
        Q: State weight, symmetric positive semidefinite.
        R: Action weight, symmetric positive definite.
        state_names: Names of the state coordinates, for the error message.
        steps: Step number of each pair, for the error message. Default: index on the last batch axis.

    Raises:
        SynthesisError: No feedback stabilises one of the pairs, or `Q` gives no weight to a mode that does not decay;
            the message names the step and the mode.

    >>> one = torch.ones(1, 1)
    >>> dare(one, one, one, one)  # the golden ratio
    tensor([[1.6180]], dtype=torch.float64)
    """
    pair = A.double(), B.double()
    P, converged = _doubling(*pair, Q.double(), R.double())
    failed = ~converged
    failed[converged] = ~_contracts(pair[0][converged], pair[1][converged], R, P[converged])
    if failed.any():
        index = tuple(int(i) for i in failed.nonzero()[0])
        step = index[-1:] if steps is None else (int(steps[index]),)
        raise SynthesisError(_cause(A[index], B[index], state_names, _where(index[:-1], step)))
    return P


def _doubling(A: Tensor, B: Tensor, Q: Tensor, R: Tensor) -> tuple[Float[Tensor, "*b n n"], Bool[Tensor, "*b"]]:
    """Doubling iteration: P, and which pairs converged."""
    eye = torch.eye(A.shape[-1]).to(A)
    power, reach, value = A, B @ solve(R, B.mT), Q.expand_as(A)
    done = torch.zeros(A.shape[:-2], dtype=torch.bool, device=A.device)
    for _ in range(_MAX_DOUBLINGS):
        # The matrix has eigenvalues >= 1, because reach and value are semidefinite.
        halves = solve(eye + reach @ value, torch.cat([power, reach], -1)).chunk(2, -1)
        rise = power.mT @ value @ halves[0]
        reach = _symmetric(reach + power @ halves[1] @ power.mT)
        power = power @ halves[0]
        value = torch.where(done[..., None, None], value, _symmetric(value + rise))
        change = rise.abs().amax((-2, -1))
        done = done | change.isfinite() & (change <= 1e-14 * value.abs().amax((-2, -1)))
        if done.all():
            break
    return value, done


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2


def _contracts(A: Tensor, B: Tensor, R: Tensor, P: Tensor) -> Bool[Tensor, " pairs"]:
    """Whether the spectral radius of each closed loop is below 1."""
    radius = eigenvalues(A + B @ gain(A, B, R, P)).abs().amax(-1)
    return radius < 1 - 1e-9


def _where(trajectory: tuple[int, ...], step: tuple[int, ...]) -> str:
    """Position in the batch for a message, such as "at step 3 of trajectory 1"."""
    at = "".join(f" at step {number}" for number in step)
    return at + (f" of trajectory {', '.join(map(str, trajectory))}" if trajectory else "")


def _cause(A: Tensor, B: Tensor, state_names: tuple[str, ...], where: str) -> str:
    """Why the Riccati equation of one pair has no stabilising solution, and what to change."""
    if not (A.isfinite().all() and B.isfinite().all()):
        return (
            f"expected a finite linearization, but{where} it contains NaN or infinity. Look for them in the "
            "demonstration."
        )
    mode = unreachable_mode(A, B)
    if mode is not None:
        return (
            f"expected a linearization that feedback can stabilize, but{where} the actions do not reach "
            f"{mode.describe(state_names)}. Remove that state, add an action that moves it, or use NoFeedback()."
        )
    return (
        f"the Riccati equation{where} has no stabilizing solution although the actions reach every mode: a mode that "
        "does not decay has (nearly) no state weight. Give every state a positive state_weight, or use NoFeedback()."
    )
