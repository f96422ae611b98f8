"""A decoder made of torch's own modules, mapped as the page decoder says, takes the steps of the house's."""

import numpy as np
import pytest
import torch
from torch import nn

from smallinit.compare import train
from smallinit.sim import AdamW
from smallinit.theory import Decoder

WIDTH, HEADS, HEAD, HIDDEN = 8, 2, 4, 12


class OfTorch(nn.Module):
    """One block, pre-norm, causal; the logits of the last position."""

    def __init__(self, d_vocab, n_ctx):
        super().__init__()
        self.tokens, self.places = nn.Embedding(d_vocab, WIDTH), nn.Parameter(torch.zeros(n_ctx, WIDTH))
        self.ln1, self.ln2, self.final = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.q, self.k, self.v = (nn.Linear(WIDTH, HEADS * HEAD, bias=False) for _ in range(3))
        self.o = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.read = nn.Linear(WIDTH, d_vocab)

    def forward(self, tokens):
        u = self.tokens(tokens) + self.places
        seen = self.ln1(u)
        q, k, v = (
            part(seen).unflatten(-1, (HEADS, HEAD)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        u = u + self.o(heads.transpose(1, 2).flatten(-2))
        u = u + self.down(torch.tanh(self.up(self.ln2(u))))
        return self.read(self.final(u))[:, -1]

    def mapped(self):
        """Name in the theory -> parameter, and how it is read."""
        as_it_is, turned, row = (lambda w: w), (lambda w: w.T), (lambda w: w[None])
        found = {"W_E": (self.tokens.weight, as_it_is), "W_pos": (self.places, as_it_is)}
        block = {
            "W_Q": self.q,
            "W_K": self.k,
            "W_V": self.v,
            "W_O": self.o,
            "W_in": self.up,
            "W_out": self.down,
        }
        found |= {f"blocks.0.{name}": (part.weight, turned) for name, part in block.items()}
        found |= {"blocks.0.b_in": (self.up.bias, row), "blocks.0.b_out": (self.down.bias, row)}
        found |= {"W_U": (self.read.weight, turned), "b_U": (self.read.bias, row)}
        for name, norm in (("blocks.0.ln1", self.ln1), ("blocks.0.ln2", self.ln2), ("ln_final", self.final)):
            found |= {f"{name}.w": (norm.weight, row), f"{name}.b": (norm.bias, row)}
        return found


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_the_map_of_the_page_decoder(data, weight_decay):
    sizes = {"d_model": WIDTH, "d_head": HEAD, "d_mlp": HIDDEN, "n_ctx": data.n_ctx}
    model = Decoder(data.d_vocab, **sizes, n_layers=1, n_heads=HEADS, biases=True)
    start = model.init(0.5, 0)
    network = OfTorch(data.d_vocab, data.n_ctx).double()
    mapped = network.mapped()
    assert mapped.keys() == start.keys()
    with torch.no_grad():
        for name, (parameter, how) in mapped.items():
            how(parameter).copy_(torch.tensor(start[name]))
    seen = ~data.held_out
    tokens, labels = torch.tensor(data.sequences[seen]), torch.tensor(data.labels[seen])
    omega = torch.tensor(data.weights[seen])
    rule = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=weight_decay)
    for _ in range(20):
        rule.zero_grad()
        (omega @ nn.functional.cross_entropy(network(tokens), labels, reduction="none")).backward()
        rule.step()
    run = train(model, data, start, AdamW(1e-2, weight_decay=weight_decay), steps=20, save_at=2)
    for name, (parameter, how) in mapped.items():
        found = how(parameter.detach()).numpy()
        assert np.abs(found - start[name]).max() > 1e-3
        np.testing.assert_allclose(run.weights[name][-1], found, atol=1e-10, err_msg=name)
