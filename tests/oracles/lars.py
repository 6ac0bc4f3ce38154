"""LARS variants in float64 NumPy, each from its own published formula; one tensor, many steps."""

from dataclasses import dataclass, field

import numpy as np

ETA = {"apex_larc": 0.02, "lamb_paper": 1.0}
EPS = {"apex_larc": 1e-8, "timm": 1e-8, "solo": 1e-8, "lightly": 1e-8}


def norm(x):
    return np.sqrt(np.sum(x * x))


@dataclass
class Oracle:
    """The state of one tensor under one variant.

    clip: trust_clip, clip_lars_lr, apex's clip. adapt: timm's always_adapt. exclude_1d: solo's.
    """

    preset: str
    w: np.ndarray
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    clip: bool | None = None
    adapt: bool = False
    exclude_1d: bool = False
    eps: float | None = None
    m: np.ndarray | None = field(default=None)

    def step(self, g, lr):
        if self.preset == "lamb_paper":
            self._lamb_step(g, lr)
        elif self.preset in ("paper2017", "mlperf"):
            self._inside_step(lr * self.direction(g, lr))
        else:
            self._outside_step(self.direction(g, lr), lr)

    def _lamb_step(self, g, lr):
        m = np.zeros_like(self.w) if self.m is None else self.m
        self.m = self.momentum * m + (1 - self.momentum) * (g + self.weight_decay * self.w)
        w_norm, m_norm = norm(self.w), norm(self.m)
        q = w_norm / m_norm if w_norm > 0 and m_norm > 0 else 1.0
        self.w = self.w - lr * q * self.m

    def _inside_step(self, u):
        m = u if self.m is None else self.momentum * self.m + u
        self.m = m
        self.w = self.w - (u + self.momentum * m if self.nesterov else m)

    def _outside_step(self, u, lr):
        if self.momentum == 0:
            self.m, s = None, u
        else:
            m = u if self.m is None else self.momentum * self.m + (1 - self.dampening) * u
            s = u + self.momentum * m if self.nesterov else m
            self.m = m
        self.w = self.w - lr * s

    def direction(self, g, lr):
        return getattr(self, f"_{self.preset}")(g, lr)

    def _separate(self, g):
        eps = EPS.get(self.preset, 0.0) if self.eps is None else self.eps
        eta = ETA.get(self.preset, 1e-3)
        return eta * norm(self.w) / (norm(g) + self.weight_decay * norm(self.w) + eps)

    def _paper2017(self, g, lr):
        q = self._separate(g) if norm(self.w) > 0 and norm(g) > 0 else 1.0
        return q * (g + self.weight_decay * self.w)

    def _mlperf(self, g, lr):
        return g if self.w.ndim <= 1 else self._paper2017(g, lr)

    def _apex_larc(self, g, lr):
        if norm(self.w) == 0 or norm(g) == 0:
            return g
        q = self._separate(g)
        if self.clip is not False:
            q = np.minimum(q / lr, 1.0)
        return q * (g + self.weight_decay * self.w)

    def _timm(self, g, lr):
        if self.weight_decay == 0 and not self.adapt:
            return g
        q = self._separate(g) if norm(self.w) > 0 and norm(g) > 0 else 1.0
        if self.clip:
            q = np.minimum(q / lr, 1.0)
        return q * (g + self.weight_decay * self.w)

    def _solo(self, g, lr):
        if self.exclude_1d and self.w.ndim == 1:
            return g
        if norm(self.w) == 0 or norm(g) == 0:
            return g
        q = self._separate(g)
        if self.clip:
            q = np.minimum(q / lr, 1.0)
        return q * (g + self.weight_decay * self.w)

    def _lightly(self, g, lr):
        if self.weight_decay == 0 or norm(self.w) == 0 or norm(g) == 0:
            return g
        return self._separate(g) * (g + self.weight_decay * self.w)

    def _authors(self, g, lr):
        d = g + self.weight_decay * self.w
        q = 1e-3 * norm(self.w) / norm(d) if norm(self.w) > 0 and norm(d) > 0 else 1.0
        return q * d

    def _fair(self, g, lr):
        return g if self.w.ndim <= 1 else self._authors(g, lr)
