"""One video, from its bytes to the picked frames: reading, opening, decoding on the CPU, measuring motion, cropping."""
