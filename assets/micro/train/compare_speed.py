#!/usr/bin/env python3
"""One picture of the micro SDXL with diffusers, for comparison with `ourvidz generate`.

Usage: time python compare_speed.py MODEL_FOLDER OUT.png
"""
import sys

import torch
from diffusers import StableDiffusionXLPipeline

pipe = StableDiffusionXLPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32, add_watermarker=False)
pipe.set_progress_bar_config(disable=True)
image = pipe("a red circle on a white background", num_inference_steps=15, guidance_scale=6.0, width=128, height=128,
             generator=torch.Generator("cpu").manual_seed(42)).images[0]
image.save(sys.argv[2])
