"""Symbols: tasks and their statistics, models, and the gradient-flow equations derived from them."""

from .activations import Activation as Activation
from .check import Verdict as Verdict
from .check import check as check
from .closure import Closure as Closure
from .dataset import Dataset as Dataset
from .flow import Flow as Flow
from .flow import derive as derive
from .inputs import weight as weight
from .interventions import shuffle_labels as shuffle_labels
from .interventions import subset as subset
from .laws import key_label_law as key_label_law
from .laws import memory_label_law as memory_label_law
from .laws import reasoning_label_law as reasoning_label_law
from .laws import sum_law as sum_law
from .laws import sum_law_by_convolution as sum_law_by_convolution
from .laws import uniform_sum_law as uniform_sum_law
from .matrices import apply as apply
from .matrices import hadamard as hadamard
from .model import Model as Model
from .models import AttentionOnly as AttentionOnly
from .models import EmbedUnembed as EmbedUnembed
from .models import EmbMLP as EmbMLP
from .models import OneLayerTransformer as OneLayerTransformer
from .models import ScalarClassifier as ScalarClassifier
from .models import TwoTokenMLP as TwoTokenMLP
from .modes import Modes as Modes
from .modes import signature_modes as signature_modes
from .nodes import RowSoftmax as RowSoftmax
from .similarity import bigrams as bigrams
from .similarity import cooccurrence_similarity as cooccurrence_similarity
from .similarity import signature_similarity as signature_similarity
from .spec import Spec as Spec
from .tasks import CompositeTask as CompositeTask
from .text import Lexicon as Lexicon
from .text import read_text as read_text

# Last: the function takes the place of the package's own name; its modules stay importable.
from .claims import claims as claims  # isort: skip
