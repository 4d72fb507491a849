"""Identities of the built-in pedestrians: what they wear, look-alikes, and that no two of them are the same.

Colours that lie next to each other (hat on hair, bag on shirt, shoe below trousers) are drawn apart, so that
everything a person has can be seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid.data import walkers

Palette = tuple[tuple[float, float, float], ...]

_SKIN = ((0.93, 0.77, 0.66), (0.82, 0.62, 0.48), (0.6, 0.42, 0.3), (0.4, 0.27, 0.2))
_HAIR = ((0.08, 0.07, 0.07), (0.3, 0.18, 0.1), (0.78, 0.62, 0.34), (0.62, 0.62, 0.62))
_UPPER = (
    (0.93, 0.93, 0.92),
    (0.1, 0.1, 0.11),
    (0.8, 0.12, 0.13),
    (0.13, 0.25, 0.72),
    (0.1, 0.5, 0.22),
    (0.92, 0.8, 0.15),
    (0.93, 0.5, 0.1),
    (0.47, 0.15, 0.55),
    (0.9, 0.55, 0.68),
    (0.1, 0.62, 0.68),
)
_LOWER = (
    (0.09, 0.09, 0.1),
    (0.12, 0.17, 0.4),
    (0.5, 0.5, 0.52),
    (0.78, 0.68, 0.5),
    (0.36, 0.2, 0.1),
    (0.4, 0.58, 0.8),
)
_SHOES = ((0.95, 0.95, 0.95), (0.06, 0.06, 0.06), (0.85, 0.1, 0.1), (0.15, 0.35, 0.8))
_THINGS = (
    (0.08, 0.08, 0.09),
    (0.88, 0.15, 0.15),
    (0.15, 0.35, 0.85),
    (0.2, 0.65, 0.3),
    (0.95, 0.8, 0.2),
    (0.95, 0.95, 0.95),
)
_CLEAR = 0.6  # L1 distance of two colours (0 to 3) that is plain to see in a small picture

_PARTS, _PERSONS = 0, 1  # first numbers of the streams' keys


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of one thing (a person, a pass, ...), independent of all others.

    Parameters
    ----------
    seed : int
        Seed of the set.
    *key : int
        What the stream is for.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _color(rng: np.random.Generator, palette: Palette, *others: NDArray[np.floating]) -> NDArray[np.float64]:
    """A jittered colour of the palette, clearly away from the others if one is, else the farthest."""
    colors = np.clip(rng.permutation(np.array(palette)) + rng.normal(0, 0.03, (len(palette), 3)), 0.04, 0.97)
    if not others:
        return colors[0]
    nearest = np.min([np.abs(colors - other).sum(axis=1) for other in others], axis=0)
    clear = np.flatnonzero(nearest >= _CLEAR)
    return colors[clear[0] if clear.size else nearest.argmax()]


def _beside_bag(p: NDArray[np.void]) -> list[NDArray[np.floating]]:
    """Colours that a bag hangs before."""
    return [p["upper"], *([p["second"]] if p["pattern"] else []), *([p["lower"]] if p["bag"] > 1 else [])]


def draw_person(rng: np.random.Generator) -> NDArray[np.void]:
    """One identity, a 0-d array of `reid.data.walkers.PERSON`.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced.
    """
    p = np.zeros((), walkers.PERSON)
    p["height"], p["width"], p["legs"] = (
        rng.uniform(0.86, 1),
        rng.uniform(0.82, 1.25),
        rng.uniform(0.93, 1.07),
    )
    p["head"], p["swing"] = rng.uniform(0.92, 1.1), rng.uniform(0.7, 1.25)
    p["skin"], p["hair"], p["long_hair"] = _color(rng, _SKIN), _color(rng, _HAIR), rng.random() < 0.35
    p["upper"] = _color(rng, _UPPER)
    p["second"] = _color(rng, _UPPER, p["upper"])
    p["pattern"], p["n_stripes"] = rng.integers(len(walkers.PATTERNS)), rng.integers(3, 6)
    p["long_sleeves"] = rng.random() < 0.65
    p["lower"] = _color(rng, _LOWER)
    p["bottoms"] = rng.choice(3, p=(0.62, 0.2, 0.18))
    p["leg_stripe"] = rng.random() < 0.2
    p["shoes"] = _color(rng, _SHOES, p["lower"])
    p["bag"], p["bag_side"] = rng.choice(4, p=(0.4, 0.25, 0.2, 0.15)), rng.choice((-1, 1))
    p["bag_color"] = _color(rng, _THINGS, *_beside_bag(p))
    p["hat"] = rng.choice(3, p=(0.62, 0.22, 0.16))
    p["hat_color"] = _color(rng, _THINGS, p["hair"], p["skin"])
    return p


def _lookalike(rng: np.random.Generator, original: NDArray[np.void]) -> NDArray[np.void]:
    """A copy with one of hat, bag, lower colour, pattern, shoes, sleeves changed."""
    p = original.copy()
    change = rng.choice(("hat", "bag", "lower", "pattern", "shoes", "sleeves"))
    if change == "hat":
        p["hat"] = 0 if p["hat"] and rng.random() < 0.5 else p["hat"] or rng.integers(1, 3)
        p["hat_color"] = _color(rng, _THINGS, p["hat_color"], p["hair"], p["skin"])
    elif change == "bag":
        p["bag"] = 0 if p["bag"] and rng.random() < 0.5 else p["bag"] or rng.integers(1, 4)
        p["bag_color"] = _color(rng, _THINGS, p["bag_color"], *_beside_bag(p))
    elif change == "lower":
        p["lower"] = _color(rng, _LOWER, p["lower"], p["shoes"], *([p["bag_color"]] if p["bag"] > 1 else []))
    elif change == "pattern":
        p["pattern"] = rng.integers(len(walkers.PATTERNS))
    elif change == "shoes":
        p["shoes"] = _color(rng, _SHOES, p["shoes"], p["lower"])
    else:
        p["long_sleeves"] = not p["long_sleeves"]
    return p


def _bares(people: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether one can see where a sleeve ends."""
    return np.abs(people["skin"] - people["upper"]).sum(axis=-1) >= _CLEAR


def visible_differences(person: NDArray[np.void], others: NDArray[np.void]) -> NDArray[np.int64]:
    """In how many clearly visible attributes a person differs from each of the others.

    Counted are the colours of upper and lower garment and shoes, pattern, kind of lower garment, sleeves
    (only where skin and cloth differ), hat and bag (there or not, kind of bag, colour); not build, skin and
    hair.

    Parameters
    ----------
    person : () of `reid.data.walkers.PERSON`
        One identity.
    others : (n,) of `reid.data.walkers.PERSON`
        Those to compare it with.

    Returns
    -------
    (n,) int64
        Number of attributes, 0 to 8.
    """

    def apart(name: str) -> NDArray[np.bool_]:
        return np.abs(person[name] - others[name]).sum(axis=-1) >= _CLEAR

    pattern = (person["pattern"] != others["pattern"]) | (apart("second") & (person["pattern"] > 0))
    sleeves = (person["long_sleeves"] != others["long_sleeves"]) & _bares(person) & _bares(others)
    hat = ((person["hat"] > 0) != (others["hat"] > 0)) | (apart("hat_color") & (person["hat"] > 0))
    bag = (person["bag"] != others["bag"]) | (apart("bag_color") & (person["bag"] > 0))
    bottoms = person["bottoms"] != others["bottoms"]
    traits = (apart("upper"), apart("lower"), apart("shoes"), pattern, bottoms, sleeves, hat, bag)
    return np.sum(traits, axis=0, dtype=np.int64)


def draw_people(seed: int, counts: tuple[int, ...], lookalikes: float) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Draw the identities of a set.

    Parameters
    ----------
    seed : int
        At least 0.
    counts : tuple of int
        Numbers of persons of each part (training, test). More persons in a part leave those before them
        unchanged.
    lookalikes : float
        Share, 0 to 1, of the second, fourth, ... persons of a part that copy the one before.

    Returns
    -------
    people : (sum(counts),) of `reid.data.walkers.PERSON`
        Any two differ in at least two clearly visible attributes, a look-alike and its original in exactly
        one.
    twin_of : (sum(counts),) int64
        Number of the person that this one is a look-alike of, -1 for none.
    """
    people = np.zeros(sum(counts), walkers.PERSON)
    twin_of = np.full(sum(counts), -1, np.int64)
    k = 0
    for part, count in enumerate(counts):
        offset = stream(seed, _PARTS, part).uniform()
        for i in range(count):
            rng = stream(seed, _PERSONS, part, i)
            # Systematic rather than by lot, so that the share holds in small sets too.
            twin = i % 2 == 1 and np.floor((i // 2 + 1) * lookalikes + offset) > np.floor(i // 2 * lookalikes + offset)
            while True:
                people[k] = _lookalike(rng, people[k - 1]) if twin else draw_person(rng)
                differences = visible_differences(people[k], people[:k])
                original, others = (differences[-1:], differences[:-1]) if twin else (differences[:0], differences)
                if (original == 1).all() and (others >= 2).all():
                    break
            twin_of[k] = k - 1 if twin else -1
            k += 1
    return people, twin_of
