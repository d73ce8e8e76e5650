"""Control laws and the guard: arrays in, arrays out."""
