"""The flows of all optimizers, as docs/optimizers.md states them, with numpy and nothing of ours but the gradient."""

import numpy as np

from smallinit.sim import GD, AdamW, Momentum, SignGD


def relaxation(beta, s=None):
    """Rate of a moment towards what feeds it, with Adam's correction at step s; 0 for one without memory."""
    r = -np.log(beta) if beta else 0.0
    return r / (1 - beta ** (s + 1)) if s is not None and beta else r


def towards_sign(a, size, eps):
    return np.divide(a, size + eps, out=np.zeros_like(a), where=a != 0)


def by_hand(o, flow, data, s, state, shapes):
    """d/ds of weights and moments, one block each, at step s."""
    n = sum(a * b for a, b in shapes.values())
    parts, w, low = state.reshape(-1, n), {}, 0
    for k, (a, b) in shapes.items():
        w[k], low = slice(low, low + a * b), low + a * b
    slope = flow.rhs(data, {k: parts[0, w[k]].reshape(shapes[k]) for k in w})
    out = np.zeros_like(parts)
    for k, at in w.items():
        x, g = parts[0, at], -slope[k].ravel()
        lam, eta = o.decays.get(k, o.weight_decay), o.learning_rate * o.rates.get(k, 1.0)
        mu = getattr(o, "momentum", 0.0)
        if isinstance(o, GD):
            out[0, at] = -eta * (g + lam * x)
        elif isinstance(o, Momentum):
            g = g + lam * x
            out[1, at] = relaxation(mu) * (g / (1 - mu) - parts[1, at])
            out[0, at] = -eta * (g + mu * parts[1, at] if o.nesterov else parts[1, at])
        elif isinstance(o, AdamW):
            a = parts[1, at] if o.betas[0] else g
            second = parts[2, at] if o.betas[1] else g**2
            out[1, at] = relaxation(o.betas[0], s) * (g - a)
            out[2, at] = relaxation(o.betas[1], s) * (g**2 - second)
            out[0, at] = -eta * (towards_sign(a, np.sqrt(second), o.eps) + lam * x)
        elif isinstance(o, SignGD):
            out[0, at] = -eta * (towards_sign(g, abs(g), o.eps) + lam * x)
        else:
            v = parts[1, at] if mu else g
            out[1, at] = relaxation(mu) * (g / (1 - mu) - v)
            u, size, vt = np.linalg.svd(v.reshape(shapes[k]), full_matrices=False)
            polar = (u * (size / np.hypot(size, o.eps * size[0]))) @ vt if size[0] else 0 * v
            out[0, at] = -eta * (polar.ravel() + lam * x)
    return out.ravel()
