"""Makes extra.safetensors and extra.json: what the stored cases leave out.

Samplers that diffusers lacks come from k-diffusion; `dpmpp-sde` is diffusers' class with the noise of its Brownian tree drawn
from a generator as the path goes along; sigma curves that diffusers lacks are computed here and given to its euler as a list;
tails begin at an index as image-to-image does. Every case starts from the noise of generator seed 1 and draws from seed 2.

Needs torch 2.15, diffusers 0.42.1, k-diffusion 0.1.1, scipy. Usage: make_extra.py OUT_PREFIX
"""
import importlib.util
import inspect
import json
import math
import sys
import types
import warnings

import numpy as np
import torch
import diffusers
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
# Only the samplers: the package itself imports what evaluation needs.
for name in ("k_diffusion", "k_diffusion.utils"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["k_diffusion.utils"].append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
sys.modules["k_diffusion"].utils = sys.modules["k_diffusion.utils"]
sys.modules["k_diffusion"].__path__ = []
root = next(p for p in sys.path if p and __import__("os").path.exists(f"{p}/k_diffusion/sampling.py"))
spec = importlib.util.spec_from_file_location("k_diffusion.sampling", f"{root}/k_diffusion/sampling.py")
k = importlib.util.module_from_spec(spec)
spec.loader.exec_module(k)

S = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
L = dict(timestep_spacing="leading", steps_offset=1)
T, N = dict(timestep_spacing="trailing"), dict(timestep_spacing="linspace")
V, X = dict(prediction_type="v_prediction"), dict(prediction_type="sample")
K, XP, B, LU = ({f"use_{n}": True} for n in ("karras_sigmas", "exponential_sigmas", "beta_sigmas", "lu_lambdas"))
M = dict(final_sigmas_type="sigma_min")
NC = dict(clip_sample=False, set_alpha_to_one=False)
SHAPE = (1, 4, 6, 5)
STEPS = (3, 11)
cases, out = {}, {}


def gen(seed):
    return torch.Generator("cpu").manual_seed(seed)


def network(x, t):
    return 0.6 * x + 0.2 * torch.sin(3 * x + float(t) / 100)


def keep(name, steps, timesteps, sigmas, final, record):
    assert torch.isfinite(final).all(), (name, steps)
    out[f"{name}-{steps}/timesteps"] = torch.as_tensor(timesteps).double()
    if sigmas is not None:
        out[f"{name}-{steps}/sigmas"] = torch.as_tensor(sigmas).float()
    out[f"{name}-{steps}/final"] = final
    cases.setdefault(name, record | {"steps": []})["steps"].append(steps)


class Path:
    """Unit increments of one Brownian path over sigma: to the middle of a step, then over all of it."""

    def __init__(self, generator):
        self.generator, self.first = generator, None

    def __call__(self, start, end):
        z = torch.randn(SHAPE, generator=self.generator)
        if self.first is None:
            self.first = (start, end, z)
            return z
        begin, middle, earlier = self.first
        self.first = None
        assert begin == start
        w = earlier * (begin - middle) ** 0.5 + z * (middle - end) ** 0.5
        return w / (begin - end) ** 0.5


def run(name, cls, *parts, step=None, timesteps=None, sigmas=None, strength=None, choice=None, stepses=STEPS):
    """A class of diffusers; `strength` runs the tail."""
    cls = getattr(diffusers, cls)
    config = {k: v for part in parts for k, v in part.items()}
    for steps in stepses:
        s = cls(**config)
        given = {"timesteps": timesteps} if timesteps else {"sigmas": sigmas} if sigmas else {}
        s.set_timesteps(**given) if given else s.set_timesteps(steps)
        n = len(timesteps) if timesteps else len(sigmas) - 1 if sigmas else steps
        begin = 0
        noise = torch.randn(SHAPE, generator=gen(1))
        x = noise * float(getattr(s, "init_noise_sigma", 1.0))
        if strength is not None:
            begin = max(n - min(int(n * strength), n), 0) * s.order
            if hasattr(s, "set_begin_index"):
                s.set_begin_index(begin)
            original = torch.randn(SHAPE, generator=gen(3))
            x = s.add_noise(original, noise, s.timesteps[begin:begin + 1])
        if cls is diffusers.DPMSolverSDEScheduler:
            s.noise_sampler = Path(gen(2))
        extra = {"generator": gen(2)} if "generator" in inspect.signature(s.step).parameters else {}
        for t in s.timesteps[begin:]:
            scaled = s.scale_model_input(x, t)
            x = s.step(network(scaled, t), t, x, **extra, **(step or {})).prev_sample
        record = {"class": cls.__name__, "config": config}
        chosen = dict(choice or {}) | (step or {}) | given
        if chosen:
            record["choice"] = chosen
        if strength is not None:
            record["strength"] = strength
        keep(name, n, s.timesteps, getattr(s, "sigmas", None), x.float(), record)


def kdiff(name, ours, sampler, *parts, stepses=STEPS, eta=None, prediction="epsilon", curve=None):
    """A sampler of k-diffusion on the levels of diffusers' euler; `ours` is our name for it."""
    config = {k: v for part in parts for k, v in part.items()}
    for steps in stepses:
        s = diffusers.EulerDiscreteScheduler(**config, **(curve or {}))
        s.set_timesteps(steps)
        table = np.log(np.array(((1 - s.alphas_cumprod) / s.alphas_cumprod) ** 0.5))
        calls = []

        def model(x, sigma):
            sigma = sigma[0]
            t = float(np.float32(s._sigma_to_t(sigma.double().numpy(), table)))
            calls.append(t)
            return x - sigma * network(x / (sigma**2 + 1) ** 0.5, t)

        g = gen(2)
        x = torch.randn(SHAPE, generator=gen(1)) * float(s.init_noise_sigma)
        extra = {} if eta is None else {"eta": eta}
        x = sampler(model, x, s.sigmas, disable=True, noise_sampler=lambda a, b: torch.randn(SHAPE, generator=g), **extra)
        # Sigmas are those of the calls here, and so left out; fractional timesteps are the middles.
        keep(name, steps, calls, None, x, {"class": "EulerDiscreteScheduler", "config": config, "choice": {"name": ours} | extra})


AYS = [999, 845, 730, 587, 443, 310, 193, 116, 53, 13]
KDPM2, KDPM2A, LMS, SDE = "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverSDEScheduler"
DEIS, SINGLE, MULTI, UNIPC = "DEISMultistepScheduler", "DPMSolverSinglestepScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
EULER, HEUN, DDIM, PNDM = "EulerDiscreteScheduler", "HeunDiscreteScheduler", "DDIMScheduler", "PNDMScheduler"

for short, cls in (("dpm2", KDPM2), ("dpm2a", KDPM2A), ("lms", LMS), ("sde", SDE), ("heun", HEUN)):
    for what, part in (("plain", L), ("trailing", T), ("linspace", N), ("karras", L | K), ("exponential", L | XP), ("beta", L | B), ("v", L | V)):
        run(f"{short}-{what}", cls, S, part)
run("lms-sample", LMS, S, L, X)
for what, part in (("trailing", T), ("linspace", N), ("exponential", L | XP), ("beta", L | B), ("v", L | V), ("sample", L | X), ("3", L | dict(solver_order=3)), ("1", L | dict(solver_order=1)), ("defaults", {})):
    run(f"deis-{what}", DEIS, S, part)
for what, part in (("plain", {}), ("3", dict(solver_order=3)), ("3-heun", dict(solver_order=3, solver_type="heun")), ("1", dict(solver_order=1)), ("heun", dict(solver_type="heun")), ("sigma-min", M | dict(lower_order_final=True)), ("exponential", XP), ("beta", B), ("v", V), ("sample", X), ("sde", dict(algorithm_type="sde-dpmsolver++"))):
    run(f"single-{what}", SINGLE, S, part)
run("single-3-whole", SINGLE, S, M, dict(solver_order=3, lower_order_final=False), stepses=(3, 12))
run("single-2-whole", SINGLE, S, M, dict(solver_order=2, lower_order_final=False), stepses=(4, 12))
for what, part in (("lu-3", L | LU | dict(solver_order=3)), ("beta-3", L | B | dict(solver_order=3)), ("lu-sigma-min", L | LU | M)):
    run(f"multi-{what}", MULTI, S, part)
for what, part in (("beta", L | B), ("beta-sigma-min", L | B | M)):
    run(f"unipc-{what}", UNIPC, S, part)
for what, part in (("trailing", T), ("linspace", N), ("v", L | V), ("alpha-one", L | dict(set_alpha_to_one=True))):
    run(f"pndm-{what}", PNDM, S, part, dict(skip_prk_steps=True))
for what, part in (("v", V), ("sample", X)):
    run(f"tcd-{what}", "TCDScheduler", S, part, step=dict(eta=0.3))
run("tcd-0.6", "TCDScheduler", S, step=dict(eta=0.6))
for what, part in (("clip", {}), ("trailing", T | NC), ("v", L | V | NC), ("linspace", N | NC)):
    run(f"ddim-eta-{what}", DDIM, S, part, step=dict(eta=0.5))

for short, cls, part in (("euler", EULER, T), ("heun", HEUN, L), ("multi", MULTI, L), ("single", SINGLE, {}), ("lcm", "LCMScheduler", {}), ("tcd", "TCDScheduler", {})):
    run(f"{short}-timesteps", cls, S, part, timesteps=AYS, stepses=(10,), step=dict(eta=0.3) if short == "tcd" else None)
run("euler-sigmas", EULER, S, L, sigmas=[14.6, 6.2, 3.1, 1.7, 0.9, 0.4, 0.03, 0.0], stepses=(7,))
run("euler-sigmas-end", EULER, S, T, sigmas=[10.0, 2.0, 0.5], stepses=(2,))

# ComfyUI's kl_optimal and simple, from their formulas.
table = diffusers.EulerDiscreteScheduler(**S)
table = np.array(((1 - table.alphas_cumprod) / table.alphas_cumprod) ** 0.5)
for n in STEPS:
    ramp = np.arange(n) / (n - 1)
    levels = np.tan(ramp * math.atan(table[0]) + (1 - ramp) * math.atan(table[-1])).tolist() + [0.0]
    run("kl-optimal", EULER, S, L, sigmas=levels, stepses=(n,))
    run("simple", EULER, S, T, timesteps=[999 - int(i * 1000 / n) for i in range(n)], stepses=(n,))
for name, ours in (("kl-optimal", "euler-kl-optimal"), ("simple", "euler-simple")):
    cases[name]["choice"] = {"name": ours}

for short, cls, part in (("euler", EULER, L), ("heun", HEUN, L | K), ("dpm2", KDPM2, L), ("dpm2a", KDPM2A, L | K), ("sde", SDE, L), ("ddim", DDIM, L | NC), ("pndm", PNDM, L | dict(skip_prk_steps=True)), ("multi", MULTI, L), ("single", SINGLE, {}), ("single-3", SINGLE, dict(solver_order=3)), ("deis", DEIS, L), ("unipc", UNIPC, L), ("lcm", "LCMScheduler", {}), ("tcd", "TCDScheduler", {})):
    for strength in (0.3, 0.8):
        run(f"{short}-tail-{strength}", cls, S, part, strength=strength, stepses=(10,), step=dict(eta=0.3) if short == "tcd" else None)

for what, parts, extra in (("plain", (S, L), {}), ("trailing", (S, T), {}), ("karras", (S, L), {"curve": K}), ("eta", (S, L), {"eta": 0.6})):
    suffix = "-karras" if what == "karras" else ""
    kdiff(f"2sa-{what}", f"dpmpp-2s-ancestral{suffix}", k.sample_dpmpp_2s_ancestral, *parts, **extra)
    kdiff(f"euler-ancestral-{what}", f"euler-ancestral{suffix}", k.sample_euler_ancestral, *parts, **extra)
kdiff("dpm2a-eta", "dpm2-ancestral", k.sample_dpm_2_ancestral, S, L, eta=0.6)


def three_m_sde(what, part):
    """k-diffusion's DPM++ 3M SDE on the levels of diffusers' multistep class, whose latents keep their variance."""
    for steps in STEPS:
        s = diffusers.DPMSolverMultistepScheduler(**S, **part)
        s.set_timesteps(steps)
        ts = {float(sigma): float(t) for sigma, t in zip(s.sigmas, s.timesteps)}

        def model(x, sigma):
            sigma = sigma[0]
            scaled = x / (sigma**2 + 1) ** 0.5
            return x - sigma * network(scaled, ts[float(sigma)])

        g = gen(2)
        x = torch.randn(SHAPE, generator=gen(1)) * (s.sigmas[0] ** 2 + 1) ** 0.5
        x = k.sample_dpmpp_3m_sde(model, x, s.sigmas, disable=True, noise_sampler=lambda a, b: torch.randn(SHAPE, generator=g))
        curve = "-karras" if part.get("use_karras_sigmas") else ""
        base = {key: value for key, value in (S | part).items() if not key.startswith("use_")}
        keep(f"3m-sde-{what}", steps, s.timesteps, s.sigmas, x, {"class": "EulerDiscreteScheduler", "config": base, "choice": {"name": f"dpmpp-3m-sde{curve}"}})


three_m_sde("plain", L)
three_m_sde("karras", L | K)
three_m_sde("trailing", T)

save_file({key: value.flatten().contiguous().clone() for key, value in out.items()}, sys.argv[1] + ".safetensors")
with open(sys.argv[1] + ".json", "w") as file:
    file.write("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()) + "\n}\n")
print(len(cases), "cases")
