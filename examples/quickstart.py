"""The shortest complete program: load batches of motion-guided clips from a folder of videos.

Run ``python examples/quickstart.py videos/``, with the videos in ``videos/<class>/<file>``. It prints a line for each
batch of two epochs: the shape of the clips and the labels.
"""

import sys

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

dataset = VideoDataset.from_folder(sys.argv[1])  # <folder>/<class>/<file>
loader = MGDaliIterator(
    dataset,
    sampler=MotionGuided(num_frames=8, motion="image", mu=0.5),
    batch_size=16,
    shuffle=True,
    training=True,  # random picks, crops and flips
)
for epoch in range(2):
    loader.set_epoch(epoch)
    for clips, labels in loader:  # float32 [N, T, 3, 224, 224] and int64 [N]
        print(f"epoch {epoch}: clips {list(clips.shape)} {clips.dtype}, labels {labels.tolist()}")
