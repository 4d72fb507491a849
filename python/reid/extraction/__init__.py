"""From pictures and a network to features: of a whole folder into one file, or of pictures in memory."""
