"""A decoder written by hand in torch: row by row, head by head, without padding; no code of the package."""

import math
from collections import defaultdict

import torch
from torch.nn import functional as F

ACTIVATIONS = {"tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu, "relu": torch.relu, "sin": torch.sin}


class HandDecoder:
    """The network of a spec, with weights by name; `seen` collects values on their way by (block, kind)."""

    def __init__(self, model, weights, turned=()):
        self.model, self.w, self.seen, self.turned = model, weights, defaultdict(list), turned

    def logits(self, sequences):
        """All rows that predict, sequence after sequence."""
        return torch.cat([self.of(torch.tensor(read(self.model, sequence))) for sequence in sequences])

    def of(self, tokens):
        """Logits of one sequence (T,), or of several of one length (.., T), at the positions that predict."""
        m = self.model
        x = self.w["W_E"][tokens]  # (.., T, d_model)
        if m.positions == "learned":
            x = x + self.w["W_pos"][: tokens.shape[-1]]
        for l in range(m.n_layers):
            x = self._block(f"blocks.{l}", x)
        if m.norm == "pre":
            x = self._norm("ends", "ln_final", x)
        f = x @ (self.w["W_E"].T if m.tied else self.w["W_U"])
        if m.biases:
            f = f + self.w["b_U"][0]
        return f if m.predict == "all" else f[..., -1:, :]

    def _block(self, at, x):
        if self.model.norm == "post":
            x = self._norm(at, f"{at}.ln1", self._added(at, x, self._attention(at, x)))
            return self._norm(at, f"{at}.ln2", self._added(at, x, self._hidden(at, x)))
        norm = self._norm if self.model.norm == "pre" else lambda at, name, x: x
        x = self._added(at, x, self._attention(at, norm(at, f"{at}.ln1", x)))
        return self._added(at, x, self._hidden(at, norm(at, f"{at}.ln2", x)))

    def _added(self, at, x, more):
        self.seen[at, "stream"].append(x + more)
        return x + more

    def _norm(self, at, name, x):
        if self.model.norm_kind == "layer":
            x = x - x.mean(dim=-1, keepdim=True)
        size = (x**2).mean(dim=-1, keepdim=True)
        self.seen[at, "variance"].append(size)
        x = x / torch.sqrt(size + self.model.norm_eps)
        x = -x if name in self.turned else x
        x = x * self.w[f"{name}.w"][0] if self.model.gains else x
        shift = self.model.gains and self.model.biases and self.model.norm_kind == "layer"
        return x + self.w[f"{name}.b"][0] if shift else x

    def _attention(self, at, h):
        d, T = self.model.d_head, h.shape[-2]
        total = 0.0
        for head in range(self.model.n_heads):
            mine = slice(head * d, (head + 1) * d)
            q, k, v = (h @ self.w[f"{at}.{name}"][:, mine] for name in ("W_Q", "W_K", "W_V"))
            if self.model.positions == "rotary":
                q, k = self._turned(q), self._turned(k)
            rows = []
            for i in range(T):
                scores = (k[..., : i + 1, :] * q[..., i : i + 1, :]).sum(dim=-1) / math.sqrt(d)  # (.., i + 1)
                self.seen[at, "scores"].append(scores - scores.mean(dim=-1, keepdim=True))
                rows.append((torch.softmax(scores, dim=-1)[..., None] * v[..., : i + 1, :]).sum(dim=-2))
            total = total + torch.stack(rows, dim=-2) @ self.w[f"{at}.W_O"][mine]
        return total

    def _turned(self, y):
        """Entry j of row i and the one half a head further, turned by the angle i 10000^(-2 j / d_head)."""
        half = self.model.d_head // 2
        columns = [None] * (2 * half)
        for j in range(half):
            angle = torch.arange(y.shape[-2], dtype=y.dtype) * 10_000.0 ** (-2 * j / self.model.d_head)
            a, b = y[..., j], y[..., j + half]
            columns[j] = a * angle.cos() - b * angle.sin()
            columns[j + half] = b * angle.cos() + a * angle.sin()
        return torch.stack(columns, dim=-1)

    def _hidden(self, at, h):
        z = h @ self.w[f"{at}.W_in"]
        z = z + self.w[f"{at}.b_in"][0] if self.model.biases else z
        self.seen[at, "pre-activations"].append(z)
        y = ACTIVATIONS[str(self.model.activation)](z) @ self.w[f"{at}.W_out"]
        return y + self.w[f"{at}.b_out"][0] if self.model.biases else y


def read(model, sequence):
    """Tokens of a sequence without its padding."""
    return [int(t) for t in sequence if model.padding is None or int(t) != model.padding]


def hand_loss(model, weights, data, turned=()):
    """Mean cross-entropy of the training sequences by their weights; a sequence's rows share its weight."""
    network, weight = HandDecoder(model, weights, turned), data.weights * ~data.held_out
    alike = defaultdict(list)  # sequences of one length go side by side
    for sequence, label, share in zip(data.sequences, data.labels, weight / weight.sum(), strict=True):
        tokens = read(model, sequence)
        alike[len(tokens)].append((tokens, [*tokens[1:], int(label)], share))
    total = 0.0
    for group in alike.values():
        tokens, targets, shares = map(torch.tensor, zip(*group, strict=True))
        f = network.of(tokens)  # (b, rows, d_vocab)
        losses = F.cross_entropy(f.mT, targets[:, -f.shape[1] :], reduction="none")
        total = total + losses.mean(dim=1) @ shares
    return total


def hand_gradient(model, weights, data, turned=()):
    """Gradient of `hand_loss` by weight, zero where a weight is not read; norms named in `turned` change their sign."""
    leaves = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    hand_loss(model, leaves, data, turned).backward()
    return {n: w.grad.numpy() if w.grad is not None else 0.0 * weights[n] for n, w in leaves.items()}
