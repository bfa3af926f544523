"""Claims about speed: one script each, run as ``centralpath speed NAME``."""
