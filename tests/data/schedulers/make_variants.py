"""Makes variants.safetensors and variants.json: settings of diffusers' schedulers beyond the named ones.

Needs torch 2.15, diffusers 0.42. Usage: make_variants.py OUT_PREFIX STEPS, for example `make_variants.py variants 3,20`.
"""
import inspect
import json
import sys
import warnings

import torch
import diffusers
from safetensors.torch import save_file
warnings.filterwarnings("ignore")
S=dict(beta_start=0.00085,beta_end=0.012,beta_schedule="scaled_linear",num_train_timesteps=1000)
L=dict(timestep_spacing="leading",steps_offset=1)
E,EA,H,D,P,U,C,F=(getattr(diffusers,n) for n in ("EulerDiscreteScheduler","EulerAncestralDiscreteScheduler","HeunDiscreteScheduler","DDIMScheduler","DPMSolverMultistepScheduler","UniPCMultistepScheduler","LCMScheduler","FlowMatchEulerDiscreteScheduler"))
nc=dict(clip_sample=False,set_alpha_to_one=False)
V=dict(prediction_type="v_prediction"); X=dict(prediction_type="sample")
K=dict(use_karras_sigmas=True); XP=dict(use_exponential_sigmas=True); Z=dict(rescale_betas_zero_snr=True); M=dict(final_sigmas_type="sigma_min")
T=dict(timestep_spacing="trailing"); N=dict(timestep_spacing="linspace")
cases={}
def add(name,cls,*ds):
    cfg={}
    for d in ds: cfg.update(d)
    cases[name]=(cls,cfg)
for nm,cls,base in (("euler",E,{}),("ea",EA,{}),("heun",H,{}),("ddim",D,nc),("dpm",P,{}),("sde",P,dict(algorithm_type="sde-dpmsolver++")),("unipc",U,{})):
    add(f"{nm}-v",cls,S,L,base,V)
    add(f"{nm}-linspace",cls,S,N,base)
    add(f"{nm}-trailing",cls,S,T,base)
    if nm!="ea": add(f"{nm}-sample",cls,S,L,base,X)
    if nm not in("ea","ddim"): add(f"{nm}-karras",cls,S,L,base,K); add(f"{nm}-exponential",cls,S,L,base,XP)
    if nm not in("heun",): add(f"{nm}-zsnr-v-trailing",cls,S,T,base,V,Z)
    if nm not in("ea","ddim","heun"): add(f"{nm}-sigma-min",cls,S,L,base,M); add(f"{nm}-karras-sigma-min",cls,S,L,base,M,K)
    add(f"{nm}-defaults",cls,base)
    add(f"{nm}-cosine",cls,base,dict(beta_schedule="squaredcos_cap_v2"))
add("ddim-clip",D,S,L); add("heun-clip",H,S,L,dict(clip_sample=True,clip_sample_range=0.7)); add("lcm-clip",C,dict(clip_sample=True)); add("lcm-v",C,V); add("lcm-sample",C,X); add("lcm-100",C,dict(original_inference_steps=100))
add("dpm-1",P,S,L,dict(solver_order=1)); add("dpm-3",P,S,L,dict(solver_order=3)); add("dpm-3-sm",P,S,L,M,dict(solver_order=3)); add("dpm-heun",P,S,L,dict(solver_type="heun")); add("sde-heun",P,S,L,dict(solver_type="heun",algorithm_type="sde-dpmsolver++")); add("sde-1",P,S,L,dict(solver_order=1,algorithm_type="sde-dpmsolver++"))
add("dpm-no-lof",P,S,L,dict(lower_order_final=False)); add("dpm-euler-final",P,S,L,dict(euler_at_final=True,final_sigmas_type="sigma_min")); add("dpm-lmc",P,dict(beta_schedule="squaredcos_cap_v2",lambda_min_clipped=-5.1))
add("unipc-bh1-sm",U,S,L,M,dict(solver_type="bh1")); add("unipc-1",U,S,L,dict(solver_order=1)); add("unipc-3",U,S,L,dict(solver_order=3)); add("unipc-dc",U,S,L,dict(disable_corrector=[0,2])); add("unipc-karras-3",U,S,L,K,dict(solver_order=3))
add("flow-euler-1",F); add("flow-euler-7",F,dict(shift=7.0)); 
FL=dict(prediction_type="flow_prediction",use_flow_sigmas=True)
add("flow-unipc-1",U,FL); add("flow-unipc-8-sm",U,FL,M,dict(flow_shift=8.0)); add("flow-dpm-1",P,FL); add("flow-sde-3",P,FL,dict(flow_shift=3.0,algorithm_type="sde-dpmsolver++")); add("flow-unipc-3-order3",U,FL,dict(flow_shift=3.0,solver_order=3)); add("flow-dpm-order3",P,FL,dict(flow_shift=3.0,solver_order=3))
out={};configs={}
STEPS=tuple(map(int,sys.argv[2].split(",")))
g1=lambda s: torch.Generator("cpu").manual_seed(s)
for name,(cls,cfg) in cases.items():
    ok=[]
    for steps in STEPS:
        try:
            s=cls(**cfg); s.set_timesteps(steps)
            x=torch.randn(1,4,6,5,generator=g1(1))*float(s.init_noise_sigma if hasattr(s,"init_noise_sigma") else 1.0)
            t={"timesteps":s.timesteps.double()}
            if hasattr(s,"sigmas"): t["sigmas"]=s.sigmas.double()
            g=g1(2); extra={"generator":g} if "generator" in inspect.signature(s.step).parameters else {}
            for ts in s.timesteps:
                xin=s.scale_model_input(x,ts) if hasattr(s,"scale_model_input") else x
                o=0.6*xin+0.2*torch.sin(3*xin+float(ts)/100)
                x=s.step(o,ts,x,**extra).prev_sample
            t["final"]=x
        except Exception as e:
            print(name,steps,"diffusers raises",type(e).__name__,str(e)[:90]); continue
        if not torch.isfinite(x).all(): print(name,steps,"diffusers gives NaN or inf"); continue
        for k,v in t.items(): out[f"{name}-{steps}/{k}"]=v.flatten().contiguous().clone()
        ok.append(steps)
    configs[name]={"class":cls.__name__,"config":cfg,"steps":ok}
save_file(out,sys.argv[1]+".safetensors"); json.dump(configs,open(sys.argv[1]+".json","w"),indent=1)
