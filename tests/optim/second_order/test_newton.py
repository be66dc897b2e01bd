"""Newton's method and its kin against closed forms, scipy, torch.optim.LBFGS and loops written out."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, hessian

from rlgan.optim.errors import LineSearchFailed, NonFinite
from rlgan.optim.second_order.full_batch import FullBatch
from rlgan.optim.second_order.lbfgs import LBFGS
from rlgan.optim.second_order.line_search import Oracle, strong_wolfe
from rlgan.optim.second_order.newton import BFGS, ConjugateGradient, Newton, SteepestDescent
from tests.optim.problems import PROBLEMS, Loss, Problem, quadratic, vector, with_spectrum

METHODS: dict[str, FullBatch] = {
    "steepest": SteepestDescent(),
    "conjugate": ConjugateGradient(),
    "newton": Newton(),
    "truncated": Newton(largest=1),
    "bfgs": BFGS(),
    "lbfgs": LBFGS(),
}
MINIMA = ("bowl", "ill_conditioned", "rosenbrock", "logistic_regression")
# Steepest descent gets there in 10,315 steps on the ill-conditioned quadratic and 5,419 on Rosenbrock's: not in a test.
SLOW = {("steepest", "ill_conditioned"), ("steepest", "rosenbrock")}
REACHED = [(m, p) for m in METHODS for p in MINIMA if (m, p) not in SLOW]
LOSSES = [name for name, p in PROBLEMS.items() if p.loss is not None]
SADDLES = ("strict_saddle", "monkey_saddle", "deep_linear")


def parts(name: str) -> tuple[Problem, Loss, Tensor, float]:
    p = PROBLEMS[name]
    assert p.loss is not None and p.minimum is not None and p.optimal is not None
    return p, p.loss, p.minimum, p.optimal


def falling_waves(seed: int) -> tuple[Callable[[float], tuple[float, float]], float, float]:
    """phi(a) = p (a - q)^2 + r cos(w a + s), mirrored where it rises at 0: bounded below, with many minima."""
    p, q, r, w, s = torch.rand(5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).tolist()
    q, r, w = 20 * q - 10, 10 * r, 6 * w
    sign = 1.0 if -2 * p * q - r * w * math.sin(s) < 0 else -1.0

    def phi(alpha: float) -> tuple[float, float]:
        a = sign * alpha
        slope = sign * (2 * p * (a - q) - r * w * math.sin(w * a + s))
        return p * (a - q) ** 2 + r * math.cos(w * a + s), slope

    return phi, *phi(0.0)


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("c1", "c2"), [(1e-4, 0.9), (1e-4, 0.1), (0.3, 0.4), (1e-6, 1e-4)])
def test_line_search_satisfies_both_wolfe_conditions(first: float, c1: float, c2: float) -> None:
    for seed in range(100):
        phi, value, slope = falling_waves(seed)
        asked: list[float] = []

        def along(alpha: float) -> tuple[float, float]:
            asked.append(alpha)  # noqa: B023
            return phi(alpha)  # noqa: B023

        alpha = strong_wolfe(along, value, slope, first, c1, c2)
        reached, left = phi(alpha)
        assert alpha > 0 and alpha == asked[-1]
        assert reached <= value + c1 * alpha * slope
        assert abs(left) <= c2 * abs(slope)


def test_line_search_takes_the_first_step_where_it_will_do_and_turns_back_from_outside_of_the_domain() -> None:
    assert strong_wolfe(lambda a: ((a - 1) ** 2, 2 * (a - 1)), 1.0, -2.0, first=0.7) == 0.7

    def barrier(a: float) -> tuple[float, float]:
        return (-a - math.log(1 - a) / 2, -1 + 0.5 / (1 - a)) if a < 1 else (math.inf, math.nan)

    # phi' = 0 at 1/2.
    assert strong_wolfe(barrier, 0.0, -0.5, first=100.0, c2=1e-3) == pytest.approx(0.5, abs=1e-3)


def test_an_exact_line_search_on_a_parabola_needs_few_trials() -> None:
    """The cubic through two samples of a parabola is the parabola."""
    asked: list[float] = []

    def along(a: float) -> tuple[float, float]:
        asked.append(a)
        return 3 * (a - 0.7) ** 2, 6 * (a - 0.7)

    assert strong_wolfe(along, *along(0.0), c1=1e-12, c2=1e-10) == pytest.approx(0.7, rel=1e-10)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("along", "says"),
    [
        (lambda a: (-a, -1.0), "unbounded below"),
        (lambda a: (a, 1.0), "no step, however short"),
        (lambda a: (abs(a - 1.0), math.copysign(1.0, a - 1.0)), "the slope jumps at step length 1"),
    ],
)
def test_a_line_search_that_cannot_succeed_says_why(along: Callable[[float], tuple[float, float]], says: str) -> None:
    with pytest.raises(LineSearchFailed, match=says):
        strong_wolfe(along, along(0.0)[0], -1.0, first=0.4)
    with pytest.raises(ValueError, match=r"slope = 0.0: "):
        strong_wolfe(along, 0.0, 0.0)


def test_the_oracle_counts_calls_and_its_curvature_is_the_hessian() -> None:
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # A loss on which forward-mode derivatives are known to have failed, beside the table's.
    losses: list[tuple[Loss, Tensor]] = [(lambda t: F.mse_loss(torch.tanh(x @ t), x[:, 0]), vector(0.3, -0.2, 0.5))]
    for f, theta in losses + [(parts(n)[1], PROBLEMS[n].start + 0.1) for n in LOSSES]:
        oracle = Oracle(f)
        v = torch.linspace(-1, 2, len(theta), dtype=torch.float64)
        h = hessian(f)(theta)
        point = oracle.at(theta)
        assert oracle.at(theta) is point and oracle.evaluations == 1
        assert point.loss == f(theta).item() and torch.allclose(point.g, grad(f)(theta), rtol=1e-13)
        assert torch.allclose(oracle.hessian(theta), h, rtol=1e-12, atol=1e-12)
        assert torch.allclose(oracle.times_hessian(theta, v), h @ v, rtol=1e-11, atol=1e-11)
        assert oracle.evaluations == 3
    assert not Oracle(lambda t: t.sum()).times_hessian(vector(1.0, 2.0), vector(3.0, 4.0)).any()


@pytest.mark.parametrize(("method", "name"), REACHED)
def test_reaches_the_minimum_and_agrees_with_scipy(method: str, name: str) -> None:
    p, loss, minimum, optimal = parts(name)
    start = p.start.clone()
    trace = METHODS[method].minimize(loss, start, 300)
    assert torch.equal(start, p.start), "the start was written to"
    assert min((trace.theta - minimum).norm().item(), trace.gradient_norms[-1]) <= 1e-8
    # torch's search stops where losses are equal to the last bit.
    assert trace.converged or (method, name) == ("lbfgs", "logistic_regression")
    assert trace.converged == (trace.gradient_norms[-1] <= 1e-10)
    assert trace.losses[-1] == loss(trace.theta).item() == pytest.approx(optimal, abs=1e-14)
    assert trace.gradient_norms[-1] == pytest.approx(grad(loss)(trace.theta).norm().item(), rel=1e-6)
    assert len(trace.losses) == len(trace.gradient_norms) <= trace.evaluations
    rises = [after - before for before, after in pairwise(trace.losses)]
    assert max(rises) <= 1e-15, "a step went up by more than rounding"
    theirs = scipy.optimize.minimize(
        lambda x: loss(torch.from_numpy(x)).item(),
        p.start.numpy(),
        jac=lambda x: grad(loss)(torch.from_numpy(x)).numpy(),
        method="BFGS",
        options={"gtol": 1e-8},
    )
    assert torch.from_numpy(theirs.x) == pytest.approx(trace.theta, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SADDLES)
def test_leaves_a_saddle_when_started_slightly_off_its_ridge(method: str, name: str) -> None:
    p, loss, _, optimal = parts(name)
    trace = METHODS[method].minimize(loss, p.start, 100)
    assert trace.losses[-1] == pytest.approx(optimal, abs=1e-12) and trace.gradient_norms[-1] <= 1e-8
    theirs = scipy.optimize.minimize(
        lambda x: loss(torch.from_numpy(x)).item(),
        p.start.numpy(),
        jac=lambda x: grad(loss)(torch.from_numpy(x)).numpy(),
    )
    assert theirs.fun == pytest.approx(trace.losses[-1], abs=1e-8)


def test_steepest_descent_never_leaves_the_ridge_itself() -> None:
    p, loss, _, _ = parts("strict_saddle")
    assert p.ridge is not None
    trace = SteepestDescent().minimize(loss, p.ridge, 100)
    assert trace.converged and not trace.theta.any()


def test_one_exact_step_lowers_a_quadratic_by_the_stated_amount() -> None:
    """(g'g)^2 / (2 g'Hg)."""
    matrix = with_spectrum(torch.logspace(0, 2, 6, dtype=torch.float64), 5)
    loss = quadratic(matrix, torch.ones(6, dtype=torch.float64))
    for seed in range(20):
        start = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        g = matrix @ (start - 1)
        trace = SteepestDescent().minimize(loss, start, 1)
        expected = (g @ g) ** 2 / (2 * g @ matrix @ g)
        assert trace.losses[0] - trace.losses[1] == pytest.approx(expected.item(), rel=1e-12)
        assert torch.allclose(trace.theta, start - (g @ g) / (g @ matrix @ g) * g, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kappa", [3.0, 30.0, 1000.0])
def test_the_worst_start_attains_the_worst_factor_at_every_step(kappa: float) -> None:
    """x0 = q_1 / mu + q_d / L, with g equally strong along both extreme eigenvectors: f falls by ((k-1)/(k+1))^2."""
    matrix = with_spectrum(torch.tensor([1.0, math.sqrt(kappa), kappa], dtype=torch.float64), 6)
    values, basis = torch.linalg.eigh(matrix)
    start = basis[:, 0] / values[0] + basis[:, -1] / values[-1]
    trace = SteepestDescent().minimize(quadratic(matrix, torch.zeros(3, dtype=torch.float64)), start, 5)
    factor = ((kappa - 1) / (kappa + 1)) ** 2
    ratios = [after / before for before, after in pairwise(trace.losses)]
    assert ratios == pytest.approx([factor] * 5, rel=1e-12)


def test_steepest_descent_keeps_its_bound_on_the_ill_conditioned_quadratic() -> None:
    p, loss, _, _ = parts("ill_conditioned")
    trace = SteepestDescent().minimize(loss, p.start, 200)
    factor = ((1e3 - 1) / (1e3 + 1)) ** 2
    ratios = [after / before for before, after in pairwise(trace.losses)]
    assert max(ratios) <= factor * (1 + 1e-12) and not trace.converged and len(trace.losses) == 201


def test_conjugate_gradients_are_the_linear_method_on_a_quadratic() -> None:
    """Hestenes & Stiefel's loop written out, d = 8: the same points, and the end after d steps."""
    matrix = with_spectrum(torch.linspace(1, 8, 8, dtype=torch.float64), 7)
    centre = torch.linspace(-1, 1, 8, dtype=torch.float64)
    x, start = torch.zeros(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)
    r = matrix @ centre
    d = r.clone()
    for k in range(1, 9):
        alpha = (r @ r) / (d @ matrix @ d)
        x, new = x + alpha * d, r - alpha * (matrix @ d)
        d, r = new + (new @ new) / (r @ r) * d, new
        trace = ConjugateGradient().minimize(quadratic(matrix, centre), start, k)
        assert torch.allclose(trace.theta, x, atol=1e-10)
        # One evaluation and one Hessian-vector product a step: the first step tried is the one taken.
        assert trace.evaluations == 2 * k + 1
        assert trace.converged == (k == 8)
    assert (trace.theta - centre).norm() <= 1e-10 and len(trace.losses) == 9


def test_bfgs_with_an_exact_line_search_ends_a_quadratic_in_d_steps() -> None:
    """Its directions are then conjugate (Nocedal & Wright, Theorem 6.4); with the usual inexact search they are not."""
    matrix = with_spectrum(torch.linspace(1, 8, 8, dtype=torch.float64), 7)
    centre = torch.linspace(-1, 1, 8, dtype=torch.float64)
    loss, start = quadratic(matrix, centre), torch.zeros(8, dtype=torch.float64)
    exact = BFGS(c1=1e-12, c2=1e-9).minimize(loss, start, 8)
    assert (exact.theta - centre).norm() <= 1e-8 and exact.gradient_norms[7] > 1e-4
    conjugate = ConjugateGradient().minimize(loss, start, 8)
    assert exact.losses[:8] == pytest.approx(conjugate.losses[:8], rel=1e-6)
    assert BFGS().minimize(loss, start, 8).gradient_norms[-1] > 1e-4


def test_newton_solves_a_quadratic_in_one_step() -> None:
    for name in ("bowl", "ill_conditioned"):
        p, loss, minimum, _ = parts(name)
        trace = Newton().minimize(loss, p.start, 10)
        assert len(trace.losses) == 2 and trace.converged
        assert torch.allclose(trace.theta, minimum, atol=1e-12)


def newton_errors(name: str, offset: Tensor, steps: int) -> list[float]:
    _, loss, minimum, _ = parts(name)
    theta = minimum + offset
    errors = [offset.norm().item()]
    for _ in range(steps):
        theta = Newton().minimize(loss, theta, 1, tolerance=0.0).theta
        errors.append((theta - minimum).norm().item())
    return errors


def test_newton_converges_quadratically_near_a_minimum() -> None:
    """|e+| = C |e|^2. Along y the strict saddle's loss has f' = y^3 - y: e+ = e^2 (3 + 2 e) / (2 + 6 e + 3 e^2)."""
    errors = newton_errors("strict_saddle", vector(0.0, 0.1), 4)
    assert errors[1:4] == pytest.approx([e**2 * (3 + 2 * e) / (2 + 6 * e + 3 * e**2) for e in errors[:3]], abs=1e-15)
    assert errors[3] / errors[2] ** 2 == pytest.approx(1.5, rel=1e-3) and errors[4] <= 1e-14
    # In four dimensions C hardly changes either, while |e| falls from 0.6 to 4e-10.
    errors = newton_errors("logistic_regression", torch.full((4,), 0.3, dtype=torch.float64), 4)
    ratios = [after / e**2 for e, after in pairwise(errors)]
    assert max(ratios) <= 1.1 * min(ratios) and errors[-1] <= 1e-9


def test_newton_with_damping_is_levenbergs_step() -> None:
    p, loss, _, _ = parts("bowl")
    h, g = hessian(loss)(p.start), grad(loss)(p.start)
    expected = p.start - torch.linalg.solve(h + 0.7 * torch.eye(3, dtype=torch.float64), g)
    assert torch.allclose(Newton(damping=0.7).minimize(loss, p.start, 1).theta, expected, rtol=1e-13)


def test_newtons_direction_of_a_long_vector_is_that_of_conjugate_gradients() -> None:
    """At a small gradient the residual is small; negative curvature is followed by its absolute value."""
    matrix = with_spectrum(torch.linspace(1, 3, 6, dtype=torch.float64), 9)
    loss, x = quadratic(matrix, torch.zeros(6, dtype=torch.float64)), 1e-8 * torch.ones(6, dtype=torch.float64)
    oracle, solver = Oracle(loss), Newton(damping=0.5, largest=1)
    exact = -torch.linalg.solve(matrix + 0.5 * torch.eye(6, dtype=torch.float64), matrix @ x)
    g = (matrix @ x).norm()
    found = solver.solved(oracle.at(x), oracle.products(x))
    residual = (matrix @ found + 0.5 * found + matrix @ x).norm()
    # Both solutions are rounded: by d eps |x| times the condition number 7 / 3.
    rounding = 6 * torch.finfo(torch.float64).eps * exact.norm() * 7 / 3
    assert residual <= g**1.5 and (found - exact).norm() <= residual / 1.5 + rounding
    assert oracle.evaluations <= 2 + 6  # the point, the gradient's graph, and d products
    far = solver.solved(oracle.at(1e8 * x), oracle.products(1e8 * x))
    assert (matrix @ far + 0.5 * far + 1e8 * matrix @ x).norm() <= 0.5 * 1e8 * g
    concave = Oracle(lambda t: -2 * t.square().sum())
    there = vector(0.3, -0.1)
    assert torch.allclose(Newton(largest=1).solved(concave.at(there), concave.products(there)), there, rtol=1e-14)
    for kept in (Oracle(lambda t: t.sum()), Oracle(lambda t: 0 * t.square().sum() + t.sum())):
        assert Newton(largest=1).solved(kept.at(there), kept.products(there)).tolist() == [-1.0, -1.0]


def test_newtons_direction_descends_at_every_indefinite_hessian() -> None:
    generator = torch.Generator().manual_seed(8)
    for _ in range(50):
        values = torch.randn(5, dtype=torch.float64, generator=generator)
        noise = torch.randn(5, 5, dtype=torch.float64, generator=generator)
        basis = torch.linalg.qr(noise)[0]
        g = torch.randn(5, dtype=torch.float64, generator=generator)
        h = basis @ torch.diag(values) @ basis.T
        d = Newton().direction(g, h)
        assert torch.allclose(d, -basis @ ((basis.T @ g) / values.abs()), rtol=1e-9, atol=1e-9)
        assert g @ d < 0
    # A zero eigenvalue is floored, a zero Hessian leaves the gradient.
    d = Newton(floor=1e-2).direction(vector(1.0, 1.0), torch.diag(vector(-2.0, 0.0)))
    assert torch.allclose(d, vector(-0.5, -50.0))
    assert torch.equal(Newton().direction(vector(1.0, 1.0), torch.zeros(2, 2).double()), vector(-1.0, -1.0))


def test_lbfgs_is_torchs() -> None:
    p, loss, _, _ = parts("rosenbrock")
    x = p.start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=25, max_eval=1000, tolerance_grad=0.0, tolerance_change=0.0,
                                  history_size=5, line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    optimizer.step(closure)
    trace = LBFGS(history=5).minimize(loss, p.start, 25)
    assert torch.allclose(trace.theta, x, rtol=1e-8) and 1e-6 < trace.gradient_norms[-1] < 10


@pytest.mark.parametrize("method", ["conjugate", "newton", "truncated", "bfgs", "lbfgs"])
def test_the_units_of_theta_and_of_the_loss_do_not_matter(method: str) -> None:
    """Absolute tolerances would: theta in units of 1e-6, the loss in units of 1e-9."""
    p, loss, minimum, _ = parts("rosenbrock")
    trace = METHODS[method].minimize(lambda t: 1e-9 * loss(1e6 * t), 1e-6 * p.start, 300, tolerance=1e-12)
    assert torch.allclose(1e6 * trace.theta, minimum, atol=1e-6), trace.gradient_norms[-1]


@pytest.mark.parametrize("method", METHODS)
def test_where_precision_ends_the_path_ends_without_an_error(method: str) -> None:
    """No tolerance is reachable: the loss's rounding stops it, or the steps do."""
    for name in (*MINIMA, *SADDLES):
        _, loss, minimum, optimal = parts(name)
        trace = METHODS[method].minimize(loss, minimum + 1e-4, 60, tolerance=0.0)
        assert trace.losses[-1] - optimal <= 1e-6
        assert trace.converged == (trace.gradient_norms[-1] == 0.0)
    p, loss, _, _ = parts("strict_saddle")
    single = METHODS[method].minimize(loss, p.start.float(), 60)
    assert single.theta.dtype == torch.float32
    assert single.losses[-1] == pytest.approx(-0.25, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_start_at_the_minimum_and_no_grad_around_the_call(method: str) -> None:
    p, loss, minimum, _ = parts("bowl")
    trace = METHODS[method].minimize(loss, minimum, 10)
    assert trace.converged and trace.evaluations == 1 and len(trace.losses) == 1
    assert torch.equal(trace.theta, minimum) and trace.theta is not minimum
    leaf = p.start.clone().requires_grad_()
    with torch.no_grad():
        trace = METHODS[method].minimize(loss, leaf, 200)
    assert trace.converged and not trace.theta.requires_grad and leaf.grad is None


class Lying(torch.autograd.Function):
    """x -> x with the gradient of -x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        return

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return -g


@pytest.mark.parametrize("method", METHODS)
def test_errors_name_what_is_wrong(method: str) -> None:
    solver = METHODS[method]
    name = type(solver).__name__
    with pytest.raises(LineSearchFailed, match=f"{name}, step 1, loss .*is the gradient that of the loss"):
        solver.minimize(lambda t: Lying.apply(t).square().sum(), vector(1.0, 2.0), 10)
    with pytest.raises(NonFinite, match="the loss at the start is nan"):
        solver.minimize(lambda t: t.log().sum(), vector(1.0, -2.0), 10)
    with pytest.raises(ValueError, match=r"loss = tensor of shape \(2,\): must be a scalar"):
        solver.minimize(lambda t: t * t, vector(1.0, 2.0), 10)
    with pytest.raises(ValueError, match="loss = a constant"):
        solver.minimize(lambda t: t.detach().sum(), vector(1.0, 2.0), 10)
    with pytest.raises(ValueError, match=r"theta = torch.float64 of shape \(2, 2\): "):
        solver.minimize(lambda t: t.sum(), torch.ones(2, 2, dtype=torch.float64), 10)
    with pytest.raises(ValueError, match="steps = 0: "):
        solver.minimize(lambda t: t.sum(), vector(1.0), 0)
    with pytest.raises(ValueError, match=r"tolerance = -1.0: "):
        solver.minimize(lambda t: t.sum(), vector(1.0), 1, -1.0)


@pytest.mark.parametrize("method", ["steepest", "conjugate", "bfgs"])
def test_an_unbounded_loss_is_named(method: str) -> None:
    with pytest.raises(LineSearchFailed, match="unbounded below"):
        METHODS[method].minimize(lambda t: -t.sum(), vector(1.0, 2.0), 10)


def test_too_large_a_dimension_is_refused_before_the_loss_is_called() -> None:
    solver = BFGS(largest=3)
    called: list[int] = []

    def loss(theta: Tensor) -> Tensor:
        called.append(1)
        return theta.square().sum()

    with pytest.raises(ValueError, match=r"largest = 3: .* 4 x 4 numbers.*use lbfgs or conjugate_gradient"):
        solver.minimize(loss, torch.ones(4, dtype=torch.float64), 10)
    assert not called
    assert solver.minimize(loss, torch.ones(3, dtype=torch.float64), 10).converged


@pytest.mark.parametrize(
    ("make", "begins"),
    [
        (lambda: Newton(damping=-1.0), "damping = -1.0: "),
        (lambda: Newton(floor=0.0), "floor = 0.0: "),
        (lambda: Newton(largest=0), "largest = 0: "),
        (lambda: BFGS(c1=0.6), "c1 = 0.6: "),
        (lambda: BFGS(c2=1e-5), "c2 = 1e-05: "),
        (lambda: LBFGS(history=0), "history = 0: "),
    ],
)
def test_impossible_settings_are_named(make: Callable[[], object], begins: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(begins)
