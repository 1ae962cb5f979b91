"""The doctor tries things, and says what is wrong with them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tiny import FakeConfig, FakeNetwork, save_tiny

from stemsplit import doctor
from stemsplit.audio import FORMATS
from stemsplit.cli import main
from stemsplit.cli.layout import screen
from stemsplit.doctor import Finding
from stemsplit.machine.device import BACKEND_VARIABLE
from stemsplit.networks.backends.choose import cpu_has_bfloat16


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))


def states(findings: object) -> dict[str, str]:
    return {finding.name: finding.state for finding in findings}  # type: ignore[attr-defined]


def test_every_format_is_written_and_read_back() -> None:
    assert states(doctor.formats()) == dict.fromkeys(FORMATS, "ok")


def test_a_format_that_loses_samples_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_there_and_back", lambda path, name, noise: 4799 if name == "mp3" else 4800)
    assert [name for name, state in states(doctor.formats()).items() if state == "broken"] == ["mp3"]


def test_decoders_and_versions_are_there() -> None:
    assert set(states(doctor.decoders()).values()) == {"ok"}
    assert "broken" not in states(doctor.versions()).values()


def test_a_missing_package_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-at-all"))
    assert states(doctor.versions())["no-such-package-at-all"] == "broken"


def test_a_missing_extra_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"no-such-package-at-all": ("plot", "melody --plot")})
    (finding,) = (found for found in doctor.versions() if found.name == "no-such-package-at-all")
    assert finding.state == "missing"
    assert finding.value == "for melody --plot: pip install 'stemsplit-mamba[plot]'"


def test_the_cpu_is_a_device_and_a_missing_gpu_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_devices", lambda: ("cpu",))
    found = {finding.name: finding for finding in doctor.devices()}
    assert found["cpu"].state == "ok"
    assert found["cpu"].value.endswith(", bf16" if cpu_has_bfloat16() else ", fp32")
    assert found["cuda"].state == "missing"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "without CUDA" in next(f for f in doctor.devices() if f.name == "cuda").value
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "no driver or no GPU" in next(f for f in doctor.devices() if f.name == "cuda").value


def test_the_backend_of_each_device_is_named_and_what_others_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_VARIABLE, "torch")
    found = {finding.name: finding for finding in doctor.mamba2(("cpu",))}
    assert found["Mamba-2 on cpu"].data == "torch"
    assert "set by STEMSPLIT_BACKEND" in found["Mamba-2 on cpu"].value
    assert found["backend torch"].value == "works on cpu"
    assert found["backend mamba"].state == "missing"
    monkeypatch.delenv(BACKEND_VARIABLE)
    assert states(doctor.mamba2(("cpu",)))["Mamba-2 on cpu"] == "ok"


def test_a_backend_that_was_asked_for_and_is_not_here_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_VARIABLE, "mamba")
    finding = next(doctor.mamba2(("cpu",)))
    assert finding.state == "broken"
    assert "no backend 'mamba' on cpu" in finding.value


def test_memory_and_places_are_measured(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in doctor.resources()}
    assert found["threads"].data == torch.get_num_threads()
    assert found["cache"].value.startswith(str(tmp_path / "cache"))
    assert found["cache"].data > 0
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    broken = [finding for finding in doctor.resources() if finding.state == "broken"]
    assert {finding.name for finding in broken} == {"cache", "temporary"}
    assert "STEMSPLIT_CACHE" in broken[0].value


def test_speed_is_measured_on_a_model_that_is_here(tmp_path: Path) -> None:
    found, busy = doctor.speed(str(save_tiny(tmp_path / "tiny")), "cpu")
    assert found.state == "ok"
    assert found.data > 0.01
    spread = re.search(r"real time \((\S+) to (\S+) in (\d) readings, \d+ s\) on cpu", found.value)
    assert spread is not None
    assert 2 <= int(spread[3]) <= doctor.READINGS
    assert float(spread[1]) <= float(f"{found.data:.3g}") <= float(spread[2])
    assert busy.name == "load"
    assert "a song of 4 minutes" in found.value


def test_a_model_that_is_not_here_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr("stemsplit.weights.transfer._client", refuse)
    (found,) = doctor.speed("ts-bsmamba2-musdb18", "cpu")
    assert found.state == "missing"
    assert "not measured" in found.value


def test_a_faster_network_has_a_higher_figure() -> None:
    def slow(mixture: torch.Tensor) -> None:
        for _ in range(30):
            torch.fft.rfft(torch.zeros(2**18))

    config = FakeConfig(chunk_samples=44100)
    cpu = torch.device("cpu")
    quick = doctor.real_time_factors(FakeNetwork(config), cpu)
    assert len(quick) == doctor.READINGS
    assert min(quick) > max(doctor.real_time_factors(FakeNetwork(config, on_call=slow), cpu))


def test_a_network_that_is_very_slow_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEASURE_SECONDS", 0.0)
    config = FakeConfig(chunk_samples=44100)
    assert len(doctor.real_time_factors(FakeNetwork(config), torch.device("cpu"))) == 1


@pytest.mark.parametrize(("wanting", "state"), [(0.2, "ok"), (9.0, "info")])
def test_a_busy_machine_is_told(wanting: float, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (wanting, 0.0, 0.0), raising=False)
    found = doctor.load()
    assert found is not None
    assert (found.state, found.data) == (state, wanting)
    assert ("faster when they rest" in found.value) == (state == "info")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fold_at_the_width_of_a_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    monkeypatch.setattr(doctor, "examine", lambda model, device: iter([Finding("Speed", "a-model", words)]))
    monkeypatch.setattr(screen, "output_columns", lambda: width)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert max(map(len, lines)) <= width
    assert " ".join(lines).split() == ["a-model", *words.split()]
    assert all(line.startswith(" " * 26) for line in lines[1:])


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("missing", 0), ("broken", 1)])
def test_the_exit_code_is_the_worst_finding(
    state: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("Versions", "torch", "1.0", "info", 3), Finding("Devices", "gpu", "a\nb", state)]
    monkeypatch.setattr(doctor, "examine", lambda model, device: iter(findings))
    assert main(["doctor"]) == code
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "Versions"
    assert out.splitlines()[-1].endswith("a b")
    assert main(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told[0] == {"section": "Versions", "name": "torch", "value": "1.0", "state": "info", "data": 3}


def test_the_whole_examination(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json", "--device", "cpu", "-m", str(save_tiny(tmp_path / "tiny"))])
    told = json.loads(capsys.readouterr().out)
    sections = list(dict.fromkeys(finding["section"] for finding in told))
    assert sections == [
        "Versions", "Writing and reading", "Reading with FFmpeg", "Devices", "Resources", "Models", "Speed",
    ]  # fmt: skip


def test_what_a_model_would_take_is_measured_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "load_model", None)
    assert 0.0001 < doctor.seconds_per_second("ts-bsmamba2-mini", "cpu") < 1000


def test_it_says_which_config_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("STEMSPLIT_CONFIG", "")
    assert "none is read: STEMSPLIT_CONFIG is empty" in doctor.config().value
    monkeypatch.delenv("STEMSPLIT_CONFIG")
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *name, **how: str(tmp_path))
    assert (doctor.config().state, f"none; {path} would be read") == ("info", doctor.config().value)
    path.write_text('[separate]\nformat = "flac"\n')
    assert (doctor.config().state, doctor.config().value) == ("ok", f"{path} is in use")
    path.write_text("nonsense")
    assert doctor.config().state == "broken"
    monkeypatch.setenv("STEMSPLIT_CONFIG", str(tmp_path / "gone.toml"))
    assert doctor.config().state == "broken"
