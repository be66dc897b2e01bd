"""The public names, in full: what conf/, other people's YAMLs and other people's code import."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: A name that goes away or changes here breaks somebody's import. Add new ones on purpose.
PUBLIC: dict[str, str] = {
    "rlgan.optim": """
        AMS AcceleGrad AdaGrad AdaGradFull AdaGradNorm Alternating Average BFGS Ball Box ConjugateGradient Consensus
        Constant CoolDown Cosine Descent EMA EagerField Extragradient FullBatch Game GaussianNoise GradientEMA
        GradientField Identity InverseSqrtHorizon LBFGS Langevin LineSearchFailed Linear Lookahead Losses Method
        Metric Metrics MinimisationTrace Momentum Nets Newton NoAverage NoMomentum NoNoise NoProjection Noise
        NonFinite Optimistic OrnsteinUhlenbeckNoise PastExtrapolation Periodic Piecewise Player PlayerSpec Position
        Power Product Projection PureField RMS Report RunEMA Schedule Several Simplex Simultaneous SpectralBall
        Sphere Stack SteepestDescent Symplectic TorchMethod TwoPlayers UniformAverage Update VariableMetric Vector
        Velocity Warmup WeightedAverage adagrad adagrad_full adagrad_norm adam adamw amsgrad from_torch heavy_ball
        nesterov perturbed_sgd rmsprop rmsprop_nesterov sgd sgld variable_metric
    """,
    "rlgan.optim.torch_optim": """
        AMSGrad AcceleGrad AdaGrad AdaGradFull AdaGradNorm Adam AdamW HeavyBall MethodOptimizer Nesterov
        PerturbedSGD RMSProp RMSPropNesterov SGD SGLD TorchMethod from_torch
    """,
    "rlgan.gan": """
        ArrayFile Atoms Clip Cones Data Digits Dirac Dragan FiniteData Folder Funnel GANLoss Gaussians Glyphs
        GradientPenalty Grid GroupSort Hinge HuggingFace Interpolation LeastSquares Lipschitz Mixture NoControl
        NonSaturating OneSided Pair Patches Penalty R1 R2 Ring Scaling SpectralNorm SwissRoll Translation TwoMoons
        WGAN Wasserstein
    """,
    "rlgan.rl": """
        Acting Agent DDPG DPG Environment Exploration Explorer GaussianActionNoise Layout MixedNoise NoExploration
        OrnsteinUhlenbeckActionNoise ParameterNoise PrioritisedReplay ReplaySpec Rollout TD3 Trainer Transition
        UniformReplay bandit deterministic_policy_loss lqr smoothed sparse td_loss td_target
    """,
    "rlgan.erm": """
        AbsoluteDeviations ArrayFile Auto Blobs Calibration Chain Crater CrossEntropy Curve Digits ERM Folder Hinge
        Labelled LinearRegression Logistic LogisticRegression Loss MinmaxSaddle MonkeySaddle Plateaus Problem Product
        Quadratic Ramp RareLargeGradient Reliability Rings Rosenbrock Sample SparseFeatures Squared SteepThenFlat
        Surface TwoMoons Wide Wilson
    """,
    "rlgan.nets": """
        Activation Actor BySizeSpec ConvNet ConvSpec DCGANCritic DCGANGenerator DCGANSpec DDPG_FINAL_BOUND Init
        LateQCritic LinearSpec MLP MLPSpec Many NetworkSpec Norm OrthogonalMLP OrthogonalSpec Output PairedCritic
        PointSpec QCritic ResNetCritic ResNetGenerator ResNetSpec Single TwinQCritic initialise
        spectrally_normalised twin
    """,
    "rlgan.task": """
        Callback CheckpointError ConfigError Diverged EarlyStopping Examination Function InputError Metric
        Opening Painter Picture Play Pruning Request RunError Settings Sink Stackable Task TimeLimit Together Video
        drive
    """,
    "rlgan.face": """
        Call Trained export load train
    """,
    "rlgan.runs.compare": """
        Drawn Ran
    """,
    "rlgan.lectures": """
        accelegrad adaptive_generalisation averaging backpropagation cool_down critic_bias
        depth_and_batch_normalisation earth_movers_distance exploration_and_exploitation exploring
        initialisations lifting lipschitz_control loss_surface memorisation minibatches mode_collapse momentum
        non_convergence orders_of_play plateaus random_labels rates saddles scales sharp_and_flat
        steep_then_flat steps uniform_frame universal_approximation wide_network width
    """,
}


def exported(face: str) -> set[str]:
    """The names that the package's __init__.py imports."""
    path = ROOT / face.replace(".", "/") / "__init__.py"
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {a.asname or a.name for node in imports if node.module != "__future__" for a in node.names}


@pytest.mark.parametrize("face", PUBLIC)
def test_a_face_has_the_names_that_are_listed(face: str) -> None:
    listed, found = set(PUBLIC[face].split()), exported(face)
    assert (sorted(listed - found), sorted(found - listed)) == ([], []), "(gone, not listed)"
    module = importlib.import_module(face)
    assert all(hasattr(module, name) for name in listed)


YAML = sorted([*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "tests").rglob("*.yaml")])


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_target_is_a_public_name(path: Path) -> None:
    for target in re.findall(r"_target_: *([\w.]+)", path.read_text()):
        face, _, name = target.rpartition(".")
        if face.partition(".")[0] == "rlgan":
            assert name in PUBLIC.get(face, "").split(), f"{target} is not among the public names"
