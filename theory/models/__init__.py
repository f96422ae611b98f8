"""The built-in models, each stated as symbolic logits."""

from .attention_only import AttentionOnly as AttentionOnly
from .emb_mlp import EmbMLP as EmbMLP
from .embed_unembed import EmbedUnembed as EmbedUnembed
from .one_layer_transformer import OneLayerTransformer as OneLayerTransformer
from .scalar_classifier import ScalarClassifier as ScalarClassifier
from .two_token_mlp import TwoTokenMLP as TwoTokenMLP
