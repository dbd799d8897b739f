"""Small made-up data sets in the formats and layouts of the official files."""

from __future__ import annotations

import json
from pathlib import Path

VIDEO = b"not empty"
HMDB_LISTS = "testTrainMulti_7030_splits"


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files; text is encoded as UTF-8 with its line ends unchanged."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def something_something_v1(root: Path) -> Path:
    labels = ["Holding something", "Putting something, something and something on the table", "Turning something"]
    return twentybn_csv(root, "something-something-v1", labels)


def jester(root: Path) -> Path:
    return twentybn_csv(root, "jester-v1", ["Swiping Left", "No gesture", "Doing other things"])


def twentybn_csv(root: Path, prefix: str, labels: list[str]) -> Path:
    lists = {
        f"{prefix}-labels.csv": "".join(f"{label}\n" for label in labels),
        f"{prefix}-train.csv": f"7;{labels[1]}\n12;{labels[0]}\n9;{labels[2]}\n10;{labels[1]}\n",
        f"{prefix}-validation.csv": f"3;{labels[2]}\n100;{labels[0]}\n4;{labels[1]}\n",
        f"{prefix}-test.csv": "55\n56\n",
    }
    frames = {f"20bn-{prefix}/{name}/{t:05}.jpg": VIDEO for name in (7, 12, 9, 10, 3, 100, 4, 55, 56) for t in (1, 2)}
    return put(root, {**lists, **frames})


def something_something_v2(root: Path) -> Path:
    # The entries of labels.json are not in the order of their numbers, which are strings.
    labels = {"Pushing something from left to right": "2", "Holding something": "0", 'Showing "something", twice': "1"}

    def entry(name: str, label: str, template: str) -> dict[str, object]:
        return {"id": name, "label": label, "template": template, "placeholders": ["a cup"]}

    train = [
        entry("78687", "pushing a cup from left to right", "Pushing [something] from left to right"),
        entry("42326", "holding a cup", "Holding [something]"),
        entry("9", 'showing "a cup", twice', 'Showing "[something]", twice'),
    ]
    validation = [
        entry("74225", "holding été", "Holding [something]"),
        entry("1", 'showing "a cup", twice', 'Showing "[something]", twice'),
        entry("2", "pushing a cup from left to right", "Pushing [something] from left to right"),
    ]
    prefix = "something-something-v2"
    lists = {
        f"{prefix}-labels.json": json.dumps(labels),
        f"{prefix}-train.json": json.dumps(train),
        f"{prefix}-validation.json": json.dumps(validation, ensure_ascii=False),
        f"{prefix}-test.json": json.dumps([{"id": "1420"}, {"id": "1421"}]),
    }
    videos = {f"20bn-{prefix}/{name}.webm": VIDEO for name in (78687, 42326, 9, 74225, 1, 2, 1420, 1421)}
    return put(root, {**lists, **videos})


def diving48(root: Path) -> Path:
    def entry(name: str, label: int) -> dict[str, object]:
        return {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 120}

    train = [entry("_8Vy3dlHg2w_00000", 1), entry("_8Vy3dlHg2w_00001", 0)]
    test = [entry("-IR-0DSrqP8_00002", 1), entry("-IR-0DSrqP8_00003", 0)]
    files: dict[str, str | bytes] = {
        "Diving48_vocab.json": json.dumps(
            [["Back", "15som", "05Twis", "FREE"], ["Forward", "35som", "NoTwis", "PIKE"]]
        ),
        "Diving48_V2_train.json": json.dumps(train),
        "Diving48_V2_test.json": json.dumps(test),
    }
    return put(root, {**files, **{f"rgb/{entry['vid_name']}.mp4": VIDEO for entry in train + test}})


def ucf101(root: Path) -> Path:
    # The official lists have Windows line ends. The file names of one class differ from the class name in one letter.
    videos = [f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{g}_c01.avi" for g in (1, 2, 3)]
    videos += [f"HandstandPushups/v_HandStandPushups_g0{g}_c01.avi" for g in (1, 2, 3)]
    files: dict[str, str | bytes] = {"ucfTrainTestlist/classInd.txt": "1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n"}
    for fold in (1, 2, 3):
        train = [f"{name} {1 + (name[0] == 'H')}" for name in videos if f"_g0{fold}_" not in name]
        test = [name for name in videos if f"_g0{fold}_" in name]
        files[f"ucfTrainTestlist/trainlist0{fold}.txt"] = "".join(f"{line}\r\n" for line in train)
        files[f"ucfTrainTestlist/testlist0{fold}.txt"] = "".join(f"{line}\r\n" for line in test)
    return put(root, {**files, **{f"UCF-101/{name}": VIDEO for name in videos}})


def hmdb51(root: Path) -> Path:
    # Names may begin with characters that are special elsewhere, and lines end with a space.
    classes = {
        "sword": ["#20_Rhythm_sword_f_nm_np1_ri_med_0.avi", "(HQ)_Duel!_sword_f_cm_np2_le_bad_1.avi", "x_sword_2.avi"],
        "sword_exercise": ["a&b_sword_exercise_0.avi", "b_sword_exercise_1.avi", "c_sword_exercise_2.avi"],
    }
    files: dict[str, str | bytes] = {}
    for name, videos in classes.items():
        for fold in (1, 2, 3):
            marks = "120"[fold - 1 :] + "120"[: fold - 1]
            lines = [f"{video} {mark} \n" for video, mark in zip(videos, marks, strict=True)]
            files[f"{HMDB_LISTS}/{name}_test_split{fold}.txt"] = "".join(lines)
        files |= {f"{name}/{video}": VIDEO for video in videos}
    return put(root, files)


def kinetics(root: Path) -> Path:
    # Kinetics-400 quotes labels. The name of a class folder contains spaces or underscores, or the folder is missing.
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    train = '"playing ""tag"", outside",-_0aBcDeFgH,84,94,"train",0\nhigh jump,#bBcDeFgHiJ,5,15,train,1\n'
    return put(
        root,
        {
            "annotations/train.csv": head + train,
            "annotations/val.csv": head + "high jump,---QUuC4vJs,1000,1010,validate,0\n"
            '"playing ""tag"", outside",cCcDeFgHiJk,0,10,validate,0\n',
            "annotations/test.csv": "youtube_id,time_start,time_end,split\ndDcDeFgHiJk,7,17,test\n",
            'train/playing "tag", outside/-_0aBcDeFgH_000084_000094.mp4': VIDEO,
            "train/high_jump/#bBcDeFgHiJ_000005_000015.mp4": VIDEO,
            "val/---QUuC4vJs_001000_001010.mp4": VIDEO,
            "val/cCcDeFgHiJk_000000_000010.mkv": VIDEO,
            "test/dDcDeFgHiJk_000007_000017.mp4": VIDEO,
        },
    )


WRITERS = {
    "something-something-v1": something_something_v1,
    "something-something-v2": something_something_v2,
    "jester": jester,
    "diving48": diving48,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "kinetics": kinetics,
}
