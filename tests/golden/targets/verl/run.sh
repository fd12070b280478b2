#!/usr/bin/env bash
# MODEL=path/or/name [GPUS=n] ./run.sh [key=value ...]
#
# sha256:1f593596f58349b4873e7f6798629d9381e3ff05fb82597e25c1298bfdb4fc2e; written by bylaw 0.0.0 for verl 0.9.1.
set -euo pipefail
: "${MODEL:?set MODEL to the model to train, a folder or a name}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
quoted() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\\\'}"; }

exec python3 -m verl.trainer.main_ppo --config-path "$here" --config-name config \
  "data.train_files=$(quoted "$here/train.jsonl")" \
  "data.val_files=$(quoted "$here/val.jsonl")" \
  "reward.custom_reward_function.path=$(quoted "$here/rewards.py")" \
  "actor_rollout_ref.model.path=$(quoted "$MODEL")" \
  "trainer.n_gpus_per_node=${GPUS:-1}" "$@"
