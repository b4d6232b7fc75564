"""Packs the trajectories of `make_sdxl_complete.py` (one file per scheduler and step count) into complete.safetensors.

Usage: pack_complete.py FOLDER_OF_CASES OUT_FOLDER. Every case starts from the noise of generator seed 1100 and
draws from seed 1101, so that the initial latents are left out.
"""
import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

source, out = Path(sys.argv[1]), Path(sys.argv[2])
configs = json.loads((source / "configs.json").read_text())
packed, kept = {}, {}
for name, case in configs.items():
    found = False
    for steps in (4, 7, 20):
        path = source / f"{name}-{steps}.safetensors"
        if not path.exists():
            continue
        found = True
        case_tensors = load_file(path)
        keep = {"timesteps", "sigmas", "final"} | ({"after_01", "after_02"} if steps == 7 else set())
        for key, value in case_tensors.items():
            if key in keep:
                packed[f"{name}-{steps}/{key}"] = (value.float() if key == "sigmas" else value).flatten().contiguous()
    if found:
        kept[name] = case
save_file(packed, out / "complete.safetensors")
(out / "complete.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")
