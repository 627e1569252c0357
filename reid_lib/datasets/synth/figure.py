"""The drawn figure: a person in a pose, seen from one side, as shapes in body units; no pixel is painted here."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reid_lib.datasets.synth.cameras import View
from reid_lib.datasets.synth.people import CUTS, MAN, SKIRT, WOMAN, Colour, Outline, Pattern, Person

Point = tuple[float, float]
Joint = tuple[float, float, float]

_HAIR_VOLUME = {"short": 1.08, "crop": 1.03, "bald": 0, "long": 1.12, "bob": 1.18, "ponytail": 1.05, "bun": 1.05}
_NAPE = {"short": -0.62, "crop": -0.55, "bun": -0.6, "ponytail": -0.6, "bald": math.inf}  # elsewhere no bare nape


@dataclass(frozen=True)
class Limb:
    """A chain of tapered capsules through points (x, y), one radius each.

    Attributes:
        pattern: runs along the chain; None where it is not cloth.
        contact: strength of the thin shadow around it.
        joint: it grows out of the trunk, so that its start casts no contact shadow.
        flat_end: it is cut off at the last point.
    """

    points: Sequence[Point]
    radii: Sequence[float]
    colour: Colour
    pattern: Pattern | None = None
    contact: float = 0.22
    joint: bool = False
    flat_end: bool = False


@dataclass(frozen=True)
class Ellipse:
    """An ellipse around (x, y) with half axes ``rx`` and ``ry``."""

    x: float
    y: float
    rx: float
    ry: float
    colour: Colour
    contact: float = 0.2


@dataclass(frozen=True)
class Trunk:
    """A body of revolution between the heights ``low`` and ``high``; ``widths`` are half widths in the image."""

    heights: Sequence[float]
    widths: Sequence[float]
    low: float
    high: float
    colour: Colour
    pattern: Pattern
    contact: float = 0.22


@dataclass(frozen=True)
class UpperGarment(Trunk):
    """The trunk's upper garment, on which collar, closure, print and straps are painted."""


@dataclass(frozen=True)
class Ball:
    """The head's ball: an ellipse in the image, turned by an angle of ``cos`` and ``sin``."""

    x: float
    y: float
    rx: float
    ry: float
    cos: float
    sin: float


@dataclass(frozen=True)
class Face:
    """Skin and hair of the head; hair at the back reaches down to ``nape`` (-1 chin, 1 top of the head)."""

    head: Ball
    skin: Colour
    hair: Colour
    nape: float
    beard: bool


@dataclass(frozen=True)
class Hat:
    """A hat, down to ``brim`` (0 middle of the head, 1 top of the hat); ``banded``: with a darker band above it."""

    head: Ball
    colour: Colour
    brim: float
    banded: bool


Shape = Limb | Ellipse | Trunk | Face | Hat


@dataclass(frozen=True)
class Pose:
    """Angles in radians: swing forward of thighs and arms, bend of knees and elbows; [left, right]."""

    thigh: tuple[float, float]
    knee: tuple[float, float]
    arm: tuple[float, float]
    elbow: tuple[float, float]
    spread: float
    lean: float
    head: float
    phase: float


def draw_pose(draw: np.random.Generator, variation: float) -> Pose:
    """Draw a moment of walking (or standing); ``variation`` is `Calibration.pose_variation`."""
    phase = float(draw.uniform(0, 2 * math.pi))
    kind = draw.random()
    stride = variation * float(draw.uniform(0.28, 0.5)) if kind < 0.8 else 0.06 * variation
    steps = (phase, phase + math.pi)
    arm = [-0.85 * stride * math.sin(p) + 0.04 for p in steps]
    elbow = [0.2 + 0.5 * stride * (1 - math.sin(p)) for p in steps]
    side = int(draw.integers(2))
    if kind > 0.93:  # a phone at the ear
        arm[side], elbow[side] = 0.35, 2.35
    elif kind > 0.86:  # looks at something in the hand
        arm[side], elbow[side] = 0.25, 1.5
    return Pose(
        thigh=tuple(stride * math.sin(p) for p in steps),
        knee=tuple(0.06 + 1.5 * stride * max(0.0, math.cos(p + 0.5)) for p in steps),
        arm=tuple(arm),
        elbow=tuple(elbow),
        lean=variation * float(draw.normal(0, 0.02)),
        spread=0.1 + 0.06 * float(draw.random()),
        head=float(draw.normal(0, 0.2)),
        phase=phase,
    )


@dataclass(frozen=True)
class _Skeleton:
    """Joints of one side, 3D body coordinates."""

    shoulder: Joint
    elbow: Joint
    wrist: Joint
    hip: Joint
    knee: Joint
    ankle: Joint
    toe: Joint


def _skeleton(who: Person, pose: Pose, side: int) -> _Skeleton:
    """``side``: 0 = left, 1 = right."""
    sign = (1, -1)[side]
    thigh, shin = pose.thigh[side], pose.thigh[side] - pose.knee[side]
    hip = (0.046 * sign * who.build, 0.5, 0.0)
    knee = (hip[0] * 1.05, hip[1] - 0.235 * math.cos(thigh), 0.235 * math.sin(thigh))
    ankle = (hip[0] * 1.0, knee[1] - 0.232 * math.cos(shin), knee[2] + 0.232 * math.sin(shin))
    tip = 0.75 * min(0.25, shin)
    toe = (ankle[0] + 0.014 * sign, ankle[1] - 0.012 + 0.088 * math.sin(tip), ankle[2] + 0.088 * math.cos(tip))
    arm, fore = pose.arm[side], pose.arm[side] + pose.elbow[side]
    wide = (0.094 if who.female else 0.108) * (0.3 + 0.7 * who.build)
    shoulder = (wide * sign, 0.768, 0.0)
    out = math.sin(pose.spread) * (0.7 + 0.5 * who.build)
    elbow = (shoulder[0] + 0.155 * out * sign, shoulder[1] - 0.155 * math.cos(arm), shoulder[2] + 0.155 * math.sin(arm))
    bend = 0.02 * sign * abs(math.sin(fore))
    wrist = (elbow[0] - bend, elbow[1] - 0.137 * math.cos(fore), elbow[2] + 0.137 * math.sin(fore))
    return _Skeleton(shoulder, elbow, wrist, hip, knee, ankle, toe)


def _between(a: Point, b: Point, part: float) -> Point:
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(factor * c for c in colour)


class Figure:
    """One person in one pose, seen from one side."""

    def __init__(self, who: Person, pose: Pose, view: View) -> None:
        self.who, self.pose, self.view = who, pose, view
        self.sides = (_skeleton(who, pose, 0), _skeleton(who, pose, 1))

    @property
    def lowest(self) -> float:
        """Height in the image of the lowest foot."""
        return min(self._flat(joint)[1] for side in self.sides for joint in (side.ankle, side.toe))

    def shapes(self) -> Iterator[Shape]:
        """Yield the shapes in the order of painting: far ones first."""
        near = self.view.near
        arms = sorted(self.sides, key=lambda side: near(side.elbow[0], side.elbow[2]))
        legs = sorted(self.sides, key=lambda side: near(side.knee[0], side.knee[2]))
        behind = [side for side in arms if near(side.shoulder[0], side.shoulder[2]) < -0.035]
        from_behind = self.view.cos < 0
        if not from_behind:
            yield from self._backpack()
            yield from self._long_hair()
        for side in behind:
            yield from self._arm(side)
        for side in legs:
            yield from self._leg(side)
        yield self._neck()
        yield from self._lower_body()
        yield self._upper_body()
        for side in arms:
            if side not in behind:
                yield from self._arm(side)
        yield from self._head()
        if from_behind:
            yield from self._long_hair()
            yield from self._backpack()
        yield from self._carried_bag()

    def _flat(self, joint: Joint) -> Point:
        return self.view.flat(*joint)

    def _leg(self, side: _Skeleton) -> Iterator[Limb]:
        who, build = self.who, 0.4 + 0.6 * self.who.build
        hip, knee, ankle = points = [self._flat(side.hip), self._flat(side.knee), self._flat(side.ankle)]
        cloth = {"colour": who.lower_colour, "pattern": who.lower_pattern, "flat_end": True}
        yield from self._shoe(side)
        if who.lower in ("trousers", "slim"):
            cut = (0.064, 0.047, 0.040) if who.lower == "trousers" else (0.061, 0.041, 0.030)
            yield Limb(points, [r * build for r in cut], **cloth)
            if who.boots and who.lower == "slim":
                yield self._boot_shaft(knee, ankle, 0.032)
            return
        x, y = _between(knee, ankle, 0.32)
        calf = (x - 0.010 * self.view.sin, y)
        yield Limb([hip, knee, calf, ankle], [0.058 * build, 0.037 * build, 0.037 * build, 0.021], who.skin)
        if who.boots:
            yield self._boot_shaft(knee, ankle, 0.027)
        if who.lower == "shorts":
            yield Limb([hip, _between(hip, knee, 0.93)], [0.066 * build, 0.058 * build], **cloth)

    def _boot_shaft(self, knee: Point, ankle: Point, radius: float) -> Limb:
        return Limb([_between(knee, ankle, 0.5), ankle], [radius * 1.1, radius], self.who.shoe_colour)

    def _shoe(self, side: _Skeleton) -> Iterator[Limb]:
        who, (x, y, z) = self.who, side.ankle
        heel, toe = self._flat((x, y - 0.012, z - 0.022)), self._flat(side.toe)
        low = 0.009
        yield Limb([(heel[0], heel[1] - low), (toe[0], toe[1] - low)], [0.022, 0.019], who.sole_colour)
        top = [(heel[0], heel[1] + 0.004), (toe[0], toe[1] - 0.001)]
        yield Limb(top, [0.025, 0.019], who.shoe_colour, contact=0.0)
        mid = ((heel[0] + toe[0]) / 2, (heel[1] + toe[1]) / 2)
        mark = tuple(min(0.95, max(0.05, c + (0.4 if c < 0.5 else -0.4))) for c in who.shoe_colour)
        for n in range(who.shoe_stripes):
            f = (n - 1) * 0.22
            a = (mid[0] + f * (toe[0] - heel[0]), mid[1] + f * (toe[1] - heel[1]))
            stripe = [(a[0] - 0.003, a[1] + 0.013), (a[0] + 0.003, a[1] - 0.008)]
            yield Limb(stripe, [0.0028, 0.0028], mark, contact=0.0)

    def _neck(self) -> Limb:
        lean = 2 * self.pose.lean
        width = (0.031 if self.who.female else 0.037) * (0.5 + 0.5 * self.who.build)
        ends = [(lean * 0.30, 0.81), (lean * 0.36, 0.885)]
        return Limb(ends, [width * 1.15, width], _shade(self.who.skin, 0.86), contact=0.0)

    def _trunk(self, outline: Outline, loose: float) -> tuple[list[float], list[float]]:
        """(heights, half widths in the image) of the outline as this person has it."""
        build = self.who.build
        widths = [self.view.width(side * build, depth * build) + loose for _, side, depth in outline]
        return [height for height, _, _ in outline], widths

    def _lower_body(self) -> Iterator[Trunk]:
        who = self.who
        if who.lower == "skirt":
            yield Trunk(*self._trunk(SKIRT, 0.0), 0.30, 0.54, who.lower_colour, who.lower_pattern)
        elif who.lower != "bare":
            body = self._trunk(WOMAN if who.female else MAN, 0.003)
            yield Trunk(*body, 0.44, 0.54, who.lower_colour, who.lower_pattern, contact=0.0)

    def _upper_body(self) -> UpperGarment:
        who, cut = self.who, CUTS[self.who.upper]
        outline = WOMAN if who.female else MAN
        if who.upper in ("coat", "dress"):
            flare = 1.0 if who.upper == "dress" else 0.93
            outline = tuple((y, a * flare, b * flare) for y, a, b in SKIRT[:2]) + outline[1:]
        high = 0.838 if who.upper in ("tee", "dress") else 0.85
        return UpperGarment(*self._trunk(outline, cut.loose), cut.hem, high, who.upper_colour, who.upper_pattern)

    def _arm(self, side: _Skeleton) -> Iterator[Limb]:
        who, cut, build = self.who, CUTS[self.who.upper], 0.45 + 0.55 * self.who.build
        lean = 0.55 * self.pose.lean
        points = [(x + lean, y) for x, y in map(self._flat, (side.shoulder, side.elbow, side.wrist))]
        shoulder, elbow, wrist = points
        reach = 0.03 / max(0.06, math.hypot(wrist[0] - elbow[0], wrist[1] - elbow[1]))
        hand = (wrist[0] + reach * (wrist[0] - elbow[0]), wrist[1] + reach * (wrist[1] - elbow[1]))
        yield Limb([wrist, hand], [0.019, 0.016], who.skin)
        if cut.sleeve < 1:
            yield Limb(points, [0.033 * build, 0.027 * build, 0.019], who.skin, joint=True)
            points, radii = [shoulder, _between(shoulder, elbow, cut.sleeve)], [0.036 * build, 0.037 * build]
        else:
            radii = [0.034 * build + cut.loose * 0.6, 0.032 * build + cut.loose * 0.6, 0.025 + cut.loose * 0.5]
        yield Limb(points, radii, who.upper_colour, who.upper_pattern, joint=True, flat_end=True)

    def _head(self) -> Iterator[Shape]:
        who = self.who
        turn = self.view.yaw + self.pose.head
        x, y, cos, sin = 0.9 * self.pose.lean + 0.016 * self.view.sin, 0.932, math.cos(turn), math.sin(turn)
        rx, ry = math.hypot(0.050 * cos, 0.058 * sin), 0.066
        head = Ball(x, y, rx, ry, cos, sin)
        tied = who.hair_style in ("bun", "ponytail")
        knot = Ellipse(x - 0.056 * sin, y + (0.060 if who.hair_style == "bun" else 0.030), 0.025, 0.024, who.hair)
        ears = who.hair_style not in ("bob", "long")
        if tied and cos > 0:
            yield knot
        if ears and abs(cos) > 0.5:
            for sign in (1, -1):
                yield Ellipse(x + sign * rx * 0.98, y - 0.006, 0.011, 0.017, who.skin, 0.0)
        if abs(sin) > 0.45 and cos > -0.5:  # the nose in profile
            yield Ellipse(x + 0.056 * sin, y - 0.014, 0.010, 0.009, who.skin, 0.0)
        volume = _HAIR_VOLUME[who.hair_style]
        if volume and who.hat == "none":
            yield Ellipse(x - 0.006 * sin, y + 0.010, rx * volume, ry * volume, who.hair)
        yield Face(head, who.skin, who.hair, _NAPE.get(who.hair_style, -2.0), who.beard)
        if ears and abs(sin) > 0.6:
            yield Ellipse(x - 0.004 * sin, y - 0.008, 0.009, 0.014, _shade(who.skin, 0.93), 0.0)
        if who.hat != "none":
            yield from self._hat(head)
        if tied and cos <= 0:
            yield knot
        if who.hair_style == "long" and cos > 0.2:
            for sign in (1, -1):
                strand = x + sign * rx * 0.98 - 0.01 * sin
                yield Limb([(strand, y), (strand + 0.004 * sign, 0.825)], [0.014, 0.007], who.hair, contact=0.1)

    def _hat(self, head: Ball) -> Iterator[Hat | Ellipse]:
        colour, cos, sin = self.who.hat_colour, head.cos, head.sin
        if self.who.hat == "beanie":
            yield Hat(head, colour, brim=0.14, banded=True)
            return
        yield Hat(head, colour, brim=0.26, banded=False)
        if cos > -0.6:  # the peak of the cap
            x, y = head.x + 0.070 * sin, head.y + 0.024 - 0.006 * max(0.0, cos)
            yield Ellipse(x, y, math.hypot(0.048 * cos, 0.036 * sin), 0.0085, _shade(colour, 0.78), 0.3)

    def _long_hair(self) -> Iterator[Limb]:
        who, view = self.who, self.view
        x = 0.84 * self.pose.lean - 0.02 * view.sin
        if who.hair_style == "long":
            width = math.hypot(0.056 * view.cos, 0.038 * view.sin)
            yield Limb([(x, 0.93), (x - 0.012 * view.sin, 0.79)], [width, width * 0.9], who.hair)
        elif who.hair_style == "bob":
            width = math.hypot(0.059 * view.cos, 0.046 * view.sin)
            yield Limb([(x, 0.93), (x, 0.885)], [width, width], who.hair)
        elif who.hair_style == "ponytail" and view.cos < 0.5:
            x = x - 0.05 * view.sin
            yield Limb([(x, 0.96), (x - 0.012 * view.sin, 0.81)], [0.019, 0.011], who.hair)

    def _backpack(self) -> Iterator[Limb]:
        if self.who.bag != "backpack":
            return
        x, _ = self.view.flat(0.0, 0.0, -0.115)
        width, colour = self.view.width(0.082, 0.05), self.who.bag_colour
        yield Limb([(x, 0.745), (x, 0.63)], [width * 0.92, width], colour)
        if self.view.cos < 0.3:  # pocket and zip
            yield Limb([(x, 0.625), (x, 0.60)], [width * 0.66, width * 0.66], _shade(colour, 0.82), contact=0.3)
            ends = [(x - width * 0.6, 0.70), (x + width * 0.6, 0.70)]
            yield Limb(ends, [0.005, 0.005], _shade(colour, 0.6), contact=0.0)

    def _carried_bag(self) -> Iterator[Limb]:
        who, view, hand = self.who, self.view, self.sides[1].wrist
        if who.bag not in ("shoulder bag", "handbag"):
            return
        spot = (0.125, 0.50, -0.01) if who.bag == "shoulder bag" else (hand[0] - 0.012, hand[1] - 0.12, hand[2])
        if view.near(spot[0], spot[2]) < -0.06:
            return
        x, y = view.flat(*spot)
        half = math.hypot(0.035 * view.cos, 0.062 * view.sin)
        if who.bag == "handbag":
            handle = [(x - half * 0.6, y + 0.03), self._flat(hand), (x + half * 0.6, y + 0.03)]
            yield Limb(handle, [0.005] * 3, _shade(who.bag_colour, 0.7))
        yield Limb([(x, y + 0.022), (x, y - 0.022)], [half * 0.95, half], who.bag_colour)
