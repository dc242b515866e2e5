#!/bin/bash
# A sweep on nodes that SLURM gives: Ray is started on all of them, the sweep runs, and goes on in another job where the
# time was too short.
#   sbatch examples/cluster/slurm.sh                   # once
#   sbatch --array=0-1 examples/cluster/slurm.sh       # two jobs share the runs of one sweep
#SBATCH --job-name=grace-suite
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log

set -u
SUITE=${SUITE:-$SLURM_SUBMIT_DIR}     # its folder, on a disk that all nodes share
ROOT=${ROOT:-/shared/results}
DATA=${DATA:-/shared/data}
SWEEP=${SWEEP:-examples/cluster.toml}
PATIENCE=${PATIENCE:-300}             # seconds for all nodes to come
cd "$SUITE" || exit 6
[ -d .venv ] && export PATH="$PWD/.venv/bin:$PATH"

# other users of these nodes are kept out; srun hands the token on
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
port=$((20000 + SLURM_JOB_ID % 10000)) # several jobs may share a node
address="$(python -c "import ray; print(ray.util.get_node_ip_address())"):$port" # as Ray will tell it to others
resources=(--num-cpus "$SLURM_CPUS_PER_TASK" ${SLURM_GPUS_ON_NODE:+--num-gpus "$SLURM_GPUS_ON_NODE"})
here=$(hostname --short)
temporary="/tmp/ray-$SLURM_JOB_ID"

# this script runs on the first node; --overlap lets its step and the command share that node
srun --overlap --nodes=1 --ntasks=1 --nodelist="$here" \
  ray start --head --port "$port" --temp-dir "$temporary" --include-dashboard false "${resources[@]}" --block &
steps=($!)
finish() {
  kill "${steps[@]}" 2>/dev/null
  wait "${steps[@]}" 2>/dev/null
  rm -rf "$temporary"
}
trap finish EXIT

alive() { # how many nodes the cluster has, 0 as long as there is none
  local count
  count=$(python - "$address" 2>/dev/null <<'PYTHON'
import sys, ray
ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
  )
  echo "${count:-0}"
}
wait_for() {
  until [ "$(alive)" -ge "$1" ]; do
    if [ "$SECONDS" -gt "$PATIENCE" ]; then
      echo "error: after $SECONDS seconds the Ray cluster at $address has not $1 nodes" >&2
      exit 6
    fi
    sleep 1
  done
}
wait_for 1
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --nodes="$others" --ntasks="$others" --exclude="$here" \
    ray start --address "$address" "${resources[@]}" --block &
  steps+=($!)
  wait_for "$SLURM_JOB_NUM_NODES"
fi

# two minutes before the time is over SLURM sends TERM to this script (--signal above): the runs save, those that come to
# no end of an epoch in time are stopped, and the command ends with 75
python run_suite.py run "$SWEEP" --address "$address" --root "$ROOT" --data "$DATA" \
  --gpus-per-run 0.5 --grace-seconds 90 &
run=$!
trap 'kill -TERM "$run"' TERM
wait "$run"
code=$?
while kill -0 "$run" 2>/dev/null; do # the signal ended the waiting, not the command
  wait "$run"
  code=$?
done
if [ "$code" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
