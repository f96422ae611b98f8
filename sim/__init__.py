"""Numbers: flows compiled to kernels, integrated to trajectories."""

from __future__ import annotations

from . import methods as methods
from .balanced import balanced_start as balanced_start
from .certificate import Certificate as Certificate
from .certificate import certificate as certificate
from .check_flow import check_flow as check_flow
from .ensemble import Ensemble as Ensemble
from .events import Event as Event
from .integrate import integrate as integrate
from .integrate_ensemble import integrate_ensemble as integrate_ensemble
from .methods import DOP853 as DOP853
from .methods import EULER as EULER
from .methods import RKC as RKC
from .methods import TAYLOR as TAYLOR
from .methods import TSIT5 as TSIT5
from .methods import Method as Method
from .methods import Series as Series
from .methods import Stabilised as Stabilised
from .mode_ensemble import ModeEnsemble as ModeEnsemble
from .mode_ensemble import integrate_modes as integrate_modes
from .modes import learning_times as learning_times
from .modes import mode_blow_ups as mode_blow_ups
from .modes import mode_residuals as mode_residuals
from .outcome import IntegrationError as IntegrationError
from .outcome import Outcome as Outcome
from .outcome import Status as Status
from .provenance import provenance as provenance
from .record import Solution as Solution
from .reduction import Reduction as Reduction
from .reduction import reduce as reduce
from .solve import solve as solve
from .stages import Stages as Stages
from .stages import alignment as alignment
from .stages import onset as onset
from .stages import predict_stages as predict_stages
from .sweep import Sweep as Sweep
from .sweep import open_sweep as open_sweep
from .sweep import run_sweep as run_sweep
from .trajectory import Trajectory as Trajectory
from .trajectory import load_trajectory as load_trajectory

__all__ = [
    "DOP853",
    "EULER",
    "RKC",
    "TAYLOR",
    "TSIT5",
    "Certificate",
    "Ensemble",
    "Event",
    "IntegrationError",
    "Method",
    "ModeEnsemble",
    "Outcome",
    "Reduction",
    "Series",
    "Solution",
    "Stabilised",
    "Stages",
    "Status",
    "Sweep",
    "Trajectory",
    "alignment",
    "balanced_start",
    "certificate",
    "check_flow",
    "integrate",
    "integrate_ensemble",
    "integrate_modes",
    "learning_times",
    "load_trajectory",
    "methods",
    "mode_blow_ups",
    "mode_residuals",
    "onset",
    "open_sweep",
    "predict_stages",
    "provenance",
    "reduce",
    "run_sweep",
    "solve",
]
