"""What ``docs/tables.md`` promises, with tiny tables in the official layouts. Their rows are invented."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mgdali import VideoDataset
from mgdali.datasets.video_dataset import Video
from mgdali.video.time_range import TimeRange
from tests.support.documented_blocks import all_blocks_of
from tests.support.documented_case import Case, promise
from tests.support.videos import moving_square, write_video

PAGE = "tables.md"

_EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)


def write_clips(case: Case) -> Path:
    """Write the file ``clips.csv`` of the page."""
    (csv,) = [block.code for block in all_blocks_of(case.block.page) if block.language == "csv"]
    path = case.folder / "clips.csv"
    path.write_text(csv)
    return path


@promise(PAGE, "Data sets from tables")
def batches_have_the_labels_and_ids_of_their_segments(case: Case) -> None:
    write_clips(case)
    for name in ("a.mp4", "b.mp4"):
        write_video(case.folder / "videos" / name, moving_square(40, 48, 64))
    dataset = case.run()["dataset"]
    assert dataset.classes == ["jump", "run"]
    printed = "tensor([1, 0]) tensor([17, 18]) ['p1', 'p1']\ntensor([1]) tensor([19]) ['p2']\n"
    assert case.printed == printed


@promise(PAGE, "Choose, join and split")
def rows_are_chosen_joined_and_split(case: Case) -> None:
    dataset = VideoDataset.from_table(write_clips(case))
    found = case.run(dataset=dataset, VideoDataset=VideoDataset)
    assert found["short"].columns["id"] == [17]
    assert found["same"].columns["id"] == [17, 19]
    assert {len(found["train"]), len(found["val"])} == {1, 2}
    assert sorted(found["both"].columns["id"]) == [17, 18, 19]


@promise(PAGE, "EPIC-Kitchens-100")
def epic_kitchens(case: Case) -> None:
    rows = [
        "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,1,door,3,['door'],[3]",
        'P02_103_7,P02,P02_103,00:10:05.200,00:10:04.50,01:00:09.25,36270,216555,"take cup, plate",take,0,cup,13,'
        "\"['cup', 'plate']\",\"[13, 2]\"",
    ]
    (case.folder / "EPIC_100_train.csv").write_text("\n".join([_EPIC, *rows]) + "\n")
    (case.folder / "EPIC_100_verb_classes.csv").write_text(
        "id,key,instances,category\n0,take,\"['take', 'grab']\",retrieve\n1,open,\"['open']\",access\n"
    )
    found = case.run(VideoDataset=VideoDataset)
    assert list(found["from_videos"]) == [
        Video("EPIC-KITCHENS/P01/videos/P01_01.MP4", 1, None, TimeRange(0.14, 3.37)),
        Video("EPIC-KITCHENS/P02/videos/P02_103.MP4", 0, None, TimeRange(604.5, 3609.25)),
    ]
    assert found["from_videos"].columns == {
        "narration_id": ["P01_01_0", "P02_103_7"],
        "noun_class": [3, 13],
        "narration": ["open door", "take cup, plate"],
    }
    frames = found["from_frames"]
    assert frames[0].path == "EPIC-KITCHENS/P01/rgb_frames/P01_01/frame_%010d.jpg"
    assert [video.time_range for video in frames] == [
        TimeRange(7, 201, "frames"),
        TimeRange(36269, 216554, "frames"),
    ]
    assert frames.classes == ["take", "open"]


@promise(PAGE, "AVA")
def ava(case: Case) -> None:
    (case.folder / "ava_train_v2.2.csv").write_text(
        "-Aq3,0902,0.077,0.151,0.283,0.811,80,1\n-Aq3,0902,0.077,0.151,0.283,0.811,9,1\n"
        "-Aq3,0902,0.500,0.151,0.683,0.811,9,2\n-Aq3,0903,0.077,0.151,0.283,0.811,12,1\n"
    )
    ava = case.run(VideoDataset=VideoDataset)["ava"]
    assert ava.labels.shape == (2, 80)
    assert [np.flatnonzero(label).tolist() for label in ava.labels] == [[8, 79], [11]]
    assert ava.paths == ["ava/trainval/-Aq3.mkv"] * 2
    assert [video.time_range for video in ava] == [TimeRange(900.5, 903.5), TimeRange(901.5, 904.5)]
    assert ava.columns == {"video": ["-Aq3"] * 2, "second": [902.0, 903.0]}


@promise(PAGE, "Charades")
def charades(case: Case) -> None:
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
    rows = [
        '0A1B2,H7QV,Kitchen,6,7,Yes,"A person reads, then eats.",book;food,A person reads.,c092 11.90 21.20;c147 0.00 '
        "12.60,24.83",
        "46GP8,HR43,Home Office / Study,5,7,Yes,A person sits.,,A person sits.,,30.10",
    ]
    (case.folder / "Charades_v1_train.csv").write_text("\n".join([header, *rows]) + "\n")
    charades = case.run(VideoDataset=VideoDataset)["charades"]
    path = "Charades_v1_480/0A1B2.mp4"
    assert list(charades) == [Video(path, 92, None, TimeRange(11.9, 21.2)), Video(path, 147, None, TimeRange(0, 12.6))]
    assert charades.num_classes == 157


@promise(PAGE, "FineGym")
def finegym(case: Case) -> None:
    elements = {
        "A_0003_0005": {"stages": 1, "timestamps": [[3.25, 5.5]]},
        "A_0008_0012": {"stages": 3, "timestamps": [[8.0, 9.5], [9.5, 10.0], [10.0, 12.25]]},
        "A_0020_0022": {"stages": 1, "timestamps": [[20.0, 22.0]]},
    }
    events = {
        "E_002407_002435": {"event": 2, "segments": elements, "timestamps": [[2407.5, 2435.0]]},
        "E_002500_002510": {"event": 1, "segments": None, "timestamps": [[2500.0, 2510.0]]},
    }
    (case.folder / "finegym_annotation_info_v1.1.json").write_text(json.dumps({"x_Yz": events}))
    (case.folder / "gym99_train_element_v1.1.txt").write_text(
        "x_Yz_E_002407_002435_A_0003_0005 12\nx_Yz_E_002407_002435_A_0008_0012 98\n"
    )
    gym99 = case.run(VideoDataset=VideoDataset)["gym99"]
    assert list(gym99) == [
        Video("finegym/x_Yz.mp4", 12, None, TimeRange(2410.75, 2413.0)),
        Video("finegym/x_Yz.mp4", 98, None, TimeRange(2415.5, 2419.75)),
    ]
    assert gym99.num_classes == 99
