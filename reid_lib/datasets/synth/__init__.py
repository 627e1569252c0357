"""`synth`: a procedural generator of pedestrians, the data set that needs no download.

Every image is a function of (seed, pid, camid, index): nothing is stored, no asset is read. An identity is a
coarse look (body, skin, hair, types and colours of clothes, bag, hat) and fine detail (patterns, prints,
stripes). Several identities share one look and differ in the fine detail only; the detail is drawn around the
same mean colour, so that it vanishes when the image loses resolution. A camera is a place, its light, colour
cast, blur, noise and viewpoints.

The drawing is analytic: body parts are signed distances to tapered capsules, ellipses and bodies of
revolution under a small 3D skeleton: anti-aliased edges at any size, coordinates that patterns can follow.
Lengths are in body units: 1 is the height of an average person, about 113 pixels of a 128 pixel high image.
"""

import hashlib
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reid_lib.datasets.records import DatasetError, ReIDDataset, Split, random_splits
from reid_lib.datasets.synth.cameras import (
    MODALITIES,
    Light,
    View,
    backdrop,
    blur,
    camera,
    digitise,
    from_afar,
    native_size,
)
from reid_lib.datasets.synth.people import (
    CUTS,
    DEFAULT,
    MAN,
    PERSON_HEIGHT,
    SKIRT,
    WOMAN,
    Calibration,
    Pattern,
    Person,
    by_heat,
    is_count,
    person,
    wave,
)
from reid_lib.seeds import numpy_generator

GENERATOR_VERSION = 1  # part of every path: raise it with every change of a pixel, so that stores are made anew


# ------------------------------------------------------------------------------------------------------------
# Drawing


class _Canvas:
    """An image under construction: ``rgb`` (3, H, W) float32, and its body coordinates."""

    def __init__(self, rgb: np.ndarray, scale: float, x0: float, y0: float) -> None:
        _, height, width = rgb.shape
        self.rgb = rgb
        self.unit = scale  # pixels per body unit, vertically
        self.unit_x = scale * width / (height / 2)  # boxes that are not 2:1 are stretched, as in re-ID sets
        self.x0, self.y0 = x0, y0
        self.x = ((np.arange(width) + 0.5 - x0) / self.unit_x).astype(np.float32)
        self.y = ((y0 - np.arange(height) - 0.5) / self.unit).astype(np.float32)

    def window(self, left: float, right: float, bottom: float, top: float):
        """The image around a box in body units: (index, x (1, w), y (h, 1)); None outside the image."""
        _, height, width = self.rgb.shape
        a = max(0, int(left * self.unit_x + self.x0) - 2)
        b = min(width, int(right * self.unit_x + self.x0) + 3)
        c = max(0, int(self.y0 - top * self.unit) - 2)
        d = min(height, int(self.y0 - bottom * self.unit) + 3)
        if a >= b or c >= d:
            return None
        return (slice(None), slice(c, d), slice(a, b)), self.x[None, a:b], self.y[c:d, None]

    def cover(self, where, alpha: np.ndarray, colour) -> None:
        region = self.rgb[where]
        region += alpha * (colour - region)

    def fill(self, where, distance: np.ndarray, colour, contact=0.22) -> None:
        """Paint where ``distance`` (body units) is negative, with a soft edge and a thin shadow around it."""
        distance = distance * self.unit
        region = self.rgb[where]
        if not isinstance(contact, float) or contact > 0:
            reach = max(1.0, 0.014 * self.unit)
            region *= 1 - contact * np.clip(1 - distance / reach, 0, 1)
        region += np.clip(0.5 - distance, 0, 1) * (colour - region)


def _rgb(colour) -> np.ndarray:
    return np.array(colour, np.float32)[:, None, None]


def _ellipse(canvas: _Canvas, x: float, y: float, rx: float, ry: float):
    """Window, distance and unit-circle coordinates of an ellipse."""
    found = canvas.window(x - rx, x + rx, y - ry, y + ry)
    if found is None:
        return None
    where, xs, ys = found
    nx, ny = (xs - x) / rx, (ys - y) / ry
    return where, (np.sqrt(nx * nx + ny * ny) - 1) * min(rx, ry), nx, ny


def _draw_ellipse(canvas: _Canvas, light: Light, x, y, rx, ry, colour, contact=0.2) -> None:
    found = _ellipse(canvas, x, y, rx, ry)
    if found is not None:
        where, distance, nx, ny = found
        canvas.fill(where, distance, _rgb(colour) * light.on(np.clip(nx, -1, 1), 0.5 + 0.5 * ny), contact)


def _chain(xs: np.ndarray, ys: np.ndarray, points, radii, flat_end: bool):
    """Distance to a chain of tapered capsules; across, along and radius at the nearest place of it."""
    nearest = None
    start = 0.0
    for (ax, ay), (bx, by), ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
        length = max(1e-4, math.hypot(bx - ax, by - ay))
        ux, uy = (bx - ax) / length, (by - ay) / length
        dx, dy = xs - ax, ys - ay
        along, across = dx * ux + dy * uy, (dy * ux - dx * uy) * (-1 if uy > 0 else 1)
        within = np.clip(along, 0, length)
        radius = ra + (rb - ra) / length * within
        distance = np.sqrt((along - within) ** 2 + across * across) - radius
        if flat_end:
            distance = np.maximum(distance, along - length)
        here = (distance, across, start + along, radius)
        if nearest is None:
            nearest = here
        else:
            closer = distance < nearest[0]
            nearest = tuple(np.where(closer, new, old) for new, old in zip(here, nearest, strict=True))
        start += length
    return nearest


def _draw_limb(canvas, light, points, radii, colour, pattern=None, contact=0.22, joint=False, flat_end=False) -> None:
    """Paint a chain of tapered capsules through ``points`` [(x, y)]; the pattern runs along it.

    ``joint``: the chain grows out of the trunk, so that its start casts no contact shadow.
    """
    grown = [(x - r, x + r, y - r, y + r) for (x, y), r in zip(points, radii, strict=True)]
    left, right, bottom, top = zip(*grown, strict=True)
    found = canvas.window(min(left), max(right), min(bottom), max(top))
    if found is None:
        return
    where, xs, ys = found
    distance, across, along, radius = _chain(xs, ys, points, radii, flat_end)
    shade = light.on(np.clip(across / radius, -1, 1), ys)
    paint = _rgb(colour)
    if pattern is not None:  # cloth
        shade = shade * (1 + 0.04 * light.contrast * np.sin(55 * along + 60 * across + 40 * points[-1][0]))
        if pattern.kind != "plain":
            paint = paint + _rgb(pattern.tint) * wave(pattern, across, along)
    if joint:
        contact = contact * np.clip(along / 0.09 - 0.2, 0, 1)
    canvas.fill(where, distance, paint * shade, contact)


def _smooth(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 0.5, 0, 1)


@dataclass(frozen=True)
class _Pose:
    """Angles in radians: swing forward of thighs and arms, bend of knees and elbows; [left, right]."""

    thigh: tuple[float, float]
    knee: tuple[float, float]
    arm: tuple[float, float]
    elbow: tuple[float, float]
    spread: float
    lean: float
    head: float
    phase: float


def _pose(draw: np.random.Generator, variation: float) -> _Pose:
    phase = float(draw.uniform(0, 2 * math.pi))
    kind = draw.random()
    stride = variation * float(draw.uniform(0.28, 0.5)) if kind < 0.8 else 0.06 * variation
    thigh, knee, arm, elbow = [], [], [], []
    for p in (phase, phase + math.pi):
        thigh.append(stride * math.sin(p))
        knee.append(0.06 + 1.5 * stride * max(0.0, math.cos(p + 0.5)))
        arm.append(-0.85 * stride * math.sin(p) + 0.04)
        elbow.append(0.2 + 0.5 * stride * (1 - math.sin(p)))
    side = int(draw.integers(2))
    if kind > 0.93:  # a phone at the ear
        arm[side], elbow[side] = 0.35, 2.35
    elif kind > 0.86:  # looks at something in the hand
        arm[side], elbow[side] = 0.25, 1.5
    lean = variation * float(draw.normal(0, 0.02))
    return _Pose(
        tuple(thigh),
        tuple(knee),
        tuple(arm),
        tuple(elbow),
        0.1 + 0.06 * float(draw.random()),
        lean,
        float(draw.normal(0, 0.2)),
        phase,
    )


_CURVE = (
    (0.42, 0.49, 0.60, 0.71, 0.80, 0.86),
    (0.0, -0.013, 0.006, 0.013, -0.004, -0.002),
)  # belly and back, forward


_VOLUME = {"short": 1.08, "crop": 1.03, "bald": 0, "long": 1.12, "bob": 1.18, "ponytail": 1.05, "bun": 1.05}
_NAPE = {"short": -0.62, "crop": -0.55, "bun": -0.6, "ponytail": -0.6}  # hair reaches down to here


@dataclass(frozen=True)
class _Skeleton:
    """Joints of one side, 3D body coordinates."""

    shoulder: tuple[float, float, float]
    elbow: tuple[float, float, float]
    wrist: tuple[float, float, float]
    hip: tuple[float, float, float]
    knee: tuple[float, float, float]
    ankle: tuple[float, float, float]
    toe: tuple[float, float, float]


def _skeleton(who: Person, pose: _Pose) -> list[_Skeleton]:
    sides = []
    for i, sign in enumerate((1, -1)):
        th, shin = pose.thigh[i], pose.thigh[i] - pose.knee[i]
        hip = (0.046 * sign * who.build, 0.5, 0.0)
        knee = (hip[0] * 1.05, hip[1] - 0.235 * math.cos(th), 0.235 * math.sin(th))
        ankle = (hip[0] * 1.0, knee[1] - 0.232 * math.cos(shin), knee[2] + 0.232 * math.sin(shin))
        tip = 0.75 * min(0.25, shin)
        toe = (
            ankle[0] + 0.014 * sign,
            ankle[1] - 0.012 + 0.088 * math.sin(tip),
            ankle[2] + 0.088 * math.cos(tip),
        )
        arm, fore = pose.arm[i], pose.arm[i] + pose.elbow[i]
        wide = (0.094 if who.female else 0.108) * (0.3 + 0.7 * who.build)
        shoulder = (wide * sign, 0.768, 0.0)
        out = math.sin(pose.spread) * (0.7 + 0.5 * who.build)
        elbow = (
            shoulder[0] + 0.155 * out * sign,
            shoulder[1] - 0.155 * math.cos(arm),
            shoulder[2] + 0.155 * math.sin(arm),
        )
        wrist = (
            elbow[0] - 0.02 * sign * abs(math.sin(fore)),
            elbow[1] - 0.137 * math.cos(fore),
            elbow[2] + 0.137 * math.sin(fore),
        )
        sides.append(_Skeleton(shoulder, elbow, wrist, hip, knee, ankle, toe))
    return sides


class _Figure:
    """Draws one person, far parts first."""

    def __init__(self, canvas: _Canvas, who: Person, view: View, pose: _Pose, light: Light, yaw: float) -> None:
        self.canvas, self.who, self.view, self.pose, self.light = canvas, who, view, pose, light
        self.yaw = yaw
        self.sides = _skeleton(who, pose)

    def draw(self) -> None:
        view = self.view
        arms = sorted((0, 1), key=lambda i: view.near(self.sides[i].elbow[0], self.sides[i].elbow[2]))
        legs = sorted((0, 1), key=lambda i: view.near(self.sides[i].knee[0], self.sides[i].knee[2]))
        behind = [i for i in arms if view.near(self.sides[i].shoulder[0], self.sides[i].shoulder[2]) < -0.035]
        from_behind = view.cos < 0
        if not from_behind:
            self.backpack()
            self.long_hair()
        for i in behind:
            self.arm(i)
        for i in legs:
            self.leg(i)
        self.neck()
        self.lower_body()
        self.upper_body()
        for i in arms:
            if i not in behind:
                self.arm(i)
        if from_behind:
            self.head()
            self.long_hair()
            self.backpack()
        else:
            self.head()
        self.carried_bag()

    def flat(self, joint) -> tuple[float, float]:
        return self.view.flat(*joint)

    # legs

    def leg(self, i: int) -> None:
        who, side, build = self.who, self.sides[i], 0.4 + 0.6 * self.who.build
        points = [self.flat(side.hip), self.flat(side.knee), self.flat(side.ankle)]
        self.shoe(side)
        if who.lower in ("trousers", "slim"):
            cut = (0.064, 0.047, 0.040) if who.lower == "trousers" else (0.061, 0.041, 0.030)
            self.limb(points, [r * build for r in cut], who.lower_colour, who.lower_pattern, flat_end=True)
            if who.boots:
                self.boot_shaft(points, 0.032 if who.lower == "slim" else 0)
            return
        (kx, ky), (ax, ay) = points[1:]
        calf = (kx + 0.32 * (ax - kx) - 0.010 * self.view.sin, ky + 0.32 * (ay - ky))
        self.limb([*points[:2], calf, points[2]], [0.058 * build, 0.037 * build, 0.037 * build, 0.021], who.skin)
        if who.boots:
            self.boot_shaft(points, 0.027)
        if who.lower == "shorts":
            (ax, ay), (bx, by) = points[:2]
            end = (ax + 0.93 * (bx - ax), ay + 0.93 * (by - ay))
            self.limb(
                [points[0], end],
                [0.066 * build, 0.058 * build],
                who.lower_colour,
                who.lower_pattern,
                flat_end=True,
            )

    def limb(self, points, radii, colour, pattern=None, **options) -> None:
        _draw_limb(self.canvas, self.light, points, radii, colour, pattern, **options)

    def boot_shaft(self, points, radius: float) -> None:
        if radius:
            (ax, ay), (bx, by) = points[1:]
            self.limb(
                [(ax + 0.5 * (bx - ax), ay + 0.5 * (by - ay)), (bx, by)],
                [radius * 1.1, radius],
                self.who.shoe_colour,
            )

    def shoe(self, side: _Skeleton) -> None:
        who, (x, y, z) = self.who, side.ankle
        heel, toe = self.flat((x, y - 0.012, z - 0.022)), self.flat(side.toe)
        low = 0.009
        self.limb([(heel[0], heel[1] - low), (toe[0], toe[1] - low)], [0.022, 0.019], who.sole_colour)
        self.limb(
            [(heel[0], heel[1] + 0.004), (toe[0], toe[1] - 0.001)],
            [0.025, 0.019],
            who.shoe_colour,
            contact=0.0,
        )
        mid = ((heel[0] + toe[0]) / 2, (heel[1] + toe[1]) / 2)
        mark = tuple(min(0.95, max(0.05, c + (0.4 if c < 0.5 else -0.4))) for c in who.shoe_colour)
        for n in range(who.shoe_stripes):
            f = (n - 1) * 0.22
            a = (mid[0] + f * (toe[0] - heel[0]), mid[1] + f * (toe[1] - heel[1]))
            self.limb(
                [(a[0] - 0.003, a[1] + 0.013), (a[0] + 0.003, a[1] - 0.008)],
                [0.0028, 0.0028],
                mark,
                contact=0.0,
            )

    # trunk

    def trunk(self, knots, loose: float, low: float, high: float, colour, pattern: Pattern, contact: float = 0.22):
        """Paint a body of revolution; returns (window, alpha, s, y, shade) for what is drawn on it."""
        view, build = self.view, self.who.build
        heights = [k[0] for k in knots]
        widths = [view.width(k[1] * build, k[2] * build) + loose for k in knots]
        most = max(widths) + abs(self.pose.lean) + 0.013
        found = self.canvas.window(-most, most, low, high)
        if found is None:
            return None
        where, xs, ys = found
        w = np.interp(ys, heights, widths).astype(np.float32)
        slope = (np.interp(ys + 0.004, heights, widths) - np.interp(ys - 0.004, heights, widths)) / 0.008
        centre = self.pose.lean * (ys - 0.5) * 2 + view.sin * np.interp(ys, *_CURVE).astype(np.float32)
        off = xs - centre
        edge = (np.abs(off) - w) * (1 / np.sqrt(1 + slope * slope)).astype(np.float32)
        distance = np.maximum(edge, np.maximum(low - ys, ys - high))
        s = np.clip(off / w, -1, 1)
        shade = self.light.on(s, ys)
        shade = shade * (1 + 0.035 * self.light.contrast * np.sin(34 * ys + 5 * off / most + self.pose.phase))  # folds
        paint = _rgb(colour)
        if pattern.kind != "plain":
            u = w * (s + 0.15 * s**3) + 0.1 * self.yaw
            paint = paint + _rgb(pattern.tint) * wave(pattern, u, ys)
        self.canvas.fill(where, distance, paint * shade, contact)
        return where, np.clip(0.5 - distance * self.canvas.unit, 0, 1), s, ys, shade

    def lower_body(self) -> None:
        who = self.who
        knots = WOMAN if who.female else MAN
        if who.lower == "skirt":
            self.trunk(SKIRT, 0.0, 0.30, 0.54, who.lower_colour, who.lower_pattern)
        elif who.lower != "bare":
            self.trunk(knots, 0.003, 0.44, 0.54, who.lower_colour, who.lower_pattern, contact=0.0)

    def upper_body(self) -> None:
        who, view = self.who, self.view
        knots = WOMAN if who.female else MAN
        cut = CUTS[who.upper]
        low = cut.hem
        if who.upper in ("coat", "dress"):
            flare = 1.0 if who.upper == "dress" else 0.93
            knots = tuple((y, a * flare, b * flare) for y, a, b in SKIRT[:2]) + knots[1:]
        high = 0.838 if who.upper in ("tee", "dress") else 0.85
        drawn = self.trunk(knots, cut.loose, low, high, who.upper_colour, who.upper_pattern)
        if drawn is None:
            return
        where, alpha, s, ys, shade = drawn
        side, ahead = view.body(s)
        front = _smooth(ahead * 6)
        pixels = self.canvas.unit * 0.1

        def mark(mask, colour, strength=1.0) -> None:
            self.canvas.cover(where, strength * alpha * mask, _rgb(colour) * shade)

        dark = tuple(0.55 * c for c in who.upper_colour)
        if who.upper == "open jacket":
            gap = 0.22 + 0.25 * (0.85 - ys)
            mark(front * _smooth((gap - np.abs(side)) * pixels), who.inner_colour)
            mark(front * _smooth((0.05 - np.abs(np.abs(side) - gap)) * pixels), dark)
        elif who.upper in ("jacket", "coat"):
            mark(front * _smooth((0.035 - np.abs(side)) * pixels), dark)
        elif who.upper == "shirt":
            dots = _smooth((np.cos(ys * 2 * math.pi / 0.055) - 0.3) * 2)
            mark(front * _smooth((0.05 - np.abs(side)) * pixels) * dots, who.trim_colour, 0.8)
        elif who.upper == "hoodie":
            pocket = np.maximum(np.abs(side) - 0.55, np.maximum(0.50 - ys, ys - 0.575) * 10)
            mark(front * _smooth((0.05 - np.abs(pocket)) * pixels), dark, 0.6)
        neckline = 0.80 if who.upper in ("tee", "dress") else 0.815
        skin = who.inner_colour if who.upper in ("jacket", "open jacket", "coat") else who.skin
        depth = (ys - neckline) * 9 if who.upper != "hoodie" else (ys - 0.835) * 9
        mark(front * _smooth((depth - np.abs(side)) * pixels), skin)
        if who.upper in ("shirt", "jacket", "coat", "open jacket"):
            mark(
                _smooth((ys - 0.832) * self.canvas.unit),
                tuple(min(1.0, 1.12 * c) for c in who.upper_colour),
                0.9,
            )
        if who.upper == "hoodie":
            back = _smooth(-ahead * 4)
            mark(back * _smooth((ys - 0.775 - 0.03 * np.abs(s)) * self.canvas.unit), dark, 0.45)
        if who.upper in ("tee", "shirt", "dress") and who.lower != "bare":
            mark(_smooth((low + 0.008 - ys) * self.canvas.unit), dark, 0.5)
        if who.upper == "dress":
            mark(_smooth((0.012 - np.abs(ys - 0.615)) * self.canvas.unit), dark, 0.6)
        self.logo(mark, side, ahead, ys)
        self.straps(mark, side, ahead, front, ys, pixels)

    def logo(self, mark, side, ahead, ys) -> None:
        """A small print on chest and back: a light mark in a dark surround of about the same weight."""
        if self.who.logo == "none" or self.who.upper == "open jacket":
            return
        facing = _smooth((np.abs(ahead) - 0.25) * 4)
        sign = np.where(ahead > 0, 1.0, 0.0)
        x, y = (side - 0.38 * sign) * 0.1, ys - 0.715
        r = np.maximum(np.abs(x), np.abs(y))
        box = _smooth((0.030 - r) * self.canvas.unit) * facing
        if self.who.logo == "disc":
            inner = 0.020 - np.sqrt(x * x + y * y)
        elif self.who.logo == "bar":
            inner = 0.012 - np.abs(y)
        else:
            inner = 0.008 - np.minimum(np.abs(x), np.abs(y))
        inner = _smooth(inner * self.canvas.unit)
        mean = {"disc": 0.35, "bar": 0.4, "cross": 0.46}[self.who.logo]
        base = np.array(self.who.upper_colour)
        light, dark = np.clip(base + 0.3, 0, 0.95), np.clip(base - 0.3 * mean / (1 - mean), 0.03, 1)
        mark(box * (1 - inner), tuple(dark))
        mark(box * inner, tuple(light))

    def straps(self, mark, side, ahead, front, ys, pixels) -> None:
        who = self.who
        stripes = 0.16 * np.sign(np.sin(2 * math.pi * ys / who.strap_period))
        if who.bag == "backpack":
            mask = (
                front * _smooth((0.09 - np.abs(np.abs(side) - 0.55)) * pixels) * _smooth((ys - 0.64) * self.canvas.unit)
            )
            mark(mask, who.bag_colour)
            mark(mask * np.maximum(stripes, 0), who.trim_colour)
        if who.bag == "shoulder bag":
            line = np.where(ahead > 0, side, -side) * 0.11 + (ys - 0.68) * 0.62
            mask = _smooth((0.011 - np.abs(line)) * self.canvas.unit)
            mark(mask, who.bag_colour)
            mark(mask * np.maximum(stripes, 0) * 2, who.trim_colour)

    def neck(self) -> None:
        lean = 2 * self.pose.lean
        width = (0.031 if self.who.female else 0.037) * (0.5 + 0.5 * self.who.build)
        shade = tuple(0.86 * c for c in self.who.skin)
        self.limb([(lean * 0.30, 0.81), (lean * 0.36, 0.885)], [width * 1.15, width], shade, contact=0.0)

    # arms

    def arm(self, i: int) -> None:
        who, side, build = self.who, self.sides[i], 0.45 + 0.55 * self.who.build
        lean = 0.55 * self.pose.lean
        points = [(x + lean, y) for x, y in map(self.flat, (side.shoulder, side.elbow, side.wrist))]
        bare = [0.033 * build, 0.027 * build, 0.019]
        (ex, ey), (wx, wy) = points[1:]
        reach = 0.03 / max(0.06, math.hypot(wx - ex, wy - ey))
        hand = (wx + reach * (wx - ex), wy + reach * (wy - ey))
        self.limb([points[2], hand], [0.019, 0.016], who.skin)
        cut = CUTS[who.upper]
        if cut.sleeve < 1:
            self.limb(points, bare, who.skin, joint=True)
            (sx, sy), part = points[0], cut.sleeve
            points = [points[0], (sx + part * (ex - sx), sy + part * (ey - sy))]
            radii = [0.036 * build, 0.037 * build]
        else:
            radii = [
                0.034 * build + cut.loose * 0.6,
                0.032 * build + cut.loose * 0.6,
                0.025 + cut.loose * 0.5,
            ]
        self.limb(points, radii, who.upper_colour, who.upper_pattern, joint=True, flat_end=True)

    # head

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour, contact: float = 0.2) -> None:
        _draw_ellipse(self.canvas, self.light, x, y, rx, ry, colour, contact)

    def head(self) -> None:
        who = self.who
        turn = self.yaw + self.pose.head
        cos, sin = math.cos(turn), math.sin(turn)
        x, y = 0.9 * self.pose.lean + 0.016 * self.view.sin, 0.932
        rx, ry = math.hypot(0.050 * cos, 0.058 * sin), 0.066
        knot = (x - 0.056 * sin, y + (0.060 if who.hair_style == "bun" else 0.030), 0.025, 0.024, who.hair)
        tied = who.hair_style in ("bun", "ponytail")
        if tied and cos > 0:
            self.ellipse(*knot)
        ears = who.hair_style not in ("bob", "long")
        if ears and abs(cos) > 0.5:
            for sign in (1, -1):
                self.ellipse(x + sign * rx * 0.98, y - 0.006, 0.011, 0.017, who.skin, 0.0)
        if abs(sin) > 0.45 and cos > -0.5:
            self.ellipse(x + 0.056 * sin, y - 0.014, 0.010, 0.009, who.skin, 0.0)  # the nose in profile
        volume = _VOLUME[who.hair_style]
        if volume and who.hat == "none":
            self.ellipse(x - 0.006 * sin, y + 0.010, rx * volume, ry * volume, who.hair)
        self.face(x, y, rx, ry, cos, sin)
        if ears and abs(sin) > 0.6:
            self.ellipse(x - 0.004 * sin, y - 0.008, 0.009, 0.014, tuple(0.93 * c for c in who.skin), 0.0)
        if who.hat != "none":
            self.hat(x, y, rx, ry, cos, sin)
        if tied and cos <= 0:
            self.ellipse(*knot)
        if who.hair_style == "long" and cos > 0.2:
            for sign in (1, -1):
                strand = x + sign * rx * 0.98 - 0.01 * sin
                self.limb([(strand, y), (strand + 0.004 * sign, 0.825)], [0.014, 0.007], who.hair, contact=0.1)

    def face(self, x: float, y: float, rx: float, ry: float, cos: float, sin: float) -> None:
        """The head is a ball; skin and hair are regions of it in the head's own frame, so it can turn."""
        who = self.who
        found = _ellipse(self.canvas, x, y, rx, ry)
        if found is None:
            return
        where, distance, nx, ny = found
        out = np.sqrt(np.maximum(0, 1 - nx * nx - ny * ny))
        hx, hz = nx * cos - out * sin, nx * sin + out * cos
        ax = np.abs(hx)
        sharp = self.canvas.unit * ry
        face = _smooth((hz - 0.10 + 0.30 * np.minimum(ny + 0.1, 0)) * sharp * 0.6)
        face = face * _smooth((0.48 - 0.3 * ax - ny) * sharp)
        skin = np.maximum(face, _smooth((_NAPE.get(who.hair_style, -2.0) - ny) * sharp))
        if who.hair_style == "bald":
            skin = np.ones_like(face)
        hair, flesh = _rgb(who.hair), _rgb(who.skin)
        paint = hair * (1 + 0.3 * np.maximum(0, ny - 0.2)) * (1 - skin) + flesh * skin
        eyes = np.exp(-(((ax - 0.38) / 0.17) ** 2) - ((ny + 0.02) / 0.10) ** 2)
        brows = np.exp(-(((ax - 0.40) / 0.24) ** 2) - ((ny - 0.20) / 0.07) ** 2)
        nose = np.exp(-(((hx - 0.06) / 0.10) ** 2) - ((ny + 0.26) / 0.14) ** 2)
        paint = paint * (1 - face * (hz > 0) * np.clip(0.72 * eyes + 0.45 * brows + 0.22 * nose, 0, 0.85))
        mouth = 0.55 * face * np.exp(-((hx / 0.28) ** 2) - ((ny + 0.56) / 0.10) ** 2)
        paint = paint + mouth * (flesh * _rgb((0.75, 0.45, 0.45)) - paint)
        if who.beard:
            area = 0.7 * face * _smooth((-0.34 - ny) * sharp * 0.5) * (1 - 0.8 * mouth)
            paint = paint + area * (hair - paint)
        self.canvas.fill(where, distance, paint * self.light.on(np.clip(nx, -1, 1), 0.5 + 0.5 * ny), 0.12)

    def hat(self, x: float, y: float, rx: float, ry: float, cos: float, sin: float) -> None:
        who = self.who
        found = _ellipse(self.canvas, x - 0.003 * sin, y + 0.008, rx * 1.13, ry * 1.10)
        if found is None:
            return
        where, distance, nx, ny = found
        brim = 0.26 if who.hat == "cap" else 0.14
        colour = _rgb(who.hat_colour) * self.light.on(np.clip(nx, -1, 1), 0.5 + 0.5 * ny)
        if who.hat == "beanie":
            colour = colour * (1 - 0.2 * (ny < brim + 0.28))
        self.canvas.fill(where, np.maximum(distance, (brim - ny) * ry), colour, 0.15)
        if who.hat == "cap" and cos > -0.6:
            half = math.hypot(0.048 * cos, 0.036 * sin)
            dark = tuple(0.78 * c for c in who.hat_colour)
            self.ellipse(x + 0.070 * sin, y + 0.024 - 0.006 * max(0.0, cos), half, 0.0085, dark, 0.3)

    def long_hair(self) -> None:
        who, view = self.who, self.view
        x = 0.84 * self.pose.lean - 0.02 * view.sin
        if who.hair_style == "long":
            width = math.hypot(0.056 * view.cos, 0.038 * view.sin)
            self.limb([(x, 0.93), (x - 0.012 * view.sin, 0.79)], [width, width * 0.9], who.hair)
        elif who.hair_style == "bob":
            width = math.hypot(0.059 * view.cos, 0.046 * view.sin)
            self.limb([(x, 0.93), (x, 0.885)], [width, width], who.hair)
        elif who.hair_style == "ponytail" and view.cos < 0.5:
            x = x - 0.05 * view.sin
            self.limb([(x, 0.96), (x - 0.012 * view.sin, 0.81)], [0.019, 0.011], who.hair)

    # bags

    def backpack(self) -> None:
        if self.who.bag != "backpack":
            return
        x, _ = self.view.flat(0.0, 0.0, -0.115)
        width = self.view.width(0.082, 0.05)
        colour = self.who.bag_colour
        self.limb([(x, 0.745), (x, 0.63)], [width * 0.92, width], colour)
        if self.view.cos < 0.3:
            pocket = tuple(0.82 * c for c in colour)
            self.limb([(x, 0.625), (x, 0.60)], [width * 0.66, width * 0.66], pocket, contact=0.3)
            self.limb(
                [(x - width * 0.6, 0.70), (x + width * 0.6, 0.70)],
                [0.005, 0.005],
                tuple(0.6 * c for c in colour),
                contact=0.0,
            )

    def carried_bag(self) -> None:
        who, view = self.who, self.view
        if who.bag == "shoulder bag":
            spot = (0.125, 0.50, -0.01)
        elif who.bag == "handbag":
            hand = self.sides[1].wrist
            spot = (hand[0] - 0.012, hand[1] - 0.12, hand[2])
        else:
            return
        if view.near(spot[0], spot[2]) < -0.06:
            return
        x, y = view.flat(*spot)
        half = math.hypot(0.035 * view.cos, 0.062 * view.sin)
        if who.bag == "handbag":
            top = self.flat(self.sides[1].wrist)
            self.limb(
                [(x - half * 0.6, y + 0.03), top, (x + half * 0.6, y + 0.03)],
                [0.005] * 3,
                tuple(0.7 * c for c in who.bag_colour),
            )
        self.limb([(x, y + 0.022), (x, y - 0.022)], [half * 0.95, half], who.bag_colour)


# ------------------------------------------------------------------------------------------------------------
# Rendering


def render(
    pid: int,
    camid: int,
    index: int,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    modality: str = "visible",
    distance: float = 1.0,
    calibration: Calibration = DEFAULT,
) -> np.ndarray:
    """Draw image ``index`` of identity ``pid`` as camera ``camid`` sees it.

    A camera ``distance`` times farther away sees the same scene through its lens at `native_size` pixels:
    optical blur, area sampling, sensor noise and JPEG compression at that size; the result is resized back to
    ``size`` with bilinear interpolation. ``distance=1`` with the same other arguments is therefore the HR
    truth of that image.

    Args:
        pid: identity, >= 0. camid: camera, >= 1. index: number of the image, >= 0.
        size: (H, W) in pixels, at least (16, 8).
        seed: which population and which cameras.
        modality: "visible", or "thermal" (body heat, three equal channels).
        distance: >= 1; 1 = high resolution.
        calibration: how hard the set is.

    Returns:
        uint8 (H, W, 3) RGB; the same on every call and in every process.

    Raises:
        DatasetError: an argument is out of its range.
    """
    _check_image(pid, camid, index, size, seed, modality, distance)
    thermal = modality == "thermal"
    draw = numpy_generator(seed, "synth", "image", pid, camid, index)
    scene = _scene(pid, camid, size, seed, thermal, calibration, draw)
    sensor = numpy_generator(seed, "synth", "sensor", pid, camid, index, modality)
    noise = camera(camid, seed, calibration).noise * (1.5 if thermal else 1.0)
    if distance == 1:
        return digitise(scene, noise, sensor, thermal)
    return from_afar(scene, distance, noise, sensor, thermal)


def _scene(pid, camid, size, seed, thermal, calibration, draw) -> np.ndarray:
    """The noise-free image, float32 (3, H, W) about 0..1."""
    height, width = size
    who, eye = person(pid, seed, calibration), camera(camid, seed, calibration)
    pose = _pose(draw, calibration.pose_variation)
    yaw = eye.yaw + eye.spread * float(draw.normal()) + (math.pi if draw.random() < 0.25 else 0.0)
    scale = PERSON_HEIGHT * height * math.sqrt(who.height) * (1 + eye.crop * float(draw.normal()))
    x0 = width * (0.5 + 1.5 * eye.crop * float(draw.normal()))
    ground = height * (0.96 + 0.5 * eye.crop * float(draw.normal()))
    place = backdrop(camid, seed, (height, width))
    top = int(draw.integers(0, place.shape[1] - height + 1))
    left = int(draw.integers(0, place.shape[2] - width + 1))
    flicker = 1 + 0.03 * float(draw.normal())
    rgb = place[:, top : top + height, left : left + width].copy()
    light = Light(eye.light, eye.contrast)
    if thermal:
        who, light = by_heat(who), Light(0.0, 0.7)
        rgb[:] = 0.10 + 0.22 * rgb.mean(0)
    view = View(math.cos(yaw), math.sin(yaw), eye.pitch)
    low = min(min(view.flat(*j)[1] for j in (s.ankle, s.toe)) for s in _skeleton(who, pose)) - 0.02
    canvas = _Canvas(rgb, scale, x0, ground + low * scale)
    _cast_shadow(canvas, eye.light, low, 0.1 if thermal else 0.38)
    _Figure(canvas, who, view, pose, light, yaw).draw()
    if thermal:
        return blur(np.repeat(rgb.mean(0, keepdims=True), 3, axis=0), 0.12)
    rgb = blur(rgb, eye.blur)
    grey = rgb.mean(0)
    rgb = grey + eye.saturation * (rgb - grey)
    return rgb * (_rgb(eye.gains) * flicker) + eye.lift


def _cast_shadow(canvas: _Canvas, light: float, low: float, strength: float) -> None:
    for x, rx, ry, share in ((-0.10 * light, 0.20, 0.035, 1.0), (-0.02 * light, 0.12, 0.022, 0.8)):
        found = canvas.window(x - rx, x + rx, low + 0.02 - ry, low + 0.02 + ry)
        if found is not None:
            where, xs, ys = found
            inside = 1 - ((xs - x) / rx) ** 2 - ((ys - low - 0.02) / ry) ** 2
            canvas.rgb[where] *= 1 - strength * share * np.clip(inside, 0, 1)


# ------------------------------------------------------------------------------------------------------------
# Data sets

_PATH = re.compile(
    r"(?P<folder>.+)/p(?P<pid>\d+)_c(?P<camid>\d+)(?P<thermal>t?)_i(?P<index>\d+)(?:_d(?P<distance>\d+))?\.png"
)


@dataclass(frozen=True)
class SynthReader:
    """Renders the virtual paths of a synthetic set; can be pickled."""

    seed: int = 0
    calibration: Calibration = DEFAULT

    @property
    def folder(self) -> str:
        """First part of every path: another generator version, seed or calibration gives other paths."""
        settings = repr(sorted(asdict(self.calibration).items()))
        return f"synth-v{GENERATOR_VERSION}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}/s{self.seed}"

    def path(self, pid: int, camid: int, index: int, modality: str = "visible", distance: float = 1.0) -> str:
        """Return the virtual path of an image; ``distance`` is kept to 1/100."""
        far = "" if distance == 1 else f"_d{round(100 * distance)}"
        return f"{self.folder}/p{pid:04d}_c{camid}{'t' if modality == 'thermal' else ''}_i{index:02d}{far}.png"

    def __call__(self, path: str, size: tuple[int, int]) -> np.ndarray:
        """Render ``path`` at ``size`` = (H, W): uint8 (H, W, 3).

        Raises:
            DatasetError: the path is not one of this generator's, with this seed and calibration.
        """
        match = _PATH.fullmatch(str(path))
        if match is None or match["folder"] != self.folder:
            raise DatasetError(
                f"synth has no image {path}; expected a path like {self.path(3, 2, 1)}, taken from the table"
            )
        modality = "thermal" if match["thermal"] else "visible"
        distance = int(match["distance"] or 100) / 100
        image = (int(match["pid"]), int(match["camid"]), int(match["index"]))
        return render(*image, size, self.seed, modality, distance, self.calibration)


def truth_path(path: str) -> str:
    """Return the path of the HR truth of a genuine LR image (the same path for an HR image)."""
    return re.sub(r"_d\d+\.png$", ".png", path)


def synth(
    identities: int = 400,
    cameras: int = 4,
    images_per_camera: int = 3,
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    calibration: Calibration = DEFAULT,
    root: str | Path | None = None,
) -> ReIDDataset:
    """Build the synthetic data set: every identity seen by every camera, 10 random splits in halves.

    The table is sorted by pid, camid and index. Splits keep the identities of one look group together, so
    that an identity's look-alikes are always in the same part.

    Args:
        identities: number of identities, at least 2 look groups.
        cameras: number of cameras, at least 2.
        images_per_camera: images of each identity in each camera.
        seed: which population, cameras and splits.
        size: (H, W) in pixels of an image.
        calibration: how hard the set is.
        root: must stay None: nothing is on disk.

    Raises:
        DatasetError: an option is out of its range, or a root is given.
    """
    reader = _check_options("synth", root, identities, cameras, images_per_camera, seed, size, calibration)
    rows = [
        (reader.path(pid, camid, index), pid, camid)
        for pid in range(identities)
        for camid in range(1, cameras + 1)
        for index in range(images_per_camera)
    ]
    return _dataset("synth", reader, rows, ("path", "pid", "camid"), size)


def synth_caviar(
    identities: int = 120,
    images_per_camera: int = 8,
    distances: tuple[float, float] = (2.0, 4.0),
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    calibration: Calibration = DEFAULT,
    root: str | Path | None = None,
) -> ReIDDataset:
    """Build the CAVIAR-like set: camera 1 is near (HR), camera 2 far, with genuine optical low resolution.

    The table also has ``height`` and ``width``, the native size in pixels, and ``distance``.
    ``read(truth_path(path))`` is the HR truth of an LR image.

    Args:
        distances: smallest and largest distance of the far camera, between 1.05 and 16; drawn per image.
        (others): as `synth`.

    Raises:
        DatasetError: an option is out of its range, or a root is given.
    """
    reader = _check_options("synth-caviar", root, identities, 2, images_per_camera, seed, size, calibration)
    if len(distances) != 2 or not 1.05 <= distances[0] <= distances[1] <= 16:
        raise DatasetError(
            f"synth-caviar: distances must be two ascending numbers between 1.05 and 16, found {distances}"
        )
    rows = []
    for pid in range(identities):
        far = numpy_generator(seed, "synth-caviar", "distance", pid).uniform(*distances, images_per_camera)
        for camid, distance in ((1, np.ones(images_per_camera)), (2, far.round(2))):
            for index, d in enumerate(distance.tolist()):
                rows.append((reader.path(pid, camid, index, distance=d), pid, camid, *native_size(size, d), d))
    columns = ("path", "pid", "camid", "height", "width", "distance")
    return _dataset("synth-caviar", reader, rows, columns, size, genuine_lr_camid=2)


def synth_thermal(
    identities: int = 120,
    cameras: int = 4,
    images_per_camera: int = 3,
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    calibration: Calibration = DEFAULT,
    root: str | Path | None = None,
) -> ReIDDataset:
    """Build the cross-modality set: the first half of the cameras is visible, the second half thermal.

    The table also has ``modality`` ("visible" or "thermal"). Options as `synth`.

    Raises:
        DatasetError: an option is out of its range, or a root is given.
    """
    reader = _check_options("synth-thermal", root, identities, cameras, images_per_camera, seed, size, calibration)
    rows = []
    for pid in range(identities):
        for camid in range(1, cameras + 1):
            modality = MODALITIES[camid > cameras // 2]
            rows += [(reader.path(pid, camid, i, modality), pid, camid, modality) for i in range(images_per_camera)]
    return _dataset("synth-thermal", reader, rows, ("path", "pid", "camid", "modality"), size)


def _dataset(name, reader, rows, columns, size, **options) -> ReIDDataset:
    table = pd.DataFrame(rows, columns=list(columns))
    splits = _splits(name, sorted(set(table["pid"])), reader)
    return ReIDDataset(
        name, table, splits, tuple(size), reader=reader, note="synthetic images, no real person", **options
    )


def _splits(name: str, pids: list[int], reader: SynthReader) -> tuple[Split, ...]:
    """Ten random splits of the look groups in halves, as splits of identities."""
    groups: dict[int, list[int]] = {}
    for pid in pids:
        groups.setdefault(pid // reader.calibration.identities_per_look, []).append(pid)

    def members(looks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(pid for look in looks for pid in groups[look])

    drawn = random_splits(list(groups), len(groups) // 2, 10, reader.seed, name)
    return tuple(Split(members(s.train_pids), members(s.test_pids)) for s in drawn)


def _check_size(size) -> None:
    if len(size) != 2 or not (is_count(size[0], 16) and is_count(size[1], 8)):
        raise DatasetError(f"size must be (height, width) in whole pixels, at least (16, 8), found {size}")


def _check_image(pid, camid, index, size, seed, modality, distance) -> None:
    for name, value, least in (("pid", pid, 0), ("camid", camid, 1), ("index", index, 0), ("seed", seed, 0)):
        if not is_count(value, least):
            raise DatasetError(f"{name} must be an integer >= {least}, found {value!r}")
    _check_size(size)
    if modality not in MODALITIES:
        raise DatasetError(f"modality must be one of {', '.join(MODALITIES)}, found {modality!r}")
    if not 1 <= distance <= 16:
        raise DatasetError(f"distance must be between 1 (high resolution) and 16, found {distance}")


def _check_options(name, root, identities, cameras, images_per_camera, seed, size, calibration) -> SynthReader:
    if root is not None:
        raise DatasetError(f"{name} is drawn, not read from disk: expected no root, found {root}; leave root out")
    if not isinstance(calibration, Calibration):
        raise DatasetError(f"{name}: calibration must be a Calibration, found {calibration!r}")
    least = 2 * calibration.identities_per_look
    wanted = (
        ("identities", identities, least),
        ("cameras", cameras, 2),
        ("images_per_camera", images_per_camera, 1),
        ("seed", seed, 0),
    )
    for option, value, minimum in wanted:
        if not is_count(value, minimum):
            raise DatasetError(f"{name}: {option} must be an integer >= {minimum}, found {value!r}")
    _check_size(size)
    return SynthReader(seed, calibration)
