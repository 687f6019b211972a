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
# `zoo` builds the one of SPEC; the others learn from it and from those of ALSO, as far as they were made, and `eval`
# takes `unseen` and, for the confidence, `calibration` beside it, if they were. With SPEC=fifth the spec `default` is
# built at a fifth of its size, as the decoder of flowcharts learns from; DECODER names the folder that `decoder` makes.
# What ships was made by (dev/rebuild.sh has all stages, on a CPU):
#
#   for SPEC in fifth default broad several small blank programs calibration unseen; do SPEC=$SPEC dev/gpu.sh zoo; done
#   SPEC=fifth ALSO="broad several" DECODER=charts dev/gpu.sh decoder --kind flowchart --encoder channels --bf16 --muon-lr 0.01
#   ALSO=programs DECODER=rasp dev/gpu.sh decoder --kind rasp --encoder routes --lesson 0.1 --bf16 --muon-lr 0.015
#   ALSO="small broad" dev/gpu.sh decoder --flowcharts 10000 --gauge-train
#   ALSO="small broad several blank" dev/gpu.sh train --found 0.8 && dev/gpu.sh eval
#
# The same `weight-oracle` commands do the work on a laptop. Nothing is downloaded: Python packages that the machine
# lacks can be brought as wheels in .whl/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

piece=${1:?usage: dev/gpu.sh zoo|base|decoder|train|eval|encoders [OPTIONS OF THE VERB]}
shift
IN=${IN:-runs/gpu} OUT=${OUT:-runs/gpu} WORK=${WORK:-/tmp/weight-oracle} LIMIT=${LIMIT:-540} TRAIN_MINUTES=${TRAIN_MINUTES:-24} SPEC=${SPEC:-default} ALSO=${ALSO:-} DECODER=${DECODER:-decoder} DEVICE=${DEVICE:-cuda}
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

given() { # OPTION FILE NAME...: the option with those of WORK/NAME that earlier pieces made, if any
  local option=$1 file=$2 name found=""
  shift 2
  for name; do [ ! -e "$WORK/$name/$file" ] || found+=" $WORK/$name"; done
  [ -z "$found" ] || printf '%s%s' "$option" "$found"
}

oracle() { # VERB...: one command, stopped in time to pack what it has
  timeout --signal=TERM --kill-after=20 "$LIMIT" python3 -m oracle.cli "$@"
}

for first in "$IN"/*.tar.00; do [ ! -e "$first" ] || unpack "$(basename "$first" .tar.00)"; done
learned=(--zoo "$WORK/$SPEC" $(given --also index.parquet $ALSO))
case $piece in
  zoo)
    trap 'pack "$SPEC"' EXIT
    spec=("$SPEC")
    [ "$SPEC" != fifth ] || spec=(default --size 0.2)
    oracle zoo build "${spec[@]}" --out "$WORK/$SPEC" "$@"
    ;;
  base)
    trap 'pack base' EXIT
    oracle base --out "$WORK/base" --minutes 7 $(given --start base_config.json base) "$@"
    ;;
  decoder) # a small decoder; from that of all kinds, `decoder`, which goes on with the shipped one, the oracle has its encoder
    trap 'pack "$DECODER"' EXIT
    start=$(given --start decoder_config.json "$DECODER")
    [ "$DECODER" != decoder ] || start=${start:-"--start oracle/assets/oracle/drafter/0"}
    timeout --signal=TERM --kill-after=20 "$LIMIT" \
      python3 benchmarks/encoders.py "${learned[@]}" --kind all --device "$DEVICE" --minutes 6 --gauge-test \
      --targets 100000 --save "$WORK/$DECODER" $start "$@"
    ;;
  train)
    trap 'pack oracle' EXIT
    oracle train "${learned[@]}" $(given --base base_config.json base) --out "$WORK/oracle" --minutes "$TRAIN_MINUTES" --eval-every 2 \
      $(given --decoder decoder_config.json decoder) $(given --drafts decoder_config.json charts rasp decoder) "$@"
    ;;
  eval)
    trap 'pack results; pack oracle' EXIT
    tested=$WORK/$SPEC
    [ ! -e "$WORK/unseen/index.parquet" ] || tested=$WORK/unseen
    oracle calibrate --zoo "$WORK/$SPEC" $(given --also index.parquet calibration) --oracle "$WORK/oracle"
    oracle eval --zoo "$tested" --oracle "$WORK/oracle" --out "$WORK/results" "$@"
    ;;
  encoders) # one run of the bench without an LLM, added to runs.json; `--steps` decides how long it takes
    trap 'pack encoders' EXIT
    mkdir -p "$WORK/encoders"
    timeout --signal=TERM --kill-after=20 "$LIMIT" \
      python3 benchmarks/encoders.py "${learned[@]}" --device "$DEVICE" --out "$WORK/encoders/runs.json" "$@"
    ;;
  *)
    echo "dev/gpu.sh: error: unknown piece '$piece', expected zoo, base, decoder, train, eval or encoders" >&2
    exit 2
    ;;
esac
