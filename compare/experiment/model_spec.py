"""The network of an experiment, whose keys depend on its kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ... import theory
from ...theory.base.errors import FieldError
from ...theory.base.names import ACTIVATIONS, BAD_ACTIVATIONS, LOSSES, MODELS
from .own_model import own_file
from .sections import Section, alternatives
from .values import (
    POSITION_NAMES,
    Activation,
    Digest,
    Loss,
    ModelName,
    Norm,
    NormKind,
    OwnFields,
    Places,
    Predict,
    Size,
)

OWN_DEFAULTS: dict[str, dict[str, Any]] = {  # of keys that mean something else to another model
    "OneLayerTransformer": {"positions": False},
    "AttentionOnly": {"n_layers": 1},
    "Decoder": {"n_layers": 2, "positions": "learned"},
}
COMMON_KEYS = ("name", "loss", "d_vocab")  # of all models
FILE_KEYS = ("fields", "sha256")  # of models of the user's own


class _ModelKeys(Mapping[str, tuple[str, ...]]):
    """Model -> what is its own to choose beside the loss and the sizes of the data: the other fields of its class.

    The classes, and sympy with them, are loaded when keys are asked for, not when names are.
    """

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in MODELS:
            raise KeyError(name)
        return _chosen_fields(name)

    def __iter__(self) -> Iterator[str]:
        return iter(MODELS)

    def __len__(self) -> int:
        return len(MODELS)


@cache
def _chosen_fields(name: str) -> tuple[str, ...]:
    own = (f.name for f in dataclasses.fields(getattr(theory, name)))
    return tuple(key for key in own if key not in (*COMMON_KEYS, "n_ctx"))


MODEL_KEYS = _ModelKeys()


class ModelSpec(Section):
    """The network; each model takes some of the keys, and the others are refused."""

    name: ModelName = Field(
        default="EmbMLP",
        description=f"{alternatives(list(MODELS))}; or a class of your own, my_model.py:MyModel.",
    )
    d_model: Size = Field(default=200, description="Embedding width.")
    d_mlp: Size = Field(default=400, description="Hidden width.")
    d_head: Size = Field(default=64, description="Width of keys, queries and values.")
    n_layers: int | None = Field(
        default=None, ge=1, le=64, description="Layers; 1 for AttentionOnly and 2 for Decoder if absent."
    )
    n_heads: int = Field(default=1, ge=1, le=256, description="Heads of each layer (Decoder).")
    unembed: bool = Field(default=True, description="Read logits through W_U (OneLayerTransformer).")
    positions: Places | None = Field(
        default=None,
        description="Whether there is a positional embedding (OneLayerTransformer; not if absent), or learned, rotary "
        "or none (Decoder; learned if absent).",
    )
    norm: Norm = Field(
        default="pre", description="Where the stream is normalised: pre, post or none (Decoder)."
    )
    norm_kind: NormKind = Field(default="layer", description="LayerNorm or RMSNorm: layer or rms (Decoder).")
    norm_eps: float = Field(
        default=1e-5, ge=0, description="What a norm adds to the mean square of a row (Decoder)."
    )
    gains: bool = Field(default=True, description="Whether norms have gains, which start at 1 (Decoder).")
    biases: bool = Field(
        default=False, description="Whether there are b_in, b_out, b_U, and shifts beside gains (Decoder)."
    )
    tied: bool = Field(default=False, description="Whether logits are read through W_E^T (Decoder).")
    predict: Predict = Field(
        default="last", description="Label at the last position, or next token at all (Decoder)."
    )
    padding: int | None = Field(
        default=None, ge=0, description="Token that is none; there is none if absent (Decoder)."
    )
    activation: Activation = Field(
        default="tanh", description=f"One of {', '.join(ACTIVATIONS)}; for Decoder also relu."
    )
    loss: Loss | None = Field(default=None, description=f"{alternatives(LOSSES)}; the model's own if absent.")
    d_vocab: Size | None = Field(
        default=None, description="Vocabulary size; as large as the data need if absent."
    )
    fields: OwnFields | None = Field(
        default=None, description='Further fields of a model of your own: "d_gate=5,kind=soft".'
    )
    sha256: Digest | None = Field(
        default=None, description="Of the file of a model of your own, which must be this; any if absent."
    )

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, values: Any) -> Any:
        """What the model takes where nothing is said, so that it is written with the rest."""
        if not isinstance(values, dict):
            return values
        name = values.get("name", cls.model_fields["name"].default)
        return OWN_DEFAULTS.get(name if isinstance(name, str) else "", {}) | values

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that the model has; of one's own it is not known here, and those that are set."""
        if self.own:
            return tuple(k for k in type(self).model_fields if k in ("name", *self.said, *FILE_KEYS))
        return (*COMMON_KEYS, *MODEL_KEYS[self.name])

    @property
    def own(self) -> bool:
        """Whether the model is the user's, named by its file."""
        return own_file(self.name) is not None

    @property
    def said(self) -> dict[str, Any]:
        """Keys of a model of one's own that are set, but for what names it."""
        known = (key for key in type(self).model_fields if key not in ("name", *FILE_KEYS))
        return {
            key: value
            for key in known
            if key in self.model_fields_set and (value := getattr(self, key)) is not None
        }

    @model_validator(mode="after")
    def _keys_of_its_own(self) -> ModelSpec:
        if self.own:
            return self
        for key in type(self).model_fields:
            if key in FILE_KEYS and getattr(self, key) is None:
                continue
            if key in self.model_fields_set and key not in self.keys:
                has = ", ".join(key for key in self.keys if key != "name")
                raise FieldError(f"model.{key}", f"is no key of {self.name}, which takes {has}; leave it out")
        return self

    @model_validator(mode="after")
    def _own_values(self) -> ModelSpec:
        """Refuse values that another model takes; one's own says itself what it takes."""
        if self.own:
            return self
        decoder = self.name == "Decoder"
        if self.activation in BAD_ACTIVATIONS and not (decoder and self.activation == "relu"):
            raise FieldError(
                "model.activation",
                f"{self.activation!r} breaks Assumption 1 (s twice differentiable, s(0) = 0, s'(0) = 1); "
                "use a smooth activation such as 'tanh' or 'gelu'",
            )
        if self.positions is not None and isinstance(self.positions, bool) is decoder:
            known = alternatives(POSITION_NAMES if decoder else ("true", "false"))
            raise FieldError("model.positions", f"of {self.name} must be {known}, got {self.positions!r}")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the model's class, but for the sizes of the data."""
        given = self.model_dump(exclude_none=True)
        absent = {key: None for key in ("norm", "positions") if given.get(key) == "none"}
        return given | absent

    @model_serializer(mode="wrap")
    def _without_others(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        keys = self.keys
        return {key: value for key, value in handler(self).items() if key in keys}
