#!/usr/bin/env bash
# Make everything that ships, from nothing, on two CPU cores: zoos, house model, decoder, oracle, confidence, reports, cards.
#
#   dev/rebuild.sh DIR [MINUTES OF THE DECODER OF ALL KINDS] [OF THE ORACLE] [OF THE DECODER OF RASP PROGRAMS] [OF THOSE OF STRUCTURES]
#
# A stage whose result is in DIR already is left out; one that was stopped goes on or begins again. The last stage writes
# oracle/assets. SCALE=0.002 makes all zoos and times as much smaller, to see whether every stage runs. On a GPU: dev/gpu.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:?usage: dev/rebuild.sh DIR [MINUTES OF THE DECODER OF ALL KINDS] [OF THE ORACLE] [OF THE DECODER OF PROGRAMS] [OF STRUCTURES]}
decoder_minutes=${2:-180} oracle_minutes=${3:-90} program_minutes=${4:-340} chart_minutes=${5:-70}
mkdir -p "$dir"
scaled() { awk "BEGIN { print $1 * ${SCALE:-1} }"; }
whole() { awk "BEGIN { n = int($1 * ${SCALE:-1}); print (n > 40 ? n : 40) }"; } # steps or programs, 40 at least
export PYTHONPATH="$PWD" OMP_NUM_THREADS=1

stage() { # RESULT COMMAND...: run a command unless its result is there
  local result=$dir/$1
  shift
  [ -e "$result" ] || "$@"
}
oracle() { python3 -m oracle.cli "$@"; }

for spec in default small broad several blank programs calibration unseen; do
  stage "$spec/index.parquet" oracle zoo build "$spec" ${SCALE:+--size "$SCALE"} --out "$dir/$spec"
done
stage broader/index.parquet oracle zoo build broad --size "$(scaled 2.5)" --out "$dir/broader"
stage fifth/index.parquet oracle zoo build default --size "$(scaled 0.2)" --out "$dir/fifth"
also=("$dir/small" "$dir/broad")

house() { # the house model in four stages, each going on from the one before
  stage base-1/base_config.json oracle base --out "$dir/base-1" --n-layers 6 --steps "$(whole 2100)" --context-weight 0.05 --no-bf16 --compile --seed 2
  stage base-2/base_config.json oracle base --out "$dir/base-2" --start "$dir/base-1" --minutes "$(scaled 42)" --context-weight 0.05 --drills 0.3 --no-bf16 --compile --seed 3
  stage base-3/base_config.json oracle base --out "$dir/base-3" --start "$dir/base-2" --n-programs "$(whole 20000)" --minutes "$(scaled 78)" --context-weight 0.02 --drills 0.12 --no-bf16 --compile --seed 4
  stage base/base_config.json oracle base --out "$dir/base" --start "$dir/base-3" --n-programs "$(whole 20000)" --minutes "$(scaled 50)" --context-weight 0.02 --drills 0.06 --no-bf16 --compile --seed 5
}
decoder() { # NAME OPTIONS...: a small decoder
  local name=$1
  shift
  stage "$name/decoder_config.json" python3 benchmarks/encoders.py --zoo "$dir/default" --save "$dir/$name" "$@"
}

house &
decoder charts --kind flowchart --encoder channels --targets 13790 --steps "$(whole 5000)" --eval-every 1000 --gauge-test
decoder structures --also "$dir/broad" --kind flowchart --start "$dir/charts" --targets 8000 --minutes "$(scaled "$chart_minutes")" \
  --muon-lr 0.01 --warm-up 60 --bf16 --gauge-test --seed 11
decoder more --zoo "$dir/fifth" --also "$dir/broader" --kind flowchart --start "$dir/structures" --targets 100000 --minutes "$(scaled "$chart_minutes")" \
  --muon-lr 0.01 --warm-up 60 --bf16 --gauge-test --seed 32
decoder most --zoo "$dir/fifth" --also "$dir/broader" "$dir/several" --kind flowchart --start "$dir/more" --targets 100000 --minutes "$(scaled 95)" \
  --muon-lr 0.01 --warm-up 60 --bf16 --gauge-test --seed 41
decoder last --zoo "$dir/fifth" --also "$dir/broader" "$dir/several" --kind flowchart --start "$dir/most" --targets 100000 --minutes "$(scaled 88)" \
  --muon-lr 0.01 --warm-up 60 --bf16 --gauge-test --seed 42
decoder best --zoo "$dir/fifth" --also "$dir/broader" "$dir/several" --kind flowchart --start "$dir/last" --targets 100000 --minutes "$(scaled 82)" \
  --muon-lr 0.01 --warm-up 60 --bf16 --gauge-test --seed 43
decoder decoder --also "${also[@]}" --kind all --targets 100000 --flowcharts 10000 --start "$dir/charts" --minutes "$(scaled "$decoder_minutes")" \
  --muon-lr 0.015 --gauge-train --gauge-test
decoder rasp --also "$dir/programs" --kind rasp --encoder routes --targets 100000 --minutes "$(scaled "$program_minutes")" --batch 44 \
  --muon-lr 0.015 --warm-up 100 --lesson 0.1 --weights.d-token 128 --weights.n-tokens 400 --weights.n-pool-layers 0 --bf16 --gauge-test
wait %1

stage oracle/oracle_config.json oracle train --zoo "$dir/default" --also "${also[@]}" "$dir/several" "$dir/blank" --base "$dir/base" --decoder "$dir/decoder" \
  --drafts "$dir/best" "$dir/rasp" "$dir/decoder" --out "$dir/oracle" --minutes "$(scaled "$oracle_minutes")" --questions-per-target 4 \
  --found 0.8 --muon-lr 0.02 --frozen 1 --no-bf16 --seed 1
stage oracle/calibrator.json oracle calibrate --zoo "$dir/default" --also "$dir/calibration" --oracle "$dir/oracle" --limit 160 --samples 4
stage report/results.json oracle eval --zoo "$dir/unseen" --oracle "$dir/oracle" --references "$dir/default" --out "$dir/report"
python3 dev/ship.py --base "$dir/base" --oracle "$dir/oracle" --results "$dir/report"
