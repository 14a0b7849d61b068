"""Episodes: in memory, on disk, and as windows for training. No torch here."""
