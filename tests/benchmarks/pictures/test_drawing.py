"""Pictures are true to the data, readable, and self-contained."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import __main__ as command
from benchmarks.pictures.command import DATA, draw
from benchmarks.pictures.svg import _SCHEMES, NARROW, WIDE, Picture, text_width, wrap

COMMITTED = Path(__file__).parents[3] / ".github" / "pictures"
FIXED = json.loads(Path(__file__).with_name("data.json").read_text())
SVG = "{http://www.w3.org/2000/svg}"
NAMES = [f"{name}{suffix}" for name in ("outage", "peers", "fleet") for suffix in ("", "-narrow")]

each_picture = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ET.Element]:
    """Return each picture of the fixed data, as a parsed document."""
    return drawn(FIXED, tmp_path_factory.mktemp("pictures"))


def drawn(data: dict[str, Any], folder: Path) -> dict[str, ET.Element]:
    """Draw data; return the parsed pictures by their names."""
    draw(data, folder)
    return {path.stem: ET.parse(path).getroot() for path in folder.glob("*.svg")}  # noqa: S314 - written by this test


def texts(picture: ET.Element) -> list[str]:
    """Return all texts that a picture shows or tells."""
    return [
        "".join(element.itertext())
        for tag in ("title", "desc", "text")
        for element in picture.iter(f"{SVG}{tag}")
    ]


def bars(picture: ET.Element) -> list[float]:
    """Return the lengths of the bars of a chart, from top to bottom."""
    return [
        float(bar.attrib["width"])
        for bar in picture.iter(f"{SVG}rect")
        if bar.attrib["class"] in {"ours", "peer"}
    ]


@each_picture
def test_every_text_is_inside(pictures: dict[str, ET.Element], name: str) -> None:
    """A text neither begins before the left side nor ends behind the right side."""
    width = float(pictures[name].attrib["width"])
    assert width == (NARROW if "narrow" in name else WIDE)
    for element in pictures[name].iter(f"{SVG}text"):
        text, size = " ".join(element.itertext()), float(element.attrib["font-size"])
        bold = any("font-weight" in part.attrib for part in element.iter())
        length = text_width(text, size, bold=bold)
        anchor = element.attrib.get("text-anchor", "start")
        begin = float(element.attrib["x"]) - {"start": 0, "middle": 0.5, "end": 1}[anchor] * length
        assert begin >= 0, text
        assert begin + length <= width, text


@each_picture
def test_a_picture_needs_nothing_else(pictures: dict[str, ET.Element], name: str) -> None:
    """A picture has a title and a description, and loads neither font, image nor script."""
    picture = pictures[name]
    document = ET.tostring(picture, encoding="unicode")

    assert [child.tag for child in picture[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert all(child.text for child in picture[:2])
    assert {child.tag for child in picture[3:]} <= {
        f"{SVG}{tag}" for tag in ("rect", "line", "path", "circle", "text")
    }
    assert not re.search(r"url\(|@import|href|https?://(?!www\.w3\.org/2000/svg)", document)


@each_picture
def test_a_picture_names_its_source(pictures: dict[str, ET.Element], name: str) -> None:
    """The command, the commit, the Python and the date are shown, and told in the description."""
    for part in FIXED["about"].values():
        assert part in texts(pictures[name])[1]
        assert part in " ".join(texts(pictures[name])[2:])


def numbers(data: object) -> Iterator[float]:
    """Return all numbers in data."""
    if isinstance(data, dict):
        data = [*data.values()]
    if isinstance(data, list):
        for item in data:
            yield from numbers(item)
    elif isinstance(data, int | float):
        yield float(data)


@each_picture
def test_every_figure_is_in_the_data(pictures: dict[str, ET.Element], name: str) -> None:
    """A picture shows numbers of the data, in seconds or minutes, and no others."""
    part = name.removesuffix("-narrow")
    amounts = [number / unit for number in numbers(FIXED[part]) for unit in (1, 60)]
    allowed = {f"{amount:.{digits}f}" for amount in amounts for digits in (0, 1)}
    if part == "outage":
        renewals = FIXED[part]["requests"][1:]
        allowed |= {str(sum(status != 200 for _, status in renewals)), "1"}
        allowed |= {str(minute) for minute in range(25, 46, 5)}  # the ticks of the axis
    source = [
        *FIXED["about"].values(),
        *(library["name"] for library in FIXED["peers"]["libraries"]),
    ]
    shown = " ".join(texts(pictures[name]))
    for text in source:
        shown = shown.replace(text, "")
    found = {number.replace(",", "") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", shown)}

    assert found
    assert found - allowed == set()


@pytest.mark.parametrize("suffix", ["", "-narrow"])
def test_bars_of_libraries_are_proportional(pictures: dict[str, ET.Element], suffix: str) -> None:
    """In each chart the lengths of the bars have the ratios of the values."""
    libraries = sorted(FIXED["peers"]["libraries"], key=lambda library: library["hit"])
    lengths = bars(pictures[f"peers{suffix}"])

    assert len(lengths) == 4 * len(libraries)
    for number, key in enumerate(("hit", "waiters", "requests", "errors")):
        values = [library[key] for library in libraries]
        chart = lengths[number * len(values) : (number + 1) * len(values)]
        assert chart == pytest.approx(
            [value / max(values) * max(chart) for value in values], abs=0.02
        )
        assert max(chart) > 60


@pytest.mark.parametrize("suffix", ["", "-narrow"])
def test_bars_of_all_fleets_have_one_scale(pictures: dict[str, ET.Element], suffix: str) -> None:
    """Bars of different fleets can be compared, too."""
    values = [fleet[key] for fleet in FIXED["fleet"]["fleets"] for key in ("alone", "shared")]
    lengths = bars(pictures[f"fleet{suffix}"])

    assert lengths == pytest.approx(
        [value / max(values) * max(lengths) for value in values], abs=0.02
    )


@pytest.mark.parametrize("suffix", ["", "-narrow"])
def test_the_timeline_has_one_scale(pictures: dict[str, ET.Element], suffix: str) -> None:
    """Bands and marks are where the axis has their instants."""
    picture, data = pictures[f"outage{suffix}"], FIXED["outage"]
    left, right = 16, float(picture.attrib["width"]) - 16

    def x(instant: float) -> float:
        share = (instant - data["begin"]) / (data["end"] - data["begin"])
        return float(left + share * (right - left))

    (failing,) = picture.iterfind(f"{SVG}rect[@class='bad band']")
    (due,) = picture.iterfind(f"{SVG}rect[@class='due band']")
    (renewed,) = picture.iterfind(f"{SVG}circle")
    crosses = [
        float(re.findall(r"[\d.]+", path.attrib["d"])[0]) + 3.5
        for path in picture.iterfind(f"{SVG}path")
    ]
    begin, end = data["outage"]
    assert float(failing.attrib["x"]) == pytest.approx(x(begin), abs=0.1)
    assert float(failing.attrib["width"]) == pytest.approx(x(end) - x(begin), abs=0.1)
    assert float(due.attrib["x"]) == pytest.approx(x(1801), abs=0.1)
    assert float(renewed.attrib["cx"]) == pytest.approx(x(2160.6), abs=0.1)
    assert crosses == pytest.approx([x(1800.4), x(1830.2), x(1899.9)], abs=0.2)


def test_a_noticed_outage_is_not_called_unnoticed(tmp_path: Path) -> None:
    """If a call failed or waited, the title does not claim the contrary."""
    noticed = copy.deepcopy(FIXED)
    noticed["outage"]["calls"]["waited"] = 1

    assert "no caller notices" in texts(drawn(FIXED, tmp_path)["outage"])[0]
    assert "no caller notices" not in texts(drawn(noticed, tmp_path)["outage"])[0]


def test_a_text_that_does_not_fit_is_an_error() -> None:
    """A text that is too long for the picture or for its column is not drawn."""
    picture = Picture("A title", "A description", 100)
    picture.text(10, 50, "fits")

    with pytest.raises(ValueError, match=r"'does not fit at all' does not fit\. Shorten it\."):
        picture.text(10, 50, "does not fit at all")
    with pytest.raises(ValueError, match="does not fit"):
        picture.text(10, 50, "fits", room=10)
    with pytest.raises(ValueError, match="does not fit"):
        picture.text(10, 50, "fits", anchor="end")


def test_a_band_shows_the_longest_text_that_fits() -> None:
    """A narrow band has a shorter text, and a very narrow one has none."""
    picture = Picture("A title", "A description", 400)
    for width in (200, 50, 8):
        picture.band(0, 50, width, 20, "good", ["a rather long text", "short"])

    assert re.findall(r">([^<]+)</text>", picture.render()) == [
        "A title",
        "a rather long text",
        "short",
    ]


def test_a_paragraph_is_wrapped_between_words() -> None:
    """No line is wider than the room, except a single word that is."""
    lines = wrap("a few words and incomprehensibilities", 80)

    assert " ".join(lines) == "a few words and incomprehensibilities"
    assert lines[-1] == "incomprehensibilities"
    assert all(text_width(line) <= 80 for line in lines[:-1])


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])

    dark, light = sorted([luminance(first), luminance(second)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", _SCHEMES)
def test_colours_have_enough_contrast(scheme: str) -> None:
    """Texts have a contrast of 4.5 to their ground, and bars, marks and borders one of 3."""
    colours = _SCHEMES[scheme]
    bands = {name: colour for name, colour in colours.items() if name.endswith("-band")}

    assert all(contrast(colours["ink"], colour) >= 4.5 for colour in bands.values())
    assert contrast(colours["ink"], colours["ground"]) >= 4.5
    assert contrast(colours["muted"], colours["ground"]) >= 4.5
    for role in ("ours", "peer", "good", "due", "bad"):
        assert contrast(colours[role], colours["ground"]) >= 3, role


def test_data_of_an_earlier_run_is_drawn_again(tmp_path: Path) -> None:
    """With `--from` the command measures nothing, and draws every picture."""
    data = tmp_path / "earlier.json"
    data.write_text(json.dumps(FIXED))

    assert command.main(["report", str(tmp_path / "folder"), "--from", str(data)]) == 0
    assert {path.stem for path in (tmp_path / "folder").iterdir()} == {*NAMES}


@pytest.mark.parametrize("text", [None, "no JSON"])
def test_data_that_cannot_be_read_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    """If the file of `--from` is missing or invalid, the message says so and what to do."""
    data = tmp_path / "earlier.json"
    if text is not None:
        data.write_text(text)

    assert command.main(["report", str(tmp_path / "folder"), "--from", str(data)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"--from: {data} cannot be read (")
    assert error.endswith(f"Name a {DATA}.\n")
    assert not (tmp_path / "folder").exists()


def test_the_committed_pictures_show_the_committed_data(tmp_path: Path) -> None:
    """The committed pictures are drawn again when the data or the drawing changes."""
    draw(json.loads((COMMITTED / DATA).read_text()), tmp_path)

    for name in NAMES:
        assert (tmp_path / f"{name}.svg").read_text() == (COMMITTED / f"{name}.svg").read_text()
