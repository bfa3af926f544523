"""Every rule of the suite with its naive twin: the cases of the tests that run over them all."""

import numpy as np
import torch
from optim_problems import Turned, generators

from imitation.optim import (
    Adafactor,
    Adam,
    AdamMini,
    AdamW,
    Clipped,
    ClippedAdam,
    Conversion,
    Ema,
    Escape,
    Ftrl,
    GaussNewton,
    Lion,
    Muon,
    Rotated,
    Sam,
    ScheduleFree,
    Sgd,
    SignSgd,
    SlimAdam,
    Sm3,
    Soap,
    Subspace,
    SvdRotated,
)
from imitation.optim.reference import adam, averaging, curvature, online, plain, rotations, sharpness

ADAM = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 1e-2}
PLAIN_ADAM = {**ADAM, "weight_decay": 0.0}
SOAP = {**ADAM, "eps": 1e-3, "shampoo": 0.9, "every": 5}
"""In its first basis most of a gradient is zero up to rounding, which a tiny eps would blow up."""
SLOW = Sgd(lr=2e-2)
SLOW_TWIN = {"lr": 2e-2, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}


def places(member, least):
    """The random interpolations of a member, as its generator gives them."""
    generator = generators([member])[0]
    while True:
        yield least + (1 - least) * float(torch.rand((), generator=generator, dtype=torch.float64))


def scales(member):
    generator = generators([member])[0]
    while True:
        yield float(-torch.log1p(-torch.rand((), generator=generator, dtype=torch.float64)))


def rotation(member, *draws):
    """The rotation (7, 7) that Haar blocks make; blocks of one draw are index sets of equal size."""
    generator, R = generators([member])[0], np.eye(7)
    for blocks in draws:
        shape = len(blocks), len(blocks[0]), len(blocks[0])
        normals = torch.randn(shape, generator=generator, dtype=torch.float64).numpy()
        for rows, normal in zip(blocks, normals, strict=True):
            Q, upper = np.linalg.qr(normal)
            R[np.ix_(rows, rows)] = Q * np.sign(np.diag(upper))
    return R


def turned(config, *draws):
    """A case: AdamW in coordinates that are turned by Haar blocks."""
    return config, lambda w, g, k: rotations.rotated(
        w, g, rotation(k, *draws), lambda v, slope: adam.adamw(v, slope, **ADAM)
    )


def matrix(member, cubic):
    """The Hessian (cubic = 3) or Gauss-Newton matrix (2) of a member's turned bowl."""
    bowl = Turned([member])
    return lambda w: bowl.matrix(torch.from_numpy(w)[None], cubic)[0].numpy()


def basis(member, k):
    return torch.randn(7, k, generator=generators([member])[0], dtype=torch.float64).numpy()


def around(member, gradient, rho):
    """Draws a point on the sphere around w, and gives the gradient there."""
    generator = generators([member])[0]

    def drawn_at(w):
        u = torch.randn(7, generator=generator, dtype=torch.float64).numpy()
        return lambda w: gradient(w + rho * u / np.linalg.norm(u))

    return drawn_at


def sampled(member, gradient, rho):
    """Draws a sample and a sign, and gives the sample's gradient up or down its own slope."""
    generator = generators([member])[0]

    def drawn_at(w):
        i = int(torch.randint(2**31 - 1, (), generator=generator)) % 7
        sign = 2 * int(torch.randint(2, (), generator=generator)) - 1
        own = 7 * np.eye(7)[i]

        def nearby(w):
            slope = own * gradient(w)
            return own * gradient(w + rho * sign * slope / np.linalg.norm(slope))

        return nearby

    return drawn_at


def converted(choice, scaling, output):
    """A case of the conversion with the paper's learner."""
    zeta, lr = 0.8, 1e-2
    config = Conversion(
        Sgd(lr=zeta * lr, momentum=zeta), choice, zeta, scaling=scaling, output=output, discount=0.9
    )

    def draws(member):
        generator = generators([member])[0]
        while True:
            s, choose = (
                torch.rand((), generator=generator, dtype=torch.float64) if used else torch.ones(())
                for used in (scaling != "one", output == "random")
            )
            yield float(-torch.log1p(-s) if scaling == "exponential" else s), float(choose)

    return config, lambda w, g, k: curvature.conversion(
        w, g, lr=lr, zeta=zeta, choice=choice, scaling=scaling, output=output, discount=0.9, draws=draws(k)
    )


def clipped(gradient, by, most):
    def bounded(w):
        g = gradient(w)
        return g * min(1.0, most / np.linalg.norm(g)) if by == "norm" else np.clip(g, -most, most)

    return bounded


WHOLE = {
    "sgd": (SLOW, lambda w, g, k: plain.sgd(w, g, **SLOW_TWIN)),
    "momentum": (
        Sgd(lr=1e-2, momentum=0.9, weight_decay=1e-2),
        lambda w, g, k: plain.sgd(w, g, lr=1e-2, momentum=0.9, nesterov=False, weight_decay=1e-2),
    ),
    "nesterov": (
        Sgd(lr=1e-2, momentum=0.9, nesterov=True),
        lambda w, g, k: plain.sgd(w, g, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.0),
    ),
    "sign": (
        SignSgd(lr=1e-2, momentum=0.0, weight_decay=1e-2),
        lambda w, g, k: plain.sign_sgd(w, g, lr=1e-2, momentum=0.0, weight_decay=1e-2),
    ),
    "signum": (
        SignSgd(lr=1e-2),
        lambda w, g, k: plain.sign_sgd(w, g, lr=1e-2, momentum=0.9, weight_decay=0.0),
    ),
    "lion": (
        Lion(lr=1e-2, weight_decay=1e-2),
        lambda w, g, k: plain.lion(w, g, lr=1e-2, beta1=0.9, beta2=0.99, weight_decay=1e-2),
    ),
    "adamw": (AdamW(**ADAM), lambda w, g, k: adam.adamw(w, g, **ADAM)),
    "adam": (Adam(lr=1e-2, beta2=0.95), lambda w, g, k: adam.adamw(w, g, **PLAIN_ADAM)),
    "ftrl": (
        Ftrl(lr=1e-2, discount=0.9),
        lambda w, g, k: online.clipped_adam(w, g, D=1e-2, b=0.9, clip=np.inf, by="weight"),
    ),
    "clipped adam": (
        ClippedAdam(lr=1e-2, discount=0.9),
        lambda w, g, k: online.clipped_adam(w, g, D=1e-2, b=0.9, clip=1.0, by="weight"),
    ),
    "clipped adam by norm, random": (
        ClippedAdam(lr=1e-2, discount=0.9, by="norm", random=True),
        lambda w, g, k: online.clipped_adam(w, g, D=1e-2, b=0.9, clip=1.0, by="norm", scales=scales(k)),
    ),
    "sam": (
        Sam(SLOW, rho=0.1),
        lambda w, g, k: sharpness.sam(w, g, lr=2e-2, rho=0.1, normalised=1.0),
    ),
    "usam": (
        Sam(SLOW, rho=0.02, normalised=0.0),
        lambda w, g, k: sharpness.sam(w, g, lr=2e-2, rho=0.02, normalised=0.0),
    ),
    "asam, half normalised": (
        Sam(SLOW, rho=0.005, normalised=0.5, adaptive=True),
        lambda w, g, k: sharpness.sam(w, g, lr=2e-2, rho=0.005, normalised=0.5, adaptive=True),
    ),
    "clipped by norm": (
        Clipped(AdamW(**ADAM), most=0.5),
        lambda w, g, k: adam.adamw(w, clipped(g, "norm", 0.5), **ADAM),
    ),
    "clipped by value": (
        Clipped(SLOW, by="value", most=0.5),
        lambda w, g, k: plain.sgd(w, clipped(g, "value", 0.5), **SLOW_TWIN),
    ),
    "schedule-free sgd": (
        ScheduleFree(SLOW),
        lambda w, g, k: averaging.schedule_free(w, g, lr=2e-2, interpolation=0.9, law="polynomial"),
    ),
    "schedule-free without interpolation": (
        ScheduleFree(SLOW, interpolation=0.0, power=1.0),
        lambda w, g, k: averaging.schedule_free(
            w, g, lr=2e-2, interpolation=0.0, law="polynomial", power=1.0
        ),
    ),
    "schedule-free adamw": (
        ScheduleFree(AdamW(lr=1e-2, beta1=0.0, beta2=0.95, weight_decay=1e-2)),
        lambda w, g, k: averaging.schedule_free(
            w, g, lr=1e-2, interpolation=0.9, law="polynomial", beta2=0.95, eps=1e-8, weight_decay=1e-2
        ),
    ),
    "schedule-free, refined": (
        ScheduleFree(SLOW, interpolation=0.8, law="refined", weight=2.0),
        lambda w, g, k: averaging.schedule_free(w, g, lr=2e-2, interpolation=0.8, law="refined", weight=2.0),
    ),
    "schedule-free, random": (
        ScheduleFree(SLOW, interpolation=0.5, law="constant", weight=0.5, random=True),
        lambda w, g, k: averaging.schedule_free(
            w, g, lr=2e-2, interpolation=0.5, law="constant", weight=0.5, places=places(k, 0.5)
        ),
    ),
    "gauss-newton": (
        GaussNewton(lr=0.1, damping=0.1, iterations=14),
        lambda w, g, k: curvature.gauss_newton(w, g, matrix(k, 2), lr=0.1, damping=0.1),
    ),
    **{
        f"{keep} momentum": (
            Subspace(Sgd(lr=1e-2, momentum=0.5), keep=keep, k=2, every=1, first=3),
            lambda w, g, k, keep=keep: curvature.subspace_sgd(
                w, g, matrix(k, 3), basis(k, 2), lr=1e-2, momentum=0.5, keep=keep, first=3
            ),
        )
        for keep in ("dominant", "bulk")
    },
    "escape by a sphere": (
        Escape(SLOW, rho=0.1, small=2.0),
        lambda w, g, k: curvature.escape_sgd(w, g, around(k, g, 0.1), lr=2e-2, small=2.0),
    ),
    "escape by a sample": (
        Escape(SLOW, by="sample", rho=0.01, small=2.0),
        lambda w, g, k: curvature.escape_sgd(w, g, sampled(k, g, 0.01), lr=2e-2, small=2.0),
    ),
    "conversion, momentum": converted("last", "uniform", "random"),
    "conversion, exponential": converted("last", "exponential", "mean"),
    "conversion, anchored": converted("anchor", "one", "newest"),
    "conversion, schedule-free": converted("ahead", "uniform", "mean"),
    "rotated": turned(Rotated(AdamW(**ADAM), block=4), [[0, 2, 4, 6]], [[1, 3, 5]]),
    "rotated by layers": turned(
        Rotated(AdamW(**ADAM), scope="layer", block=5), [[0, 2, 4], [1, 3, 5]], [[6]]
    ),
    **{
        f"ema, {law}": (
            Ema(AdamW(**ADAM), law=law, decay=0.9, gamma=3.0),
            lambda w, g, k, law=law: averaging.ema(
                w, adam.adamw(w, g, **ADAM), law=law, decay=0.9, gamma=3.0
            ),
        )
        for law in ("constant", "corrected", "polynomial", "power")
    },
}
"""Rules that do not look at shapes: config, and the twin over the flat weights with the member's number."""
BY_TENSOR = {
    "adam-mini, outputs": (
        AdamMini(**ADAM),
        lambda w, g: adam.shared_adam(w, g, axes=(1,) if w.ndim > 1 else (), **ADAM),
    ),
    "adam-mini, tensors": (
        AdamMini(**ADAM, block="tensor"),
        lambda w, g: adam.shared_adam(w, g, axes=tuple(range(w.ndim)), **ADAM),
    ),
    "slim adam, outputs": (
        SlimAdam(**ADAM, over="outputs"),
        lambda w, g: adam.shared_adam(w, g, axes=(0,), **ADAM),
    ),
    "adafactor": (
        Adafactor(lr=1e-2, beta2=0.95),
        lambda w, g: adam.adafactor(w, g, lr=1e-2, beta2=0.95, eps=1e-30, largest=1.0),
    ),
    "sm3": (Sm3(lr=5e-2), lambda w, g: adam.sm3(w, g, lr=5e-2, momentum=0.9)),
    "sm3 without momentum": (Sm3(lr=5e-2, momentum=0.0), lambda w, g: adam.sm3(w, g, lr=5e-2, momentum=0.0)),
    **{
        f"muon, {scale}": (
            Muon(lr=2e-2, nesterov=nesterov, weight_decay=1e-2, scale=scale, rest=AdamW(**ADAM)),
            lambda w, g, scale=scale, nesterov=nesterov: (
                plain.muon(w, g, lr=2e-2, momentum=0.95, nesterov=nesterov, weight_decay=1e-2, scale=scale)
                if w.ndim > 1
                else adam.adamw(w, g, **ADAM)
            ),
        )
        for scale, nesterov in (("shape", True), ("rms", False))
    },
    "svd": (
        SvdRotated(AdamW(**{**ADAM, "eps": 1e-3}), every=20),
        lambda w, g: (
            rotations.singular(w, g, **{**ADAM, "eps": 1e-3}, every=20)
            if w.ndim > 1
            else adam.adamw(w, g, **{**ADAM, "eps": 1e-3})
        ),
    ),
    "soap": (
        Soap(**SOAP),
        lambda w, g: plain.soap(w, g, **SOAP) if w.ndim > 1 else adam.adamw(w, g, **{**ADAM, "eps": 1e-3}),
    ),
}
"""Rules that look at shapes: config, and the twin over one tensor."""
CASES = {name: config for name, (config, _) in (WHOLE | BY_TENSOR).items()}
