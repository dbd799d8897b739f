"""Motion-guided batches from a folder of videos: ``python examples/quickstart.py videos/``."""

import sys

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

dataset = VideoDataset.from_folder(sys.argv[1])  # <folder>/<class>/<file>
loader = MGDaliIterator(
    dataset,
    sampler=MotionGuided(num_frames=8, motion="image", mu=0.5),
    batch_size=16,
    shuffle=True,
    training=True,
)
for epoch in range(2):
    loader.set_epoch(epoch)
    for clips, labels in loader:  # float32 [N, T, 3, 224, 224] and int64 [N]
        print(f"epoch {epoch}: clips {list(clips.shape)} {clips.dtype}, labels {labels.tolist()}")
