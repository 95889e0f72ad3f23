"""The peers: each started privately in the run's temporary directory, or a reason why it cannot take part."""
