#!/bin/sh
# Train for some minutes on a machine with a GPU that is lent for a short while.
#
# Before, at home: fetch what that machine lacks as wheels into .whl/ (its torch is its own), and
# take .whl/ and checkpoints/half/ along; both are ignored by git. For Python 3.12 on x86-64:
#
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#     --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
#     --platform manylinux2014_x86_64 -d .whl diffusers==0.42.1
#
# There, in the root of the repository, OUT being the folder whose files come back; options are
# passed on to sdlesson.pocket.training, and the last one of a name counts:
#
#   OUT=/tmp/out sh tools/lease.sh --minutes 8
#
# After, at home: put what came back into checkpoints/half/, to be carried along to the next
# machine, or go on here:
#
#   python -m tools.half_checkpoints unpack checkpoints/half checkpoints
set -eu
: "${OUT:?is the folder to bring the weights home in: set it}"
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-.whl}
CHECKPOINTS=${CHECKPOINTS:-checkpoints}
HALF_CHECKPOINTS=${HALF_CHECKPOINTS:-$CHECKPOINTS/half}

if [ -d "$WHEELS" ]; then
    site=$(mktemp -d)
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
if [ -d "$HALF_CHECKPOINTS" ]; then
    "$PYTHON" -m tools.half_checkpoints unpack "$HALF_CHECKPOINTS" "$CHECKPOINTS"
fi
# Whatever ends the training, its last checkpoints go home.
trap '"$PYTHON" -m tools.half_checkpoints pack "$CHECKPOINTS" "$OUT"' EXIT
"$PYTHON" -m sdlesson.pocket.training --folder "$CHECKPOINTS" --minutes 8 \
    --stages scenes vae probe clip decoder denoiser "$@"
