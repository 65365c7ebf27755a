"""Jobs sent to clusters: as Ray jobs, and as batch jobs of Slurm."""
