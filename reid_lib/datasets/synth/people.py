"""Who a person is: body, clothes, and the fine detail that tells look-alikes apart.

Several identities share one coarse look (body, skin, hair, types and colours of clothes, bag, hat) and differ in fine
detail only (patterns, prints, stripes). The detail is drawn around the same mean colour, so that it vanishes when the
image loses resolution. Lengths are in body units: 1 is the height of an average person, about 113 pixels of a 128
pixel high image. Colours are RGB in 0..1.
"""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from reid_lib.datasets.records import DatasetError
from reid_lib.seeds import numpy_generator

Colour = tuple[float, ...]
Outline = tuple[tuple[float, float, float], ...]

PERSON_HEIGHT = 0.88  # part of the image's height that an average person takes
_PIXEL = 1 / (PERSON_HEIGHT * 128)  # one pixel of a 128 pixel high image, in body units


def is_count(value, least: int = 1) -> bool:
    """Tell whether ``value`` is an integer (Python's or NumPy's, no bool) of at least ``least``."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True)
class Calibration:  # decision SYNTH-1, decision SYNTH-2, decision SYNTH-4
    """The few numbers that decide how hard the set is; the defaults are calibrated on a plain baseline only.

    Attributes:
        identities_per_look: identities that share one coarse look.
        detail_contrast: amplitude of patterns, in parts of the full range 0..1.
        periods: smallest and largest period of patterns, in pixels of a 128 pixel high image.
        look_jitter: standard deviation of the colours of clothes within a look group, in parts of 0..1; 0 leaves
            nothing but fine detail to tell its members apart.
        colour_cast: standard deviation of a camera's colour gains.
        pose_variation: 1 = natural walking; 0 = everybody stands still; also scales crop noise.
        noise: standard deviation of a camera's sensor noise, in parts of the full range 0..1.

    Raises:
        DatasetError: a number is out of its range.
    """

    identities_per_look: int = 4
    detail_contrast: float = 0.25
    periods: tuple[float, float] = (4.0, 16.0)
    look_jitter: float = 0.03
    colour_cast: float = 0.06
    pose_variation: float = 1.0
    noise: float = 0.012

    def __post_init__(self) -> None:
        if not is_count(self.identities_per_look):
            raise DatasetError(f"identities_per_look must be an integer >= 1, found {self.identities_per_look!r}")
        if not 0 <= self.detail_contrast <= 0.3:
            raise DatasetError(f"detail_contrast must be between 0 and 0.3, found {self.detail_contrast}")
        if len(self.periods) != 2 or not 2 <= self.periods[0] <= self.periods[1]:
            raise DatasetError(f"periods must be two ascending numbers of pixels >= 2, found {self.periods}")
        for name in ("look_jitter", "colour_cast", "pose_variation", "noise"):
            if not 0 <= getattr(self, name) < 5:
                raise DatasetError(f"{name} must be a number >= 0 (and below 5), found {getattr(self, name)}")


DEFAULT = Calibration()


def _palette(hexadecimal: str) -> tuple[Colour, ...]:
    return tuple(tuple(byte / 255 for byte in bytes.fromhex(word)) for word in hexadecimal.split())


# red wine orange mustard green olive teal blue navy / sky purple pink grey charcoal beige white brown
_CLOTH = _palette(
    "a33636 6b3340 bd6e36 b28f3d 3d754a 696b45 367578 3859a1 363d5c"
    " 789cbd 6b4787 bd7a91 808082 45454a ad9c80 babab5 6b4f3d"
)
# denim, dark denim, black, grey, khaki, stone, brown, olive
_LEGWEAR = _palette("455c80 364057 303036 6e6e70 918263 ada89c 614a3b 5e6142")
_BAGS = _CLOTH + _palette("262629 8c6642")  # black and tan are for bags alone
_SKIN = _palette("edc2a8 e0b08f cc9975 a87859 7d5740 5c4030")
_HAIR = _palette("1a1414 2b1f1a 4c3321 734c2b b89157 854021 9e9c99")
_SHOES = _palette("242121 543829 d1d1cc 73757a 992e2e 384773")
_TINTS = ((1.0, 1.0, 1.0), (1.0, 0.7, -0.2), (-0.1, 0.7, 1.0), (1.0, 0.3, 0.9))
PATTERNS = ("horizontal", "vertical", "diagonal", "antidiagonal", "checks", "dots", "plaid", "chevron")
_LOGOS = ("none", "disc", "bar", "cross")
DETAIL = ("upper_pattern", "lower_pattern", "logo", "shoe_stripes", "strap_period")
"""The fields of a `Person` that differ within a look group (and, by ``look_jitter``, the colours of clothes)."""


@dataclass(frozen=True)
class Pattern:
    """A zero-mean pattern: kind (of `PATTERNS`, or "plain"), period (body units), amplitude per channel."""

    kind: str
    period: float
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class Person:
    """What makes an identity. ``look`` is the number of the look group, whose members differ in `DETAIL` only."""

    look: int
    female: bool
    height: float
    build: float
    skin: Colour
    hair: Colour
    hair_style: str
    beard: bool
    upper: str
    upper_colour: Colour
    inner_colour: Colour
    lower: str
    lower_colour: Colour
    shoe_colour: Colour
    sole_colour: Colour
    trim_colour: Colour
    boots: bool
    bag: str
    bag_colour: Colour
    hat: str
    hat_colour: Colour
    upper_pattern: Pattern = field(kw_only=True)
    lower_pattern: Pattern = field(kw_only=True)
    logo: str = field(kw_only=True)
    shoe_stripes: int = field(kw_only=True)
    strap_period: float = field(kw_only=True)


def _outline(heights: str, sides: str, depths: str) -> Outline:
    """(height, half width to the side, half depth) of a body of revolution, from thousandths."""
    columns = [[int(word) / 1000 for word in words.split()] for words in (heights, sides, depths)]
    return tuple(zip(*columns, strict=True))


MAN = _outline(
    "420 470 510 600 700 770 797 816 832 846 860",
    "70 97 99 89 110 123 117 98 70 48 39",
    "55 76 79 69 84 79 74 66 54 44 38",
)
WOMAN = _outline(
    "420 470 510 610 700 765 790 810 828 842 860",
    "70 101 105 77 97 106 102 86 60 42 34",
    "58 79 82 61 83 73 68 60 48 39 33",
)
SKIRT = _outline("290 400 490 550", "128 116 104 86", "110 98 82 68")


@dataclass(frozen=True)
class Cut:
    """How a kind of upper garment is cut.

    Attributes:
        hem: its height.
        loose: looseness, in body units.
        sleeve: covered part of the upper arm; 1 = the whole arm.
        warmth: as a thermal camera sees it, 0..1.
    """

    hem: float
    loose: float
    sleeve: float
    warmth: float


CUTS = {
    "tee": Cut(0.475, 0.004, 0.72, 0.62),
    "shirt": Cut(0.462, 0.004, 1, 0.58),
    "jacket": Cut(0.452, 0.011, 1, 0.42),
    "open jacket": Cut(0.452, 0.011, 1, 0.44),
    "hoodie": Cut(0.455, 0.012, 1, 0.48),
    "coat": Cut(0.285, 0.013, 1, 0.36),
    "dress": Cut(0.290, 0.002, 0.30, 0.60),
}


@lru_cache(maxsize=4096)
def person(pid: int, seed: int = 0, calibration: Calibration = DEFAULT) -> Person:
    """Return identity ``pid`` of the population ``seed``; a look group has consecutive numbers."""
    look, member = divmod(int(pid), calibration.identities_per_look)
    who = replace(_look(look, seed, calibration), **_detail(look, member, seed, calibration))
    shift = numpy_generator(seed, "synth", "jitter", look, member).normal(0, calibration.look_jitter, (2, 3))
    upper, lower = (
        _with_room(np.add(colour, by), calibration)
        for colour, by in zip((who.upper_colour, who.lower_colour), shift, strict=True)
    )
    return replace(who, upper_colour=upper, lower_colour=lower)


def _with_room(colour: np.ndarray, calibration: Calibration) -> Colour:
    """Keep away from 0 and 1, so that clipping a pattern cannot change its mean colour."""
    room = calibration.detail_contrast + 0.02
    return tuple(np.clip(colour, room, 0.92 - room).tolist())


def _pick(draw: np.random.Generator, options, weights=None):
    options = list(options)
    share = None if weights is None else np.asarray(weights) / np.sum(weights)
    return options[int(draw.choice(len(options), p=share))]


@lru_cache(maxsize=4096)
def _look(look: int, seed: int, calibration: Calibration) -> Person:
    """The look of a group, without detail. All draws share one stream: in another order they give other people."""
    draw = numpy_generator(seed, "synth", "look", look)
    female = bool(draw.random() < 0.5)
    uppers = ("tee", "shirt", "jacket", "open jacket", "hoodie", "coat") + (("dress",) if female else ())
    upper = _pick(draw, uppers, (4, 3, 3, 3, 3, 2, 3)[: len(uppers)])
    build = float(np.clip(draw.normal(0.97 if female else 1.03, 0.09), 0.82, 1.28))
    shoes, boots = _pick(draw, _SHOES, (4, 2, 3, 2, 1, 1)), bool(draw.random() < 0.2)
    plain = Pattern("plain", 1.0, (0.0, 0.0, 0.0))
    return Person(
        look=look,
        female=female,
        build=build,
        **_body(draw, female),
        upper=upper,
        shoe_colour=shoes,
        sole_colour=(0.80, 0.79, 0.76) if shoes[0] < 0.5 and not boots else (0.25, 0.22, 0.20),
        trim_colour=(0.9, 0.9, 0.88),
        boots=boots,
        **_clothes(draw, female, upper, calibration),
        upper_pattern=plain,
        lower_pattern=plain,
        logo="none",
        shoe_stripes=0,
        strap_period=1.0,
    )


def _body(draw: np.random.Generator, female: bool) -> dict:
    styles = ("long", "bob", "ponytail", "bun", "short") if female else ("short", "crop", "bald", "long")
    skin = _pick(draw, _SKIN)
    hair = _pick(draw, _HAIR, (4, 4, 4, 3, 2, 1, 2) if skin[0] > 0.7 else (6, 4, 1, 0, 0, 0, 1))
    return {
        "skin": skin,
        "hair": hair,
        "height": float(np.clip(draw.normal(0.975 if female else 1.01, 0.025), 0.92, 1.06)),
        "hair_style": _pick(draw, styles, (5, 3, 3, 2, 2) if female else (6, 4, 1, 1)),
        "beard": bool(not female and hair[0] < 0.5 and draw.random() < 0.35),
    }


def _clothes(draw: np.random.Generator, female: bool, upper: str, calibration: Calibration) -> dict:
    lowers = ("trousers", "slim", "shorts") + (("skirt",) if female else ())

    def cloth(palette: tuple[Colour, ...]) -> Colour:
        return _with_room(np.array(_pick(draw, palette)) + draw.normal(0, 0.025, 3), calibration)

    return {
        "upper_colour": cloth(_CLOTH),
        "inner_colour": cloth(_CLOTH),
        "lower": "bare" if upper == "dress" else _pick(draw, lowers, (5, 4, 2, 3)[: len(lowers)]),
        "lower_colour": cloth(_LEGWEAR),
        "bag": _pick(draw, ("none", "backpack", "shoulder bag", "handbag"), (8, 5, 4, 3)),
        "bag_colour": cloth(_BAGS),
        "hat": _pick(draw, ("none", "cap", "beanie"), (15, 2, 2)),
        "hat_colour": cloth(_CLOTH),
    }


def _detail(look: int, member: int, seed: int, calibration: Calibration) -> dict:
    """Fine detail of one member: kinds and strata of periods are dealt like cards, so that members differ."""
    deal = numpy_generator(seed, "synth", "deal", look)
    count = calibration.identities_per_look
    kinds = [PATTERNS[i % len(PATTERNS)] for i in range(max(count, len(PATTERNS)))]
    upper_kind = kinds[int(deal.permutation(len(kinds))[member])]
    lower_kind = kinds[int(deal.permutation(len(kinds))[member])]
    stratum = (float(deal.permutation(count)[member]), float(deal.permutation(count)[member]))
    draw = numpy_generator(seed, "synth", "detail", look, member)

    def pattern(kind: str, layer: float, strength: float) -> Pattern:
        low, high = calibration.periods
        period = low + (high - low) * (layer + float(draw.random())) / count
        amplitude = strength * calibration.detail_contrast * (1 if draw.random() < 0.5 else -1)
        return Pattern(kind, period * _PIXEL, tuple(amplitude * t for t in _pick(draw, _TINTS, (4, 2, 2, 2))))

    upper = pattern(upper_kind, stratum[0], 1.0)
    lower = pattern(lower_kind if draw.random() < 0.5 else "plain", stratum[1], 0.75)
    return {
        "upper_pattern": upper,
        "lower_pattern": lower,
        "logo": _pick(draw, _LOGOS),
        "shoe_stripes": int(draw.integers(0, 4)),
        "strap_period": float(draw.uniform(*calibration.periods)) * _PIXEL,
    }


def by_heat(who: Person) -> Person:
    """Return the same person by body heat: skin hot, clothes by how they insulate, no colour, faint patterns."""

    def grey(value: float) -> Colour:
        return (value, value, value)

    def heat(colour: Colour, base: float) -> Colour:
        # dark cloth absorbs more light and is a little warmer
        return grey(base + 0.12 * (0.5 - sum(colour) / 3))

    def faint(pattern: Pattern) -> Pattern:
        return replace(pattern, tint=grey(0.4 * sum(pattern.tint) / 3))

    return replace(
        who,
        skin=grey(0.90),
        hair=grey(0.56),
        upper_colour=heat(who.upper_colour, CUTS[who.upper].warmth),
        inner_colour=heat(who.inner_colour, 0.64),
        lower_colour=heat(who.lower_colour, 0.52),
        shoe_colour=grey(0.38),
        sole_colour=grey(0.34),
        trim_colour=grey(0.42),
        bag_colour=grey(0.27),
        hat_colour=grey(0.45),
        upper_pattern=faint(who.upper_pattern),
        lower_pattern=faint(who.lower_pattern),
        logo="none",
        shoe_stripes=0,
    )


def wave(pattern: Pattern, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the pattern's zero-mean wave in -1..1 at body coordinates ``u`` (across) and ``v`` (along).

    Raises:
        ValueError: the pattern's kind is none of `PATTERNS`.
    """
    k = 2 * math.pi / pattern.period

    def sine(x: np.ndarray) -> np.ndarray:
        return np.clip(1.5 * np.sin(x), -1, 1)

    match pattern.kind:
        case "horizontal":
            return sine(k * v) + 0 * u
        case "vertical":
            return sine(k * u) + 0 * v
        case "diagonal":
            return sine(k * 0.7071 * (u + v))
        case "antidiagonal":
            return sine(k * 0.7071 * (u - v))
        case "checks":
            return sine(k * u) * sine(k * v)
        case "plaid":
            return 0.5 * (sine(k * u) + sine(k * v))
        case "dots":
            return 1.3 * (np.clip(np.cos(k * u) + np.cos(k * v) - 0.3, 0, 1) - _DOTS_MEAN)
        case "chevron":
            return sine(k * (v + 0.8 * np.abs((u / (3 * pattern.period)) % 1 - 0.5) * 2 * pattern.period))
    raise ValueError(f"unknown pattern {pattern.kind}")


def _dots_mean() -> float:
    c = np.cos(np.linspace(0, 2 * math.pi, 400, endpoint=False))
    return float(np.clip(c[:, None] + c[None] - 0.3, 0, 1).mean())


_DOTS_MEAN = _dots_mean()
