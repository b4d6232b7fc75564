#!/usr/bin/env python3
"""Adds to tests/data/wan what make_reference.py leaves out: decoding in tiles, a subject picture, alone and with a first frame, and a
weaker conditioning scale. Needs torch 2.15, diffusers 0.42, transformers 5. Usage: make_wan_references.py tests/data/wan
"""
import json
import pathlib
import sys

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanVACEPipeline, WanVACETransformer3DModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

torch.set_grad_enabled(False)
ROOT = pathlib.Path(sys.argv[1])


def load(cls, name):
    """float16 on disk, float32 here."""
    if cls is UMT5EncoderModel:
        return cls.from_pretrained(ROOT / name, dtype=torch.float32).eval()
    model = cls.from_config(cls.load_config(ROOT / name))
    state = load_file(str(ROOT / name / "diffusion_pytorch_model.safetensors"))
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return model.eval()


tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(ROOT / "tokenizer/tokenizer.json"), pad_token="<pad>", eos_token="</s>",
                                    unk_token="<unk>", model_max_length=512)
scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000)
pipe = WanVACEPipeline(tokenizer=tokenizer, text_encoder=load(UMT5EncoderModel, "text_encoder"), vae=load(AutoencoderKLWan, "vae"),
                       transformer=load(WanVACETransformer3DModel, "vace_transformer"), scheduler=scheduler)
pipe.set_progress_bar_config(disable=True)

first, subject = (Image.open(ROOT / "pipeline" / name).convert("RGB") for name in ("first.png", "last.png"))
gray, black, white = (Image.new("RGB", (64, 96), (v, v, v)) for v in (128, 0, 255))
given = dict(video=[first] + [gray] * 8, mask=[black] + [white] * 8)
base = dict(prompt="a red circle moving right", num_inference_steps=5, guidance_scale=6.5, width=64, height=96, num_frames=9)
videos = load_file(str(ROOT / "pipeline/videos.safetensors"))
cases = json.loads((ROOT / "pipeline/cases.json").read_text())
names = ("vace-none", "subject", "subject-image", "subject-first", "first-weak")
cases = [case for case in cases if case["name"] not in names]


def check(name):
    """The stored case must come out again: else the weights here are not those of the other cases."""
    video = pipe(generator=torch.Generator("cpu").manual_seed(42), output_type="pt", **base, **given).frames
    assert ((video * 255).round() - videos[name].float()).abs().max() <= 1, "not the weights that made the other cases"


def case(name, scale=1.0, frames=9, has_first=False, has_subject=False):
    kw = dict(base, num_frames=frames)
    extra = (given if has_first else {}) | ({"reference_images": subject} if has_subject else {})
    video = pipe(generator=torch.Generator("cpu").manual_seed(42), output_type="pt", conditioning_scale=scale, **kw, **extra).frames
    videos[name] = (video * 255).round().to(torch.uint8)
    cases.append({"name": name, "scheduler": "flow-unipc-shift3", "seed": 42, "vace": True, **kw, "first_frame": "first.png" if has_first else None,
                  "last_frame": None, "subject": "last.png" if has_subject else None, "scale": scale})


check("first")
case("vace-none")
case("subject", has_subject=True)
case("subject-image", has_subject=True, frames=1)
case("subject-first", has_subject=True, has_first=True)
case("first-weak", has_first=True, scale=0.4)
save_file({name: video.contiguous() for name, video in videos.items()}, str(ROOT / "pipeline/videos.safetensors"))
(ROOT / "pipeline/cases.json").write_text(json.dumps(cases, indent=1))
latents = torch.randn(1, 16, 2, 6, 5, generator=torch.Generator("cpu").manual_seed(70))
pipe.vae.enable_tiling(32, 32, 24, 24)
save_file({"latents": latents, "decoded": pipe.vae.decode(latents).sample.contiguous()}, str(ROOT / "modules/vae-tiled.safetensors"))
