"""Closed forms of learning curves, escape and blow-up times."""

from .blow_up_forms import blow_up_bracket as blow_up_bracket
from .blow_up_forms import decayed_blow_up as decayed_blow_up
from .blow_up_forms import decayed_time as decayed_time
from .blow_up_forms import homogeneous_blow_up as homogeneous_blow_up
from .blow_up_forms import homogeneous_clock as homogeneous_clock
from .blow_up_forms import homogeneous_decayed_blow_up as homogeneous_decayed_blow_up
from .blow_up_forms import three_factor_blow_up as three_factor_blow_up
from .blow_up_forms import trilinear_blow_up as trilinear_blow_up
from .closed_forms import ascent_blow_up as ascent_blow_up
from .closed_forms import ascent_mode as ascent_mode
from .closed_forms import condensation_cosine as condensation_cosine
from .closed_forms import escape_time as escape_time
from .closed_forms import linear_mode as linear_mode
from .closed_forms import unbalanced_mode as unbalanced_mode
from .deep_linear import deep_linear_mode as deep_linear_mode
from .deep_linear import deep_linear_time as deep_linear_time
from .keys_and_queries import key_query as key_query
from .keys_and_queries import key_query_ratio as key_query_ratio
