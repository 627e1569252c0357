"""From a person and a camera to pixels.

The drawing is analytic: shapes are signed distances to tapered capsules, ellipses and bodies of revolution. That gives
anti-aliased edges at any size, and coordinates that patterns can follow.
"""

import math
from dataclasses import dataclass

import numpy as np

from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.synth.cameras import MODALITIES, Canvas, Light, View, backdrop, blur, camera, digitise, from_afar
from reid_lib.datasets.synth.figure import Ellipse, Face, Figure, Hat, Limb, Trunk, UpperGarment, draw_pose
from reid_lib.datasets.synth.people import (
    DEFAULT,
    PERSON_HEIGHT,
    Calibration,
    Colour,
    Pattern,
    Person,
    by_heat,
    is_count,
    person,
    wave,
)
from reid_lib.seeds import numpy_generator

_SPINE = (
    (0.42, 0.49, 0.60, 0.71, 0.80, 0.86),
    (0.0, -0.013, 0.006, 0.013, -0.004, -0.002),
)  # heights; how far belly and back stand forward


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

    A camera ``distance`` times farther away sees the same scene through its lens at `native_size` pixels: optical
    blur, area sampling, sensor noise and JPEG compression at that size; the result is resized back to ``size`` with
    bilinear interpolation. ``distance=1`` with the same other arguments is therefore the HR truth of that image.

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
    image = scene(pid, camid, size, seed, thermal, calibration, draw)
    sensor = numpy_generator(seed, "synth", "sensor", pid, camid, index, modality)
    noise = camera(camid, seed, calibration).noise * (1.5 if thermal else 1.0)
    if distance == 1:
        return digitise(image, noise, sensor, thermal)
    return from_afar(image, distance, noise, sensor, thermal)


def check_size(size: tuple[int, int]) -> None:
    """Raise DatasetError unless ``size`` is (H, W) in whole pixels, at least (16, 8)."""
    if len(size) != 2 or not (is_count(size[0], 16) and is_count(size[1], 8)):
        raise DatasetError(f"size must be (height, width) in whole pixels, at least (16, 8), found {size}")


def _check_image(pid, camid, index, size, seed, modality, distance) -> None:
    for name, value, least in (("pid", pid, 0), ("camid", camid, 1), ("index", index, 0), ("seed", seed, 0)):
        if not is_count(value, least):
            raise DatasetError(f"{name} must be an integer >= {least}, found {value!r}")
    check_size(size)
    if modality not in MODALITIES:
        raise DatasetError(f"modality must be one of {', '.join(MODALITIES)}, found {modality!r}")
    if not 1 <= distance <= 16:
        raise DatasetError(f"distance must be between 1 (high resolution) and 16, found {distance}")


def scene(
    pid: int,
    camid: int,
    size: tuple[int, int],
    seed: int,
    thermal: bool,
    calibration: Calibration,
    draw: np.random.Generator,
) -> np.ndarray:
    """Return the noise-free image, float32 (3, H, W) about 0..1; ``draw`` decides pose, viewpoint and box."""
    height, width = size
    who, eye = person(pid, seed, calibration), camera(camid, seed, calibration)
    pose = draw_pose(draw, calibration.pose_variation)
    yaw = eye.yaw + eye.spread * float(draw.normal()) + (math.pi if draw.random() < 0.25 else 0.0)
    scale = PERSON_HEIGHT * height * math.sqrt(who.height) * (1 + eye.crop * float(draw.normal()))
    x0 = width * (0.5 + 1.5 * eye.crop * float(draw.normal()))
    ground = height * (0.96 + 0.5 * eye.crop * float(draw.normal()))
    rgb = _cut_out(backdrop(camid, seed, (height, width)), size, draw)
    flicker = 1 + 0.03 * float(draw.normal())
    light = Light(eye.light, eye.contrast)
    if thermal:
        who, light = by_heat(who), Light(0.0, 0.7)
        rgb[:] = 0.10 + 0.22 * rgb.mean(0)
    figure = Figure(who, pose, View(yaw, eye.pitch))
    low = figure.lowest - 0.02
    canvas = Canvas(rgb, scale, x0, ground + low * scale)
    _cast_shadow(canvas, eye.light, low, 0.1 if thermal else 0.38)
    _paint(canvas, light, figure)
    if thermal:
        return blur(np.repeat(rgb.mean(0, keepdims=True), 3, axis=0), 0.12)
    return eye.colours(blur(rgb, eye.blur), flicker)


def _cut_out(place: np.ndarray, size: tuple[int, int], draw: np.random.Generator) -> np.ndarray:
    """A part (3, H, W) of a panorama, as a copy."""
    top = int(draw.integers(0, place.shape[1] - size[0] + 1))
    left = int(draw.integers(0, place.shape[2] - size[1] + 1))
    return place[:, top : top + size[0], left : left + size[1]].copy()


def _rgb(colour) -> np.ndarray:
    return np.array(colour, np.float32)[:, None, None]


def _step(x: np.ndarray) -> np.ndarray:
    """A soft step from 0 to 1 at ``x`` = 0; with ``x`` in pixels, an anti-aliased edge."""
    return np.clip(x + 0.5, 0, 1)


def _cast_shadow(canvas: Canvas, light: float, low: float, strength: float) -> None:
    for x, rx, ry, share in ((-0.10 * light, 0.20, 0.035, 1.0), (-0.02 * light, 0.12, 0.022, 0.8)):
        found = canvas.window(x - rx, x + rx, low + 0.02 - ry, low + 0.02 + ry)
        if found is not None:
            where, xs, ys = found
            inside = 1 - ((xs - x) / rx) ** 2 - ((ys - low - 0.02) / ry) ** 2
            canvas.rgb[where] *= 1 - strength * share * np.clip(inside, 0, 1)


def _paint(canvas: Canvas, light: Light, figure: Figure) -> None:
    for shape in figure.shapes():
        match shape:
            case Limb():
                _paint_limb(canvas, light, shape)
            case Ellipse():
                _paint_ellipse(canvas, light, shape)
            case Trunk():
                _paint_trunk(canvas, light, shape, figure)
            case Face():
                _paint_face(canvas, light, shape)
            case Hat():
                _paint_hat(canvas, light, shape)


def _paint_limb(canvas: Canvas, light: Light, limb: Limb) -> None:
    grown = [(x - r, x + r, y - r, y + r) for (x, y), r in zip(limb.points, limb.radii, strict=True)]
    left, right, bottom, top = zip(*grown, strict=True)
    found = canvas.window(min(left), max(right), min(bottom), max(top))
    if found is None:
        return
    where, xs, ys = found
    distance, across, along, radius = _chain(xs, ys, limb)
    shade = light.on(np.clip(across / radius, -1, 1), ys)
    paint = _rgb(limb.colour)
    if limb.pattern is not None:  # cloth
        shade = shade * (1 + 0.04 * light.contrast * np.sin(55 * along + 60 * across + 40 * limb.points[-1][0]))
        paint = _dye(paint, limb.pattern, across, along)
    contact = limb.contact * np.clip(along / 0.09 - 0.2, 0, 1) if limb.joint else limb.contact
    canvas.fill(where, distance, paint * shade, contact)


def _chain(xs: np.ndarray, ys: np.ndarray, limb: Limb) -> tuple[np.ndarray, ...]:
    """Signed distance to a chain of tapered capsules; across, along and radius at the nearest place of it."""
    nearest = None
    start = 0.0
    ends = zip(limb.points, limb.points[1:], limb.radii, limb.radii[1:], strict=False)
    for (ax, ay), (bx, by), ra, rb in ends:
        length = max(1e-4, math.hypot(bx - ax, by - ay))
        ux, uy = (bx - ax) / length, (by - ay) / length
        dx, dy = xs - ax, ys - ay
        along, across = dx * ux + dy * uy, (dy * ux - dx * uy) * (-1 if uy > 0 else 1)
        within = np.clip(along, 0, length)
        radius = ra + (rb - ra) / length * within
        distance = np.sqrt((along - within) ** 2 + across * across) - radius
        if limb.flat_end:
            distance = np.maximum(distance, along - length)
        here = (distance, across, start + along, radius)
        if nearest is None:
            nearest = here
        else:
            closer = distance < nearest[0]
            nearest = tuple(np.where(closer, new, old) for new, old in zip(here, nearest, strict=True))
        start += length
    return nearest


def _dye(paint: np.ndarray, pattern: Pattern, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return paint if pattern.kind == "plain" else paint + _rgb(pattern.tint) * wave(pattern, u, v)


def _paint_ellipse(canvas: Canvas, light: Light, shape: Ellipse) -> None:
    found = canvas.ellipse(shape.x, shape.y, shape.rx, shape.ry)
    if found is not None:
        where, distance, nx, ny = found
        canvas.fill(where, distance, _rgb(shape.colour) * light.on_ball(nx, ny), shape.contact)


def _paint_trunk(canvas: Canvas, light: Light, trunk: Trunk, figure: Figure) -> None:
    lean, heights, widths = figure.pose.lean, trunk.heights, trunk.widths
    most = max(widths) + abs(lean) + 0.013
    found = canvas.window(-most, most, trunk.low, trunk.high)
    if found is None:
        return
    where, xs, ys = found
    w = np.interp(ys, heights, widths).astype(np.float32)
    slope = (np.interp(ys + 0.004, heights, widths) - np.interp(ys - 0.004, heights, widths)) / 0.008
    centre = lean * (ys - 0.5) * 2 + figure.view.sin * np.interp(ys, *_SPINE).astype(np.float32)
    off = xs - centre
    edge = (np.abs(off) - w) * (1 / np.sqrt(1 + slope * slope)).astype(np.float32)
    distance = np.maximum(edge, np.maximum(trunk.low - ys, ys - trunk.high))
    s = np.clip(off / w, -1, 1)
    shade = light.on(s, ys)
    shade = shade * (1 + 0.035 * light.contrast * np.sin(34 * ys + 5 * off / most + figure.pose.phase))  # folds
    paint = _dye(_rgb(trunk.colour), trunk.pattern, w * (s + 0.15 * s**3) + 0.1 * figure.view.yaw, ys)
    canvas.fill(where, distance, paint * shade, trunk.contact)
    if isinstance(trunk, UpperGarment):
        alpha = np.clip(0.5 - distance * canvas.unit, 0, 1)
        surface = _Surface(canvas.unit, canvas.rgb[where], alpha, shade, s, ys, *figure.view.body(s))
        _paint_details(surface, figure.who, trunk.low)


@dataclass(frozen=True)
class _Surface:
    """The front and back of the trunk, to be painted on; arrays broadcast to (h, w).

    Attributes:
        unit: pixels per body unit.
        region: the image there, (3, h, w).
        s: -1 at the left edge in the image, 1 at the right edge. y: height.
        side, ahead: direction of the surface in the body's frame, sideways and forward.
    """

    unit: float
    region: np.ndarray
    alpha: np.ndarray
    shade: np.ndarray
    s: np.ndarray
    y: np.ndarray
    side: np.ndarray
    ahead: np.ndarray

    def mark(self, mask: np.ndarray, colour: Colour, strength: float = 1.0) -> None:
        region = self.region
        region += strength * self.alpha * mask * (_rgb(colour) * self.shade - region)

    def edge(self, distance: np.ndarray) -> np.ndarray:
        """Mask of where ``distance`` in body units is positive."""
        return _step(distance * self.unit)

    def front(self, distance: np.ndarray) -> np.ndarray:
        """Mask, on the front, of where ``distance`` in units of ``side`` is positive."""
        return _step(self.ahead * 6) * _step(distance * (self.unit * 0.1))


def _paint_details(on: _Surface, who: Person, hem: float) -> None:
    dark = tuple(0.55 * c for c in who.upper_colour)
    _paint_closure(on, who, dark)
    _paint_collar(on, who, dark)
    if who.upper in ("tee", "shirt", "dress") and who.lower != "bare":
        on.mark(on.edge(hem + 0.008 - on.y), dark, 0.5)
    if who.upper == "dress":
        on.mark(on.edge(0.012 - np.abs(on.y - 0.615)), dark, 0.6)
    _paint_logo(on, who)
    _paint_straps(on, who)


def _paint_closure(on: _Surface, who: Person, dark: Colour) -> None:
    side, y = np.abs(on.side), on.y
    if who.upper == "open jacket":
        gap = 0.22 + 0.25 * (0.85 - y)
        on.mark(on.front(gap - side), who.inner_colour)
        on.mark(on.front(0.05 - np.abs(side - gap)), dark)
    elif who.upper in ("jacket", "coat"):
        on.mark(on.front(0.035 - side), dark)
    elif who.upper == "shirt":
        buttons = _step((np.cos(y * 2 * math.pi / 0.055) - 0.3) * 2)
        on.mark(on.front(0.05 - side) * buttons, who.trim_colour, 0.8)
    elif who.upper == "hoodie":
        pocket = np.maximum(side - 0.55, np.maximum(0.50 - y, y - 0.575) * 10)
        on.mark(on.front(0.05 - np.abs(pocket)), dark, 0.6)


def _paint_collar(on: _Surface, who: Person, dark: Colour) -> None:
    neckline = {"tee": 0.80, "dress": 0.80, "hoodie": 0.835}.get(who.upper, 0.815)
    under = who.inner_colour if who.upper in ("jacket", "open jacket", "coat") else who.skin
    on.mark(on.front((on.y - neckline) * 9 - np.abs(on.side)), under)
    if who.upper in ("shirt", "jacket", "coat", "open jacket"):
        on.mark(on.edge(on.y - 0.832), tuple(min(1.0, 1.12 * c) for c in who.upper_colour), 0.9)
    if who.upper == "hoodie":
        back = _step(-on.ahead * 4)
        on.mark(back * on.edge(on.y - 0.775 - 0.03 * np.abs(on.s)), dark, 0.45)


def _paint_logo(on: _Surface, who: Person) -> None:
    """A small print on chest and back: a light mark in a dark surround of about the same weight."""
    if who.logo == "none" or who.upper == "open jacket":
        return
    facing = _step((np.abs(on.ahead) - 0.25) * 4)
    x, y = (on.side - 0.38 * np.where(on.ahead > 0, 1.0, 0.0)) * 0.1, on.y - 0.715
    box = on.edge(0.030 - np.maximum(np.abs(x), np.abs(y))) * facing
    if who.logo == "disc":
        inner, mean = 0.020 - np.sqrt(x * x + y * y), 0.35
    elif who.logo == "bar":
        inner, mean = 0.012 - np.abs(y), 0.4
    else:
        inner, mean = 0.008 - np.minimum(np.abs(x), np.abs(y)), 0.46
    inner = on.edge(inner)
    base = np.array(who.upper_colour)
    light, dark = np.clip(base + 0.3, 0, 0.95), np.clip(base - 0.3 * mean / (1 - mean), 0.03, 1)
    on.mark(box * (1 - inner), tuple(dark))
    on.mark(box * inner, tuple(light))


def _paint_straps(on: _Surface, who: Person) -> None:
    stripes = np.maximum(0.16 * np.sign(np.sin(2 * math.pi * on.y / who.strap_period)), 0)
    if who.bag == "backpack":
        mask = on.front(0.09 - np.abs(np.abs(on.side) - 0.55)) * on.edge(on.y - 0.64)
        on.mark(mask, who.bag_colour)
        on.mark(mask * stripes, who.trim_colour)
    if who.bag == "shoulder bag":
        line = np.where(on.ahead > 0, on.side, -on.side) * 0.11 + (on.y - 0.68) * 0.62
        mask = on.edge(0.011 - np.abs(line))
        on.mark(mask, who.bag_colour)
        on.mark(mask * stripes * 2, who.trim_colour)


def _paint_face(canvas: Canvas, light: Light, face: Face) -> None:
    """The head is a ball; skin and hair are regions of it in the head's own frame, so it can turn."""
    head = face.head
    found = canvas.ellipse(head.x, head.y, head.rx, head.ry)
    if found is None:
        return
    where, distance, nx, ny = found
    out = np.sqrt(np.maximum(0, 1 - nx * nx - ny * ny))
    hx, hz = nx * head.cos - out * head.sin, nx * head.sin + out * head.cos
    sharp = canvas.unit * head.ry
    front = _step((hz - 0.10 + 0.30 * np.minimum(ny + 0.1, 0)) * sharp * 0.6)
    front = front * _step((0.48 - 0.3 * np.abs(hx) - ny) * sharp)
    skin = np.maximum(front, _step((face.nape - ny) * sharp))
    hair, flesh = _rgb(face.hair), _rgb(face.skin)
    paint = hair * (1 + 0.3 * np.maximum(0, ny - 0.2)) * (1 - skin) + flesh * skin
    paint = paint * (1 - front * (hz > 0) * _eyes_and_nose(hx, ny))
    mouth = 0.55 * front * np.exp(-((hx / 0.28) ** 2) - ((ny + 0.56) / 0.10) ** 2)
    paint = paint + mouth * (flesh * _rgb((0.75, 0.45, 0.45)) - paint)
    if face.beard:
        area = 0.7 * front * _step((-0.34 - ny) * sharp * 0.5) * (1 - 0.8 * mouth)
        paint = paint + area * (hair - paint)
    canvas.fill(where, distance, paint * light.on_ball(nx, ny), 0.12)


def _eyes_and_nose(hx: np.ndarray, ny: np.ndarray) -> np.ndarray:
    """How much darker the face is there."""
    ax = np.abs(hx)
    eyes = np.exp(-(((ax - 0.38) / 0.17) ** 2) - ((ny + 0.02) / 0.10) ** 2)
    brows = np.exp(-(((ax - 0.40) / 0.24) ** 2) - ((ny - 0.20) / 0.07) ** 2)
    nose = np.exp(-(((hx - 0.06) / 0.10) ** 2) - ((ny + 0.26) / 0.14) ** 2)
    return np.clip(0.72 * eyes + 0.45 * brows + 0.22 * nose, 0, 0.85)


def _paint_hat(canvas: Canvas, light: Light, hat: Hat) -> None:
    head = hat.head
    found = canvas.ellipse(head.x - 0.003 * head.sin, head.y + 0.008, head.rx * 1.13, head.ry * 1.10)
    if found is None:
        return
    where, distance, nx, ny = found
    colour = _rgb(hat.colour) * light.on_ball(nx, ny)
    if hat.banded:
        colour = colour * (1 - 0.2 * (ny < hat.brim + 0.28))
    canvas.fill(where, np.maximum(distance, (hat.brim - ny) * head.ry), colour, 0.15)
