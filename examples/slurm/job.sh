#!/bin/bash
# A job that survives its time limit, preemption and the failure of its node. Submitted once: sbatch job.sh
#
#SBATCH --job-name=work
#SBATCH --time=01:00:00
#SBATCH --requeue
# The output of all runs in one file.
#SBATCH --open-mode=append
# Slurm sends SIGUSR2, which saves, to the processes of the job's steps: two minutes before the time is over and, with
# SlurmctldParameters=preempt_send_user_signal in slurm.conf, when the job is preempted. The partition's GraceTime is what it then has for it.
#SBATCH --signal=USR2@120

# Starts the program the first time, and restarts its image every other time. The image belongs to the job, not to a node. What is done between two
# saves is lost with a node that fails.
srun ckpt run --resume --every 10m --exit-on-signal 85 --image "$SLURM_SUBMIT_DIR/$SLURM_JOB_ID.ckpt" -- \
    "$SLURM_SUBMIT_DIR/work.py" "${1:-600}"
code=$?

# Saved, and ended there, so that the node is free at once: again, as soon as there is room. This ends the script.
if [ "$code" = 85 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
