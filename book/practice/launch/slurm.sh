#!/bin/bash
# Start train.py on several machines of a cluster that Slurm looks after:
#
#     cd /YOUR/SHARED/FOLDER     # with slurm.sh and train.py, seen by every machine
#     sbatch slurm.sh
#
# Change what stands in CAPITALS, and the numbers, to what your cluster has.
#SBATCH --job-name=digits
#SBATCH --partition=YOUR_PARTITION
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1          # one torchrun on each machine
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=01:00:00
#SBATCH --requeue                    # if the cluster stops it, it waits again and goes on
#SBATCH --open-mode=append
#SBATCH --output=digits-%j.log

set -euo pipefail

# Every machine must see this folder: the checkpoint lies in it.
FOLDER=${FOLDER:-/YOUR/SHARED/FOLDER/digits}
source "${VENV:-/YOUR/SHARED/FOLDER/venv}/bin/activate"

# The processes meet at the first machine of the job.
FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
PORT=$((20000 + SLURM_JOB_ID % 20000))

# Each process gets its share of the processor's cores.
GPUS=${SLURM_GPUS_PER_NODE##*:}      # 4, also of a100:4
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / GPUS))

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
    --nnodes="$SLURM_NNODES" \
    --nproc-per-node="$GPUS" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$FIRST:$PORT" \
    --rdzv-id="$SLURM_JOB_ID" \
    --max-restarts=3 \
    train.py --folder "$FOLDER" --epochs 20 --batch-size 512
