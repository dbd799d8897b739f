"""``mgdali doctor``: facts about this machine, broken installations, and GPUs as stand-ins for the driver give them."""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import mgdali
from mgdali.cli import doctor, machine_report
from mgdali.gpu import driver

ROOT = Path(mgdali.__file__).parents[1]
COMPILER = shutil.which("cc") or shutil.which("gcc")

# The stand-ins' libraries know two GPUs: an 80 GiB one that decodes much and a 24 GiB one that decodes H.264 only.
# Handles are not indices, contexts are counted, and each answer of NVDEC is another number, so that a mistake shows.
CUDA_C = r"""
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef struct CUctx_st { CUdevice device; int retained; } *CUcontext;

static struct CUctx_st contexts[2] = {{40, 0}, {41, 0}};
static CUcontext stack[8];
static int depth, ready;

static int setting(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}
static CUresult refuse(CUdevice device) {
    return !ready ? 3 : device != 40 && device != 41 ? 101 : 0;
}

int standin_current(void) { return depth ? stack[depth - 1]->device - 40 : -1; }
int standin_balance(void) { return depth + contexts[0].retained + contexts[1].retained; }

CUresult cuInit(unsigned int flags) {
    CUresult code = flags ? 1 : setting("STANDIN_CUINIT", 0);
    ready = !code;
    return code;
}
CUresult cuDriverGetVersion(int *version) { *version = 12040; return 0; }
CUresult cuGetErrorName(CUresult error, const char **text) {
    *text = error == 100 ? "CUDA_ERROR_NO_DEVICE" : error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL;
    return *text ? 0 : 1;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == 100 ? "no CUDA-capable device is detected" : error == 2 ? "out of memory" : NULL;
    return *text ? 0 : 1;
}
CUresult cuDeviceGetCount(int *count) { *count = setting("STANDIN_GPUS", 2); return ready ? 0 : 3; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    if (ordinal < 0 || ordinal > 1) return 101;
    *device = 40 + ordinal;
    return ready ? 0 : 3;
}
CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
    const char *text = device == 40 ? "Stand-in Big 80GB" : "Stand-in [bold]Small";
    if (!refuse(device)) strncpy(name, text, size);
    return refuse(device);
}
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    if (attribute != 75 && attribute != 76) return 1;
    *value = attribute == 75 ? (device == 40 ? 9 : 8) : (device == 40 ? 0 : 6);
    return refuse(device);
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    *bytes = (size_t)(device == 40 ? 80 : 24) << 30;
    return refuse(device);
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    CUresult code = refuse(device) ? refuse(device) : setting("STANDIN_RETAIN", 0);
    if (code) return code;
    *context = &contexts[device - 40];
    (*context)->retained++;
    return 0;
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    if (refuse(device)) return refuse(device);
    return contexts[device - 40].retained-- > 0 ? 0 : 201;
}
CUresult cuCtxPushCurrent_v2(CUcontext context) {
    if (context != &contexts[0] && context != &contexts[1]) return 1;
    if (!context->retained || depth == 8) return 201;
    stack[depth++] = context;
    return 0;
}
CUresult cuCtxPopCurrent_v2(CUcontext *context) {
    if (!depth) return 201;
    *context = stack[--depth];
    return 0;
}
"""
NVCUVID_C = r"""
#include <stdlib.h>

typedef enum { MPEG1, MPEG2, MPEG4, VC1, H264, JPEG, H264_SVC, H264_MVC, HEVC, VP8, VP9, AV1 } Codec;
typedef enum { Monochrome, C420, C422, C444 } Chroma;
typedef struct {
    Codec eCodecType;
    Chroma eChromaFormat;
    unsigned int nBitDepthMinus8;
    unsigned int reserved1[3];
    unsigned char bIsSupported;
    unsigned char nNumNVDECs;
    unsigned short nOutputFormatMask;
    unsigned int nMaxWidth;
    unsigned int nMaxHeight;
    unsigned int nMaxMBCount;
    unsigned short nMinWidth;
    unsigned short nMinHeight;
    unsigned char bIsHistogramSupported;
    unsigned char nCounterBitDepth;
    unsigned short nMaxHistogramBins;
    unsigned int reserved3[10];
} CUVIDDECODECAPS;
_Static_assert(sizeof(CUVIDDECODECAPS) == 88, "the size of CUVIDDECODECAPS");

int standin_current(void);

int cuvidGetDecoderCaps(CUVIDDECODECAPS *caps) {
    int device = standin_current(), ten = caps->nBitDepthMinus8 == 2;
    Codec codec = caps->eCodecType;
    const char *refused = getenv("STANDIN_REFUSED_CODEC");
    if (device < 0) return 201;
    if (getenv("STANDIN_ALIKE")) device = 0;
    if (refused && atoi(refused) == (int)codec) return 999;
    for (int i = 0; i < 3; i++) if (caps->reserved1[i]) return 1;
    for (int i = 0; i < 10; i++) if (caps->reserved3[i]) return 1;
    caps->bIsSupported = device == 1
        ? codec == H264 && !ten && caps->eChromaFormat == C420
        : (codec == HEVC && caps->eChromaFormat == C444)
          || (caps->eChromaFormat == C420 && (!ten || codec == HEVC || codec == VP9 || codec == AV1));
    caps->nNumNVDECs = device == 1 ? 1 : codec == JPEG ? 2 : 7;
    caps->nOutputFormatMask = 0xffff;
    caps->nMaxWidth = 70000 + 10 * codec + ten;
    caps->nMaxHeight = 80000 + 10 * codec + ten;
    caps->nMaxMBCount = 90000 + codec;
    caps->nMinWidth = 48 + codec;
    caps->nMinHeight = 16 + codec;
    caps->bIsHistogramSupported = 0xff;
    caps->nCounterBitDepth = 0xff;
    caps->nMaxHistogramBins = 0xffff;
    return 0;
}
"""
NVML_C = r"""
#include <stdio.h>
#include <stdlib.h>

static int users;
int nvmlInit_v2(void) {
    int code = getenv("STANDIN_NVML") ? atoi(getenv("STANDIN_NVML")) : 0;
    users += !code;
    return code;
}
int nvmlShutdown(void) { return users-- > 0 ? 0 : 1; }
int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    if (users != 1) return 1;
    return (unsigned int)snprintf(version, length, "550.54.15") < length ? 0 : 7;
}
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }
"""

# What is not looked at is replaced, so that a probe takes a blink: torch, DALI, CuPy, OpenCV and the loader.
PROBE = """
import ctypes, io, json, sys, types
from rich.console import Console
for name in ("torch", "nvidia.dali", "cupy", "cv2", "mgdali.iterator"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__version__ = "1.2.3"
from mgdali.gpu import driver
from mgdali.cli.doctor import print_report
from mgdali.cli.machine_report import examine, to_json
report = examine()
page = Console(file=io.StringIO(), width=80)
print_report(report, page)
try:
    balance = ctypes.CDLL("libcuda.so.1").standin_balance()
except (OSError, AttributeError):
    balance = None
print(json.dumps({"report": json.loads(to_json(report)), "page": page.file.getvalue(), "balance": balance}))
"""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the driver's three libraries, as far as they are used."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("driver")
    for name, source in (("libcuda.so.1", CUDA_C), ("libnvcuvid.so.1", NVCUVID_C), ("libnvidia-ml.so.1", NVML_C)):
        _compile(folder, name, source, *(["libcuda.so.1"] if name == "libnvcuvid.so.1" else []))
    return folder


@pytest.fixture(scope="module")
def report() -> machine_report.Report:
    return machine_report.examine()


def _compile(folder: Path, name: str, source: str, *libraries: str) -> None:
    assert COMPILER is not None
    options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name]
    command = [COMPILER, *options, "-x", "c", "-", "-x", "none", *libraries]
    subprocess.run(command, cwd=folder, input=source, text=True, check=True)


def _python(program: str, *, libraries: Path | None = None, modules: Path | None = None, **settings: str) -> Any:
    """What a fresh Python process prints, as JSON."""
    environment = {**os.environ, **settings}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, [modules, ROOT])))
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = str(libraries)
        # What is compiled for stand-ins must not stay in the user's cache.
        environment["XDG_CACHE_HOME"] = settings.get("XDG_CACHE_HOME", str(libraries / "cache"))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _page(report: machine_report.Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    doctor.print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _squeezed(text: str) -> str:
    """Without white space, so that it does not matter where lines were broken."""
    return "".join(text.split())


def _check_width(page: str, width: int = 80) -> None:
    """Tables fit and nothing in them is cut off; lines that follow them are the terminal's to wrap."""
    assert "…" not in page
    tables = [line for line in page.splitlines() if not line.startswith(("For ", "MGDaliIterator "))]
    assert max(map(len, tables)) <= width


# This machine.


def test_versions_are_the_modules(report: machine_report.Report) -> None:
    assert report.machine.python == ".".join(map(str, sys.version_info[:3]))
    assert report.machine.mgdali == mgdali.__version__
    modules = {"numpy": "numpy", "torch": "torch", "dali": "nvidia.dali", "av": "av", "opencv": "cv2", "cupy": "cupy"}
    for field, module in modules.items():
        package = getattr(report.packages, field)
        if package.version is None:
            with pytest.raises(ImportError) as raised:
                importlib.import_module(module)
            assert package.error == f"{raised.type.__name__}: {raised.value}"
            assert package.install.startswith("pip install ")
        else:
            assert package.version == importlib.import_module(module).__version__
            assert package.error is package.install is None


def test_ffmpeg_and_its_codecs_are_pyavs(report: machine_report.Report) -> None:
    av = pytest.importorskip("av")
    decoders = {codec.codec: codec.decoder for codec in report.cpu_codecs}
    assert report.packages.ffmpeg.version == av.ffmpeg_version_info
    for codec in ("h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg"):
        assert decoders[codec] == codec
    # FFmpeg's own "av1" decodes with hardware only.
    assert decoders["av1"] != "av1"


def test_machine(report: machine_report.Report) -> None:
    machine = report.machine
    assert machine.cpu_cores == len(os.sched_getaffinity(0))
    assert machine.memory_bytes is not None
    assert machine.memory_available_bytes is not None
    assert 2**28 < machine.memory_available_bytes <= machine.memory_bytes


def test_limits_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = tmp_path / "cgroup"
    (groups / "pod/box").mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/pod/box\n")
    (groups / "pod/cpu.max").write_text("150000 100000\n")
    (groups / "pod/box/cpu.max").write_text("max 100000\n")
    (groups / "pod/memory.max").write_text("max\n")
    (groups / "pod/box/memory.max").write_text("4294967296\n")
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 1048576 kB\n")
    monkeypatch.setattr(machine_report, "_PROC", tmp_path)
    monkeypatch.setattr(machine_report, "_CONTROL_GROUPS", groups)
    report = machine_report.examine()
    assert (report.machine.cpu_quota, report.machine.memory_limit_bytes) == (1.5, 4 << 30)
    page = " ".join(_page(report).split())
    assert "CPU time limited to 1.5 cores by the control group" in page
    assert "8.6 GB, 1.1 GB of it available, limited to 4.3 GB by the control group" in page


def test_a_system_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_report, "_PROC", tmp_path)
    machine = machine_report.examine().machine
    assert machine.memory_bytes is machine.memory_available_bytes is machine.memory_limit_bytes is None
    assert machine.cpu_quota is None


def test_json_has_the_reports_fields(report: machine_report.Report) -> None:
    read = json.loads(machine_report.to_json(report))
    assert list(read) == [
        "machine", "packages", "cpu_codecs", "driver", "gpus", "gpus_error", "choice",
    ]  # fmt: skip
    assert read == json.loads(json.dumps(asdict(report)))
    assert list(read["packages"]) == ["numpy", "torch", "dali", "av", "ffmpeg", "opencv", "cupy"]
    for part, kind in (
        ("machine", machine_report.Machine),
        ("driver", machine_report.Driver),
        ("choice", machine_report.Choice),
    ):
        assert list(read[part]) == [field.name for field in fields(kind)]


def test_nothing_is_cut_off_at_80_columns(report: machine_report.Report) -> None:
    page = _page(report)
    _check_width(page)
    for package in vars(report.packages).values():
        assert _squeezed(package.version or package.error) in _squeezed(page)
    for error in (report.driver.cuda_error, report.driver.version_error, report.driver.nvdec_error):
        assert _squeezed(error or "") in _squeezed(page)
    assert page.endswith(f"{report.choice.why}\n")


def test_without_a_driver_the_loader_chooses_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("nvidia.dali")

    def missing(name: str) -> None:
        raise driver.LibraryError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(driver, "_library", missing)
    report = machine_report.examine()
    assert not report.driver.loaded
    assert report.gpus == ()
    assert report.gpus_error == "libcuda.so.1: cannot open shared object file"
    assert report.driver.nvdec_error == "libnvcuvid.so.1: cannot open shared object file"
    assert report.choice == machine_report.Choice("cpu", "PyAV", "no NVIDIA driver was found")
    assert _page(report).endswith("MGDaliIterator chooses cpu and decodes with PyAV: no NVIDIA driver was found\n")


def test_importing_it_is_cheap() -> None:
    program = (
        "import sys, json, mgdali.cli.doctor, mgdali.gpu.driver\n"
        "print(json.dumps([n for n in ('torch', 'nvidia.dali', 'cupy', 'cv2', 'av', 'numpy') if n in sys.modules]))"
    )
    assert _python(program) == []


# Missing and broken packages.


@pytest.mark.parametrize(("module", "field"), [("nvidia.dali", "dali"), ("cupy", "cupy")])
def test_what_to_install(module: str, field: str) -> None:
    hidden = f"import sys; sys.modules[{module!r}] = None\n"
    # Only the package in question is hidden: the others stay as the probe has them.
    found = _python(PROBE.replace(f'"{module}", ', "").replace("import ctypes", hidden + "import ctypes", 1))
    package = found["report"]["packages"][field]
    assert package["version"] is None
    assert package["error"].startswith("ModuleNotFoundError: ")
    install = "pip install 'mgdali[cuda12]', or 'mgdali[cuda13]' with a CUDA 13 driver"
    assert package["install"] == install
    assert f"For {package['name']}: {install}\n" in found["page"]


def test_where_the_whole_route_is_there_the_loader_chooses_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    route = pytest.importorskip("mgdali.loading.route")
    torch = pytest.importorskip("torch")
    table = {codec: driver.DecoderCaps(codec, "4:2:0", 8, 7, 48, 16, 4096, 4096, 65536) for codec in ("vp9", "h264")}
    monkeypatch.setattr(route, "gpu_route", lambda: route.Route(torch.device("cuda", 0), table))
    found_driver = machine_report.Driver(True, "13.0", None, "580.1", None, True, None, None)
    found = machine_report.GPUReport(driver.GPU(0, "a GPU", (9, 0), 80 << 30), 7, (), None)
    choice = machine_report._choose(None, found_driver, (found,), None)
    assert choice == machine_report.Choice("cuda:0", "NVDEC", "it decodes h264, vp9, and PyAV the rest")


@pytest.mark.slow
def test_without_dali_the_loader_cannot_run() -> None:
    pytest.importorskip("torch")
    program = (
        "import sys, json; sys.modules['nvidia.dali'] = None\n"
        "from mgdali.cli.machine_report import examine, to_json; print(to_json(examine()))"
    )
    choice = _python(program)["choice"]
    assert choice["device"] is choice["decoding"] is None
    assert "pip install 'mgdali[cuda12]'" in choice["why"]
    assert "\n" not in choice["why"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise OSError('libnvrtc.so.12: cannot open')", "OSError: libnvrtc.so.12: cannot open"),
        ("raise RuntimeError('two [red]CuPys\\nat once')", "RuntimeError: two [red]CuPys\nat once"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("", "AttributeError: module 'cupy' has no attribute '__version__'"),
    ],
)
def test_a_broken_package_is_quoted(tmp_path: Path, body: str, words: str) -> None:
    (tmp_path / "cupy.py").write_text(body)
    found = _python(PROBE.replace('"cupy", ', ""), modules=tmp_path)
    assert found["report"]["packages"]["cupy"]["error"] == words
    assert _squeezed(words) in _squeezed(found["page"])


def test_a_broken_pyav_leaves_no_codecs(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise OSError('libavcodec.so.62: file too short')")
    found = _python(PROBE, modules=tmp_path)
    for field in ("av", "ffmpeg"):
        assert found["report"]["packages"][field]["error"] == "OSError: libavcodec.so.62: file too short"
    assert found["report"]["cpu_codecs"] == []
    assert "libdav1d" not in found["page"]


# GPUs, with stand-ins for the driver's libraries.


def test_the_structs_size() -> None:
    assert ctypes.sizeof(driver._CUVIDDECODECAPS) == 88


def test_gpus(stand_ins: Path) -> None:
    found = _python(PROBE, libraries=stand_ins)
    report = found["report"]
    assert report["driver"] == {
        "loaded": True,
        "cuda": "12.4",
        "cuda_error": None,
        "version": "550.54.15",
        "version_error": None,
        "nvdec": True,
        "nvdec_error": None,
        "caps_cache_error": None,
    }
    assert [part["device"] for part in report["gpus"]] == [
        {"index": 0, "name": "Stand-in Big 80GB", "compute_capability": [9, 0], "memory_bytes": 80 << 30},
        {"index": 1, "name": "Stand-in [bold]Small", "compute_capability": [8, 6], "memory_bytes": 24 << 30},
    ]
    assert [part["nvdec_engines"] for part in report["gpus"]] == [7, 1]
    assert [part["error"] for part in report["gpus"]] == [None, None]
    assert report["gpus_error"] is None
    # The driver's stand-ins don't make torch see a GPU.
    assert (report["choice"]["device"], report["choice"]["decoding"]) == ("cpu", "PyAV")
    assert found["balance"] == 0


def test_a_missing_compiler_is_named_with_the_consequence_and_the_remedy(stand_ins: Path, tmp_path: Path) -> None:
    found = _python(PROBE, libraries=stand_ins, CC="no-such-compiler", XDG_CACHE_HOME=str(tmp_path))
    assert "no-such-compiler" in found["report"]["driver"]["caps_cache_error"]
    assert "NVDECisslow" in _squeezed(found["page"])


def test_what_nvdec_decodes(stand_ins: Path) -> None:
    big, small = _python(PROBE, libraries=stand_ins)["report"]["gpus"]
    depths = {part["codec"]: [caps["bit_depth"] for caps in part["caps"]] for part in big["codecs"]}
    eight = {codec: [8] for codec in ("h264", "vp8", "mpeg4", "mpeg2video", "mpeg1video", "vc1", "wmv3", "mjpeg")}
    assert depths == {**eight, "hevc": [8, 10], "vp9": [8, 10], "av1": [8, 10]}
    assert {part["codec"]: len(part["caps"]) for part in small["codecs"]} == {
        **dict.fromkeys(depths, 0),
        "h264": 1,
    }
    numbers = {"mpeg1video": 0, "mpeg2video": 1, "mpeg4": 2, "vc1": 3, "wmv3": 3, "h264": 4, "mjpeg": 5, "hevc": 8}
    numbers |= {"vp8": 9, "vp9": 10, "av1": 11}
    for part in big["codecs"]:
        number = numbers[part["codec"]]
        for caps in part["caps"]:
            ten = int(caps["bit_depth"] == 10)
            assert caps == {
                "codec": part["codec"],
                "chroma": "4:2:0",
                "bit_depth": 10 if ten else 8,
                "engines": 2 if part["codec"] == "mjpeg" else 7,
                "min_width": 48 + number,
                "min_height": 16 + number,
                "max_width": 70000 + 10 * number + ten,
                "max_height": 80000 + 10 * number + ten,
                "max_macroblocks": 90000 + number,
            }


def test_the_page_shows_the_gpus(stand_ins: Path) -> None:
    page = _python(PROBE, libraries=stand_ins)["page"]
    _check_width(page)
    text = " ".join(page.split())
    assert "Driver 550.54.15" in text
    assert "the driver supports up to 12.4" in text
    assert "Stand-in Big 80GB, compute capability 9.0, 85.9 GB, 7 NVDEC engines" in text
    assert "Stand-in [bold]Small, compute capability 8.6, 25.8 GB, 1 NVDEC engine" in text
    assert "hevc hevc 8-bit 70080 x 80080 no" in text
    assert "10-bit 70081 x 80081" in text
    assert "vvc vvc no no" in text


def test_gpus_alike_share_a_column(stand_ins: Path) -> None:
    table = _python(PROBE, libraries=stand_ins, STANDIN_ALIKE="1")["page"].split("Video codecs")[1]
    assert table.count("NVDEC") == 1
    assert "GPU 0 to 1: NVDEC, largest frame" in table


def test_no_gpu(stand_ins: Path) -> None:
    found = _python(PROBE, libraries=stand_ins, STANDIN_CUINIT="100")
    words = "cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected"
    report = found["report"]
    assert (report["gpus"], report["gpus_error"]) == ([], words)
    assert report["driver"]["cuda"] == "12.4"
    assert report["choice"]["why"] == f"the NVIDIA driver offers no GPU ({words})"
    assert _squeezed(f"GPUs none: {words}") in _squeezed(found["page"])


def test_a_driver_that_counts_no_gpu(stand_ins: Path) -> None:
    report = _python(PROBE, libraries=stand_ins, STANDIN_GPUS="0")["report"]
    assert (report["gpus"], report["gpus_error"]) == ([], None)
    assert report["choice"]["why"] == "the NVIDIA driver offers no GPU (it reports 0 GPUs)"


def test_a_codec_that_nvdec_refuses_to_tell_of(stand_ins: Path) -> None:
    found = _python(PROBE, libraries=stand_ins, STANDIN_REFUSED_CODEC="11")
    codecs = {part["codec"]: part for part in found["report"]["gpus"][0]["codecs"]}
    unknown = "cuvidGetDecoderCaps: unknown error (999): unknown error"
    assert codecs["av1"] == {"codec": "av1", "caps": [], "error": unknown}
    assert len(codecs["hevc"]["caps"]) == 2
    assert found["balance"] == 0
    assert "cuvidGetDecoderCaps" in found["page"]
    _check_width(found["page"])


def test_a_gpu_without_memory_for_a_context(stand_ins: Path) -> None:
    found = _python(PROBE, libraries=stand_ins, STANDIN_RETAIN="2")
    words = "cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory"
    for part in found["report"]["gpus"]:
        assert (part["codecs"], part["nvdec_engines"], part["error"]) == ([], 0, words)
    assert _squeezed(f"codecs of NVDEC are unknown: {words}") in _squeezed(found["page"])
    assert found["balance"] == 0


def test_a_container_without_nvdecs_library(stand_ins: Path, tmp_path: Path) -> None:
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        shutil.copy(stand_ins / name, tmp_path)
    # An empty file in its place, for machines that have the true one.
    (tmp_path / "libnvcuvid.so.1").touch()
    found = _python(PROBE, libraries=tmp_path)
    driver = found["report"]["driver"]
    assert driver["loaded"]
    assert not driver["nvdec"]
    assert driver["nvdec_error"].endswith("libnvcuvid.so.1: file too short")
    assert [part["error"] for part in found["report"]["gpus"]] == [driver["nvdec_error"]] * 2
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video\n" in found["page"]


def test_nvml_that_refuses(stand_ins: Path) -> None:
    found = _python(PROBE, libraries=stand_ins, STANDIN_NVML="9")
    words = "nvmlInit_v2: Driver Not Loaded (9)"
    assert (found["report"]["driver"]["version"], found["report"]["driver"]["version_error"]) == (None, words)
    assert len(found["report"]["gpus"]) == 2
    assert f"version unknown: {words}" in found["page"]


def test_libraries_that_are_not_the_drivers(tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C compiler")
    for name in ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-ml.so.1"):
        _compile(tmp_path, name, "int something_else;")
    report = _python(PROBE, libraries=tmp_path)["report"]
    assert report["driver"]["loaded"]
    words = "libcuda.so.1 has no function cuInit: it is too old, or not the driver's"
    assert report["gpus_error"] == words
    assert report["driver"]["cuda_error"].startswith("libcuda.so.1 has no function cuDriverGetVersion")
    assert report["driver"]["version_error"].startswith("libnvidia-ml.so.1 has no function nvmlInit_v2")
    assert report["choice"]["device"] == "cpu"


def test_decoder_caps(stand_ins: Path) -> None:
    program = """
import json
from dataclasses import asdict
from mgdali.gpu.driver import GPUError, decoder_caps
kinds = [
    (0, "hevc", "4:4:4", 12), (1, "hevc"), (0, "h264", "4:2:0", 10), (0, "h264", "4:2:2"), (0, "theora"),
    (0, "h264", "4:1:1"), (0, "h264", "4:2:0", 7),
]
answers = [caps and asdict(caps) for caps in (decoder_caps(*kind) for kind in kinds)]
try:
    decoder_caps(2, "h264")
except GPUError as error:
    answers.append(str(error))
print(json.dumps(answers))
"""
    first, *none, error = _python(program, libraries=stand_ins)
    assert (first["chroma"], first["bit_depth"], first["max_width"]) == ("4:4:4", 12, 70080)
    assert none == [None] * 6
    assert error == "cuDeviceGet: unknown error (101): unknown error"


def test_fits() -> None:
    caps = driver.DecoderCaps(
        codec="h264",
        chroma="4:2:0",
        bit_depth=8,
        engines=1,
        min_width=48,
        min_height=16,
        max_width=4096,
        max_height=4096,
        max_macroblocks=36864,
    )
    for size in ((48, 16), (4096, 2304), (2304, 4096), (1920, 1080)):
        assert caps.fits(*size), size
    for size in ((47, 16), (48, 15), (4097, 16), (48, 4097), (4096, 2305)):
        assert not caps.fits(*size), size
