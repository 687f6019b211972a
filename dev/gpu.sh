#!/usr/bin/env bash
# Make the shipped artefacts on a GPU machine that is lent for under ten minutes a command and keeps nothing between them.
#
#   dev/gpu.sh zoo|base|decoder|train|eval|encoders [OPTIONS OF THE VERB]
#
# A piece reads what earlier pieces made from IN (default runs/gpu: copy each piece's results there and bring it along),
# works in WORK for at most LIMIT seconds, and leaves its results in OUT as NAME.tar.00, .01, ... of under 16 MB each,
# also when it ran out of time or failed. Running a piece again goes on from what IN holds of it: `train` from its
# checkpoint, under one schedule of TRAIN_MINUTES over all its runs; `base` and `decoder` each with a schedule of their own.
#
# The same `weight-oracle` commands do the work on a laptop. Nothing is downloaded: Python packages that the machine
# lacks can be brought as wheels in .whl/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

piece=${1:?usage: dev/gpu.sh zoo|base|decoder|train|eval|encoders [OPTIONS OF THE VERB]}
shift
IN=${IN:-runs/gpu} OUT=${OUT:-runs/gpu} WORK=${WORK:-/tmp/weight-oracle} LIMIT=${LIMIT:-540} TRAIN_MINUTES=${TRAIN_MINUTES:-24} SPEC=${SPEC:-default} DEVICE=${DEVICE:-cuda}
mkdir -p "$IN" "$OUT" "$WORK"

if compgen -G '.whl/*.whl' >/dev/null && [ ! -d /tmp/site ]; then
  python3 -m pip install -q --no-index --no-deps --no-compile --target /tmp/site .whl/*.whl
fi
export PYTHONPATH="$PWD:/tmp/site" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONUNBUFFERED=1
export TQDM_DISABLE= TQDM_MININTERVAL=20 # a line of progress now and then, though standard error is no terminal

unpack() { # NAME: put what an earlier piece made under WORK, unless it is there already
  [ -d "$WORK/$1" ] || ! compgen -G "$IN/$1.tar.*" >/dev/null || cat "$IN/$1".tar.* | tar -x -C "$WORK"
}

pack() { # NAME: write WORK/NAME to OUT in parts that can be carried back
  [ -d "$WORK/$1" ] || return 0
  rm -f "$OUT/$1".tar.*
  tar -c -C "$WORK" "$1" | split -b 15M -d - "$OUT/$1.tar."
}

given() { # OPTION NAME FILE: the option with WORK/NAME, if an earlier piece made it
  [ ! -e "$WORK/$2/$3" ] || printf '%s %s' "$1" "$WORK/$2"
}

oracle() { # VERB...: one command, stopped in time to pack what it has
  timeout --signal=TERM --kill-after=20 "$LIMIT" python3 -m oracle.cli "$@"
}

for name in zoo base decoder oracle results encoders; do unpack "$name"; done
case $piece in
  zoo)
    trap 'pack zoo' EXIT
    oracle zoo build "$SPEC" --out "$WORK/zoo" "$@"
    ;;
  base)
    trap 'pack base' EXIT
    oracle base --out "$WORK/base" --minutes 7 $(given --start base base_config.json) "$@"
    ;;
  decoder) # the small decoder, whose encoder the oracle begins with
    trap 'pack decoder' EXIT
    timeout --signal=TERM --kill-after=20 "$LIMIT" \
      python3 benchmarks/encoders.py --zoo "$WORK/zoo" --kind all --device "$DEVICE" --minutes 6 --gauge-train --gauge-test \
      --targets 100000 --save "$WORK/decoder" --start oracle/assets/oracle/drafter/0 $(given --start decoder decoder_config.json) "$@"
    ;;
  train)
    trap 'pack oracle' EXIT
    oracle train --zoo "$WORK/zoo" --base "$WORK/base" --out "$WORK/oracle" --minutes "$TRAIN_MINUTES" --eval-every 2 \
      $(given --decoder decoder decoder_config.json) $(given "--drafts house" decoder decoder_config.json) "$@"
    ;;
  eval)
    trap 'pack results; pack oracle' EXIT
    oracle calibrate --zoo "$WORK/zoo" --oracle "$WORK/oracle"
    oracle eval --zoo "$WORK/zoo" --oracle "$WORK/oracle" --out "$WORK/results" "$@"
    ;;
  encoders) # one run of the bench without an LLM, added to runs.json; `--steps` decides how long it takes
    trap 'pack encoders' EXIT
    mkdir -p "$WORK/encoders"
    timeout --signal=TERM --kill-after=20 "$LIMIT" \
      python3 benchmarks/encoders.py --zoo "$WORK/zoo" --device "$DEVICE" --out "$WORK/encoders/runs.json" "$@"
    ;;
  *)
    echo "dev/gpu.sh: error: unknown piece '$piece', expected zoo, base, decoder, train, eval or encoders" >&2
    exit 2
    ;;
esac
