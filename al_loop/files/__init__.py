"""Every format in which structures, labels and trajectories come in and go out."""
