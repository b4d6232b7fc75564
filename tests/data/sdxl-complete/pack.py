#!/usr/bin/env python3
"""Cut the reference cases to what the tests read: pictures as 8 bits a channel, in one file a folder.

Usage: pack.py CASES OUT, with CASES the `sdxl-complete` folder that make_sdxl_complete.py fills. Needs only Python.
"""
import json
import pathlib
import shutil
import struct
import sys

CASES, OUT = map(pathlib.Path, sys.argv[1:])
MODELS = {"inpaint": ["unet9"], "controlnet": ["model"], "ip-adapter": ["image_encoder", "sdxl_models"], "variants": ["unet-lcm", "unet-refiner"]}
# What other tests cover, or what follows from tensors that are kept.
LEFT_OUT = {"img2img": lambda name: name.endswith(("/noised", "/timesteps")), "ip-adapter": lambda name: name == "penultimate_zero"}


def read(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], raw[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]) for name, t in header.items()}


def write(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, raw) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def eight_bits(tensor):
    dtype, shape, raw = tensor
    assert dtype == "F16"
    values = struct.unpack(f"<{len(raw) // 2}e", raw)
    return "U8", shape, bytes(min(255, max(0, round(255 * v))) for v in values)


for group in ("img2img", "inpaint", "controlnet", "ip-adapter", "variants", "extras"):
    source, target = CASES / group, OUT / group
    target.mkdir(parents=True, exist_ok=True)
    cases = [c for c in json.loads((source / "cases.json").read_text()) if not c["name"].startswith("scheduler-")]
    (target / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    write(target / "images.safetensors", {c["name"]: eight_bits(read(source / f"{c['name']}.safetensors")["image"]) for c in cases})
    drop = LEFT_OUT.get(group, lambda name: False)
    write(target / "modules.safetensors", {n: t for n, t in read(source / "modules.safetensors").items() if not drop(n)})
    for picture in source.glob("*.png"):
        shutil.copyfile(picture, target / picture.name)
    for folder in MODELS.get(group, []):
        shutil.copytree(source / folder, target / folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
