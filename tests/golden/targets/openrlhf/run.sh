#!/usr/bin/env bash
# MODEL=path/or/name [GPUS=n] [SAVE=folder] ./run.sh [--option value ...]
#
# sha256:1f593596f58349b4873e7f6798629d9381e3ff05fb82597e25c1298bfdb4fc2e; written by bylaw 0.0.0 for OpenRLHF 0.11.2.
set -euo pipefail
: "${MODEL:?set MODEL to the model to train, a folder or a name}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $here in *[,@]*) echo "OpenRLHF reads , and @ in a path as its own: move this folder" >&2; exit 2 ;; esac

exec python3 -m openrlhf.cli.train_ppo_ray \
  --actor.model_name_or_path "$MODEL" \
  --actor.num_nodes 1 --actor.num_gpus_per_node "${GPUS:-1}" \
  --ref.num_nodes 1 --ref.num_gpus_per_node "${GPUS:-1}" --vllm.num_engines "${GPUS:-1}" \
  --train.agent_func_path "$here/agent.py" \
  --data.prompt_dataset "$here/prompts.jsonl" \
  --ckpt.output_dir "${SAVE:-$PWD/trained}" --ckpt.path "${SAVE:-$PWD/trained}/checkpoints" \
  --data.input_key input \
  --data.label_key label \
  --data.apply_chat_template \
  --data.max_len 2560 \
  --rollout.max_new_tokens 512 \
  --rollout.batch_size 9 \
  --rollout.n_samples_per_prompt 8 \
  --rollout.temperature 1.0 \
  --rollout.top_p 1.0 \
  --train.batch_size 72 \
  --train.micro_batch_size 1 \
  --train.max_epochs 1 \
  --train.num_episodes 3 \
  --train.colocate_all \
  --algo.advantage.estimator rloo \
  --algo.advantage.no_std_norm \
  --algo.advantage.gamma 1.0 \
  --algo.kl.init_coef 1.0 \
  --algo.kl.estimator k1 \
  --reward.clip_range -1000000 1000000 \
  --actor.adam.lr 0.0000010 \
  --ds.zero_stage 2 \
  --vllm.tensor_parallel_size 1 \
  --vllm.enable_sleep \
  --ds.enable_sleep \
  "$@"
