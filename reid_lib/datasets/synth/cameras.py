"""What a camera does: place, light, viewpoint, picture, lens and sensor, and what it records from far away."""

import io
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from reid_lib.datasets.synth.people import DEFAULT, Calibration
from reid_lib.seeds import numpy_generator

MODALITIES = ("visible", "thermal")


@dataclass(frozen=True)
class Camera:
    """A place, its light, and the camera that looks at it.

    Attributes:
        place: the name of what it looks at.
        gains: factor of each colour channel (brightness times colour cast).
        lift: added to every channel (haze).
        saturation: 1 keeps colours, 0 would give grey.
        light: horizontal direction of the light, -1 (from the left) to 1.
        contrast: strength of body shading.
        blur: weight of each neighbour in the lens blur, 0..0.15.
        noise: standard deviation of sensor noise, 0..1.
        yaw: most frequent viewpoint in radians (0 = front, pi/2 = walking to the right, pi = back).
        spread: standard deviation of the viewpoint, radians.
        pitch: sine of the angle by which the camera looks down.
        crop: standard deviation of the box, in parts of its size.
    """

    place: str
    gains: tuple[float, float, float]
    lift: float
    saturation: float
    light: float
    contrast: float
    blur: float
    noise: float
    yaw: float
    spread: float
    pitch: float
    crop: float

    def colours(self, rgb: np.ndarray, flicker: float) -> np.ndarray:
        """Return the image (3, H, W) in this camera's colours, ``flicker`` times as bright."""
        grey = rgb.mean(0)
        rgb = grey + self.saturation * (rgb - grey)
        return rgb * (np.array(self.gains, np.float32)[:, None, None] * flicker) + self.lift


@lru_cache(maxsize=1024)
def camera(camid: int, seed: int = 0, calibration: Calibration = DEFAULT) -> Camera:
    """Return camera ``camid`` (from 1) of the world ``seed``."""
    draw = numpy_generator(seed, "synth", "camera", camid)
    gain = float(draw.uniform(0.84, 1.06))
    cast = draw.normal(0, calibration.colour_cast, 3)
    return Camera(
        place=_PLACES[(camid - 1) % len(_PLACES)],
        gains=tuple((gain * np.clip(1 + cast - cast.mean(), 0.6, 1.4)).tolist()),
        lift=float(draw.uniform(0.0, 0.04)),
        saturation=float(draw.uniform(0.85, 1.1)),
        light=float(draw.uniform(-1, 1)),
        contrast=float(draw.uniform(0.7, 1.2)),
        blur=float(draw.uniform(0.0, 0.05)),
        noise=calibration.noise * float(draw.uniform(0.6, 1.4)),
        yaw=float((camid - 1) * 2.4 + draw.uniform(-0.4, 0.4)),
        spread=float(draw.uniform(0.5, 0.9)),
        pitch=float(draw.uniform(0.12, 0.26)),
        crop=0.022 * calibration.pose_variation * float(draw.uniform(0.7, 1.3)),
    )


class View:
    """Turns body coordinates (x to the person's left, y up, z forward) into the image's.

    Args:
        yaw: radians; 0 = front, pi/2 = walking to the right, pi = back.
        pitch: sine of the angle by which the camera looks down.
    """

    def __init__(self, yaw: float, pitch: float) -> None:
        self.yaw, self.pitch = yaw, pitch
        self.cos, self.sin = math.cos(yaw), math.sin(yaw)

    def flat(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the place in the image, in body units."""
        return x * self.cos + z * self.sin, y - self.pitch * self.near(x, z)

    def near(self, x: float, z: float) -> float:
        """Return how far towards the camera a place is."""
        return z * self.cos - x * self.sin

    def width(self, side: float, depth: float) -> float:
        """Return the half width in the image of an elliptical body with half axes ``side`` and ``depth``."""
        return math.hypot(side * self.cos, depth * self.sin)

    def body(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the (sideways, forward) direction, in the body's frame, of its surface at ``s`` across the image."""
        out = np.sqrt(np.maximum(0, 1 - s * s))
        return s * self.cos - out * self.sin, s * self.sin + out * self.cos


@dataclass(frozen=True)
class Light:
    """Light from the left (``side`` -1) to the right (1), and how strongly it shades a round body."""

    side: float
    contrast: float

    def on(self, s: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the brightness at ``s`` (-1 left edge, 1 right edge) and height ``y``."""
        round_ = np.sqrt(np.maximum(0, 1 - s * s))
        return (0.93 + 0.10 * y) * (1 + self.contrast * (0.26 * (round_ - 0.8) - 0.13 * self.side * s))

    def on_ball(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the brightness of a ball at ``x`` and ``y`` (-1..1)."""
        return self.on(np.clip(x, -1, 1), 0.5 + 0.5 * y)


class Canvas:
    """An image under construction: ``rgb`` (3, H, W) float32, and its body coordinates."""

    def __init__(self, rgb: np.ndarray, scale: float, x0: float, y0: float) -> None:
        _, height, width = rgb.shape
        self.rgb = rgb
        self.unit = scale  # pixels per body unit, vertically
        self.unit_x = scale * width / (height / 2)  # boxes that are not 2:1 are stretched, as in re-ID sets
        self.x0, self.y0 = x0, y0
        self.x = ((np.arange(width) + 0.5 - x0) / self.unit_x).astype(np.float32)
        self.y = ((y0 - np.arange(height) - 0.5) / self.unit).astype(np.float32)

    def window(self, left: float, right: float, bottom: float, top: float) -> tuple | None:
        """Return the image around a box in body units: (index, x (1, w), y (h, 1)); None outside the image."""
        _, height, width = self.rgb.shape
        a = max(0, int(left * self.unit_x + self.x0) - 2)
        b = min(width, int(right * self.unit_x + self.x0) + 3)
        c = max(0, int(self.y0 - top * self.unit) - 2)
        d = min(height, int(self.y0 - bottom * self.unit) + 3)
        if a >= b or c >= d:
            return None
        return (slice(None), slice(c, d), slice(a, b)), self.x[None, a:b], self.y[c:d, None]

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> tuple | None:
        """Return the image around an ellipse: (index, signed distance, x and y in units of the half axes), or None."""
        found = self.window(x - rx, x + rx, y - ry, y + ry)
        if found is None:
            return None
        where, xs, ys = found
        nx, ny = (xs - x) / rx, (ys - y) / ry
        return where, (np.sqrt(nx * nx + ny * ny) - 1) * min(rx, ry), nx, ny

    def fill(self, where, distance: np.ndarray, colour: np.ndarray, contact: float | np.ndarray) -> None:
        """Paint where ``distance`` (body units) is negative, with a soft edge and a thin shadow around it."""
        distance = distance * self.unit
        region = self.rgb[where]
        if not isinstance(contact, float) or contact > 0:
            reach = max(1.0, 0.014 * self.unit)
            region *= 1 - contact * np.clip(1 - distance / reach, 0, 1)
        region += np.clip(0.5 - distance, 0, 1) * (colour - region)


@lru_cache(maxsize=64)
def backdrop(camid: int, seed: int, size: tuple[int, int]) -> np.ndarray:
    """Return the panorama (3, 1.25 H, 4 W) float32 of a camera's place; every image shows a window of it."""
    height, width = round(1.25 * size[0]), 4 * size[1]
    draw = numpy_generator(seed, "synth", "backdrop", camid)
    picture = Image.new("RGB", (2 * width, 2 * height))
    pencil = ImageDraw.Draw(picture)
    place = _PLACES[(camid - 1) % len(_PLACES)]
    horizon = float(draw.uniform(0.46, 0.6))
    _DRAW_PLACE[place](draw, pencil, 2 * width, 2 * height, int(horizon * 2 * height))
    scene = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32).transpose(2, 0, 1) / 255
    shape = (height, width)
    texture = 0.05 * _noise_field(draw, shape, (8, 24)) + 0.05 * _noise_field(draw, shape, (40, 128))
    texture = texture + 0.03 * _noise_field(draw, shape, (128, 400))
    rough = {"park": 2.2, "street": 1.2, "crossing": 1.0, "car park": 1.0, "station": 0.45, "shop": 0.6}[place]
    light = np.linspace(1.06, 0.9, height, dtype=np.float32)[:, None]
    return np.clip((scene * (1 + rough * texture)) * light, 0, 1).astype(np.float32)


def _noise_field(draw: np.random.Generator, size: tuple[int, int], cells: tuple[float, float]) -> np.ndarray:
    """Smooth noise (H, W), about -1..1, with ``cells`` bumps over height and width."""
    rows, columns = max(2, round(cells[0])), max(2, round(cells[1]))
    coarse = Image.fromarray(draw.normal(0, 0.5, (rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _tone(draw: np.random.Generator, colour, spread: float = 0.04) -> tuple[int, int, int]:
    return tuple(
        int(255 * min(1, max(0, c + s)))
        for c, s in zip(colour, draw.normal(0, spread) + draw.normal(0, 0.01, 3), strict=True)
    )


def _floor_lines(pencil: ImageDraw.ImageDraw, w: int, h: int, horizon: int, colour, columns: int, rows: int) -> None:
    """Joints of slabs on the ground, in perspective."""
    line = max(1, h // 160)
    for i in range(-columns, 2 * columns):
        top = w * i / columns
        pencil.line([(top, horizon), (w / 2 + (top - w / 2) * 2.2, h)], fill=colour, width=line)
    for i in range(1, rows + 1):
        y = horizon + (h - horizon) * (i / rows) ** 1.6
        pencil.line([(0, y), (w, y)], fill=colour, width=line)


def _draw_street(draw, pencil, w, h, horizon) -> None:
    wall = (0.50, 0.34, 0.28)
    pencil.rectangle([0, 0, w, horizon], fill=_tone(draw, wall))
    course = h / 26
    for row in range(int(horizon / course) + 1):
        y0, shift = row * course, (row % 2) * course * 1.1
        for column in range(-1, int(w / (course * 2.2)) + 1):
            x0 = column * course * 2.2 + shift
            box = [x0 + 1, y0 + 1, x0 + course * 2.2 - 1, min(horizon, y0 + course - 1)]
            if box[3] > box[1]:
                pencil.rectangle(box, fill=_tone(draw, wall, 0.035))
    for x in np.arange(0.05, 1, 0.24):
        x0, x1 = w * x, w * (x + 0.11)
        pencil.rectangle([x0 - h / 60, 0, x1 + h / 60, horizon * 0.72], fill=(196, 190, 180))
        pencil.rectangle([x0, 0, x1, horizon * 0.7], fill=_tone(draw, (0.25, 0.31, 0.38)))
        pencil.line([((x0 + x1) / 2, 0), ((x0 + x1) / 2, horizon * 0.7)], fill=(196, 190, 180), width=max(1, h // 90))
    pencil.rectangle([0, horizon, w, h], fill=_tone(draw, (0.56, 0.55, 0.53)))
    _floor_lines(pencil, w, h, horizon, (116, 114, 110), 14, 6)
    pencil.rectangle([0, horizon - h / 50, w, horizon + 1], fill=(92, 86, 82))


def _draw_park(draw, pencil, w, h, horizon) -> None:
    pencil.rectangle([0, 0, w, horizon], fill=(112, 140, 122))
    for _ in range(260):
        x, y, r = draw.uniform(0, w), draw.uniform(-0.2, 0.92) * horizon, draw.uniform(0.02, 0.07) * h
        pencil.ellipse([x - r, y - r, x + r, y + r], fill=_tone(draw, (0.22, 0.38, 0.20), 0.06))
    for _ in range(7):
        x, r = draw.uniform(0, w), draw.uniform(0.012, 0.03) * h
        pencil.rectangle([x - r, 0, x + r, horizon], fill=_tone(draw, (0.33, 0.26, 0.20)))
    pencil.rectangle([0, horizon * 0.93, w, h], fill=_tone(draw, (0.36, 0.48, 0.24)))
    for _ in range(700):
        x, y = draw.uniform(0, w), draw.uniform(horizon * 0.93, h)
        pencil.line([(x, y), (x + draw.normal(0, h / 140), y - h / 60)], fill=_tone(draw, (0.36, 0.48, 0.24), 0.06))
    path = horizon + 0.45 * (h - horizon)
    pencil.rectangle([0, path, w, h], fill=_tone(draw, (0.62, 0.57, 0.48)))


def _draw_station(draw, pencil, w, h, horizon) -> None:
    pencil.rectangle([0, 0, w, horizon], fill=(186, 190, 190))
    for i in range(24):
        x = w * i / 24
        pencil.rectangle([x + 1, 0, x + w / 24 - 1, horizon * 0.86], fill=_tone(draw, (0.74, 0.76, 0.76), 0.02))
    for x in np.arange(0.04, 1, 0.19):
        x0, y0 = w * (x + float(draw.uniform(0, 0.04))), horizon * 0.2
        pencil.rectangle([x0, y0, x0 + w * 0.075, horizon * 0.72], fill=(60, 62, 66))
        colour = _tone(draw, draw.uniform(0.3, 0.75, 3))
        pencil.rectangle([x0 + 3, y0 + 3, x0 + w * 0.075 - 3, horizon * 0.72 - 3], fill=colour)
        pencil.ellipse(
            [x0 + w * 0.02, y0 + h / 20, x0 + w * 0.055, y0 + h / 8],
            fill=_tone(draw, draw.uniform(0.4, 0.9, 3)),
        )
    pencil.rectangle([0, horizon * 0.86, w, horizon], fill=(78, 84, 92))
    pencil.rectangle([0, horizon, w, h], fill=_tone(draw, (0.66, 0.65, 0.62)))
    _floor_lines(pencil, w, h, horizon, (146, 143, 138), 20, 8)
    pencil.rectangle([0, horizon + 0.12 * (h - horizon), w, horizon + 0.17 * (h - horizon)], fill=(206, 178, 60))


def _draw_crossing(draw, pencil, w, h, horizon) -> None:
    pencil.rectangle([0, 0, w, horizon], fill=_tone(draw, (0.58, 0.60, 0.62)))
    for x in np.arange(0, 1, 0.13):
        pencil.rectangle([w * x, 0, w * (x + 0.07), horizon * 0.55], fill=_tone(draw, (0.44, 0.48, 0.52)))
    pencil.rectangle([0, horizon * 0.8, w, h], fill=_tone(draw, (0.33, 0.33, 0.35)))
    for _ in range(5):
        x, y, s = draw.uniform(0, w), horizon * draw.uniform(0.82, 1.0), h * draw.uniform(0.13, 0.17)
        colour = _tone(draw, draw.uniform(0.15, 0.8, 3))
        pencil.rounded_rectangle([x + s * 0.45, y - s * 0.95, x + s * 1.7, y - s * 0.2], s * 0.25, fill=colour)
        pencil.rounded_rectangle([x + s * 0.55, y - s * 0.85, x + s * 1.6, y - s * 0.5], s * 0.15, fill=(44, 52, 60))
        pencil.rounded_rectangle([x, y - s * 0.55, x + s * 2.3, y], s * 0.2, fill=colour)
        for wheel in (0.5, 1.8):
            pencil.ellipse([x + s * (wheel - 0.2), y - s * 0.2, x + s * (wheel + 0.2), y + s * 0.2], fill=(24, 24, 26))
    y0, y1 = horizon + 0.35 * (h - horizon), horizon + 0.95 * (h - horizon)
    for i in range(-2, 18):
        x0, x1 = w * i / 16, w * (i + 0.5) / 16
        lean = 0.05 * w
        pencil.polygon(
            [(x0, y1), (x1, y1), (x1 + lean, y0), (x0 + lean, y0)], fill=_tone(draw, (0.74, 0.74, 0.72), 0.02)
        )


def _draw_shop(draw, pencil, w, h, horizon) -> None:
    pencil.rectangle([0, 0, w, horizon], fill=_tone(draw, (0.30, 0.27, 0.27)))
    for x in np.arange(0.01, 1, 0.16):
        x0, x1 = w * x, w * (x + 0.14)
        pencil.rectangle([x0, horizon * 0.12, x1, horizon * 0.9], fill=_tone(draw, (0.72, 0.66, 0.52)))
        for _ in range(7):
            a, b = draw.uniform(x0, x1 - w * 0.03), draw.uniform(0.3, 0.7) * horizon
            pencil.rectangle([a, b, a + w * 0.025, horizon * 0.88], fill=_tone(draw, draw.uniform(0.2, 0.7, 3)))
        pencil.polygon(
            [(x0, horizon * 0.12), (x0 + w * 0.05, horizon * 0.12), (x0, horizon * 0.7)], fill=(204, 200, 186)
        )
    pencil.rectangle([0, 0, w, horizon * 0.1], fill=_tone(draw, draw.uniform(0.2, 0.6, 3)))
    pencil.rectangle([0, horizon, w, h], fill=_tone(draw, (0.60, 0.52, 0.45)))
    _floor_lines(pencil, w, h, horizon, (120, 104, 92), 26, 10)


def _draw_car_park(draw, pencil, w, h, horizon) -> None:
    pencil.rectangle([0, 0, w, horizon], fill=_tone(draw, (0.52, 0.53, 0.52)))
    for i in range(10):
        x = w * i / 10
        pencil.line([(x, 0), (x, horizon)], fill=(104, 106, 104), width=max(1, h // 120))
        if i % 3 == 0:
            pencil.rectangle([x, 0, x + w * 0.03, horizon * 1.04], fill=_tone(draw, (0.44, 0.45, 0.46)))
            pencil.rectangle([x, horizon * 0.6, x + w * 0.03, horizon * 0.8], fill=(196, 160, 50))
    pencil.rectangle([0, horizon * 0.55, w, horizon * 0.62], fill=_tone(draw, (0.25, 0.36, 0.52)))
    pencil.rectangle([0, horizon, w, h], fill=_tone(draw, (0.42, 0.42, 0.41)))
    for i in range(-4, 14):
        x = w * i / 9
        pencil.line([(x, horizon * 1.06), (x - w * 0.08, h)], fill=(200, 196, 186), width=max(1, h // 50))


_DRAW_PLACE = {
    "street": _draw_street,
    "park": _draw_park,
    "station": _draw_station,
    "crossing": _draw_crossing,
    "shop": _draw_shop,
    "car park": _draw_car_park,
}
_PLACES = tuple(_DRAW_PLACE)


def blur(rgb: np.ndarray, weight: float) -> np.ndarray:
    """Return (3, H, W) after a three-tap lens blur in both directions, ``weight`` to each neighbour."""
    if weight <= 0:
        return rgb
    rows = rgb * (1 - 2 * weight)
    rows[:, 1:] += weight * rgb[:, :-1]
    rows[:, :-1] += weight * rgb[:, 1:]
    rows[:, 0] += weight * rgb[:, 0]
    rows[:, -1] += weight * rgb[:, -1]
    both = rows * (1 - 2 * weight)
    both[..., 1:] += weight * rows[..., :-1]
    both[..., :-1] += weight * rows[..., 1:]
    both[..., 0] += weight * rows[..., 0]
    both[..., -1] += weight * rows[..., -1]
    return both


def digitise(scene: np.ndarray, noise: float, sensor: np.random.Generator, thermal: bool) -> np.ndarray:
    """Add sensor noise to a scene (3, H, W) and round it to uint8 (H, W, 3)."""
    shape = (1, *scene.shape[1:]) if thermal else scene.shape
    scene = scene + noise * sensor.standard_normal(shape, np.float32)
    return np.ascontiguousarray((np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def native_size(size: tuple[int, int], distance: float) -> tuple[int, int]:
    """Return the (height, width) in pixels at which a camera ``distance`` times farther away sees them."""
    return max(4, round(size[0] / distance)), max(2, round(size[1] / distance))


def from_afar(
    scene: np.ndarray, distance: float, noise: float, sensor: np.random.Generator, thermal: bool
) -> np.ndarray:
    """Return what a camera ``distance`` times farther away records of a scene (3, H, W), as uint8 (H, W, 3).

    Lens blur, then area sampling, noise and compression at `native_size`; last, bilinear up-sampling to (H, W).
    """
    height, width = scene.shape[1:]
    for _ in range(max(1, round(distance))):
        scene = blur(scene, 0.10)
    native = native_size((height, width), distance)
    planes = [Image.fromarray(plane).resize(native[::-1], Image.Resampling.BOX) for plane in scene]
    small = digitise(np.stack([np.asarray(p) for p in planes]), noise, sensor, thermal)
    file = io.BytesIO()
    Image.fromarray(small).save(file, "JPEG", quality=int(sensor.integers(75, 95)), subsampling=2)
    with Image.open(file) as image:
        big = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.repeat(big[..., :1], 3, axis=2) if thermal else big
