"""Every pixel asks which other pixels are like it, and learns from those."""
