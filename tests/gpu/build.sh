#!/usr/bin/env bash
# Builds the stand-in driver and compiler into a folder: tests/gpu/build.sh FOLDER
set -euo pipefail
out=$1
cd "$(dirname "$0")"
mkdir -p "$out/include/cuda"
flags=(-std=gnu11 -Wall -Wextra -Werror -O2 -shared -fPIC -fvisibility=hidden)
cc "${flags[@]}" -o "$out/libcuda.so" driver.c kernels.c -lpthread
cc "${flags[@]}" -o "$out/libnvrtc.so" compiler.c
# The program looks whether the toolkit's headers are there; the stand-in compiler reads none.
for header in cuda_fp16.h cuda_bf16.h mma.h cuda/barrier; do
  : >"$out/include/$header"
done
