"""The table: what the gripper does to blocks, what counts, what is said, and what is seen."""

import numpy as np
import pytest

import steadyhand as sh
from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.envs.tabletop import TabletopConfig
from steadyhand.envs.tabletop.layout import EDGE, HALF, ORDERS, TINTS, ZONES, freed
from steadyhand.envs.tabletop.words import (
    COLOURS,
    HEARD_SYNONYMS,
    HEARD_VERBS,
    PLACES,
    VERBS,
    is_heard_pair,
)

ROW = np.arange(1)
FAR, NEAR, LEFT, RIGHT = range(4)
BLOCKS = np.array([(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (-0.1, -0.1)], dtype=np.float32)


def laid(env, *, blocks=BLOCKS, gripper=(0.0, 0.0), goal=(FAR, NEAR, LEFT, RIGHT), colours=(0, 1, 2, 3)):
    """Lay one table by hand."""
    env.reset(env.starts("train", 1), ROW)
    state = env.state(ROW)
    state["blocks"][0], state["gripper"][0] = blocks, gripper
    state["goal"][0], state["colours"][0] = goal, colours
    env.restore(state, ROW)
    return env


def act(env, vx=0.0, vy=0.0, *, close=0.0):
    return env.step(np.array([[vx, vy, close]], dtype=np.float32), ROW)


def blocks(env):
    return env.state(ROW)["blocks"][0]


def held(env):
    return int(env.state(ROW)["held"][0])


def test_it_takes_what_is_in_reach_as_it_closes_carries_it_and_lays_it_down():
    env = laid(make("tabletop", num_rows=1), gripper=(0.112, -0.015))
    act(env, close=1.0)
    assert held(env) == 1
    act(env, 0.4, -0.2, close=1.0)  # over 0.1 s
    np.testing.assert_allclose(blocks(env)[1], [0.14, -0.02], atol=1e-6)
    np.testing.assert_array_equal(blocks(env)[[0, 2, 3]], BLOCKS[[0, 2, 3]])
    act(env)
    assert held(env) == -1
    act(env, 0.4, 0.4)
    np.testing.assert_allclose(blocks(env)[1], [0.14, -0.02], atol=1e-6)


def test_a_gripper_that_closed_beside_a_block_takes_none_as_it_passes():
    env = laid(make("tabletop", num_rows=1), gripper=(0.121, 0.0))
    act(env, close=1.0)
    act(env, -0.21, close=1.0)
    assert held(env) == -1


def test_the_nearest_of_two_is_taken_and_it_stays_on_the_table():
    close = np.array([(0.0, 0.0), (0.03, 0.0), (0.2, 0.2), (-0.2, -0.2)], dtype=np.float32)
    env = laid(make("tabletop", num_rows=1), blocks=close, gripper=(0.016, 0.0))
    act(env, close=1.0)
    assert held(env) == 1
    for _ in range(12):
        act(env, 0.4, close=1.0)
    np.testing.assert_allclose(blocks(env)[1], [HALF - EDGE / 2, 0.0], atol=1e-6)
    assert env.position(ROW)[0, 0] == np.float32(HALF)


def test_what_is_laid_on_another_block_comes_to_lie_beside_it():
    pile = np.array([(0.0, 0.0), (0.02, 0.007), (0.2, 0.2), (-0.2, -0.2)], dtype=np.float32)
    env = laid(make("tabletop", num_rows=1), blocks=pile, gripper=(0.03, 0.007))
    act(env, close=1.0)
    assert held(env) == 1
    act(env)
    np.testing.assert_allclose(blocks(env)[:2], [(0.0, 0.0), (EDGE, 0.007)], atol=1e-6)


@pytest.mark.parametrize(
    ("place", "others", "expected"),
    [
        ((0.29, 0.001), [(0.28, 0.0), (0.0, 0.2), (0.0, -0.2)], (0.28, 0.04)),  # clipped by the table's edge
        ((0.021, 0.001), [(0.0, 0.0), (0.06, 0.0), (0.2, 0.2)], (0.021, 0.04)),  # too narrow a gap
        ((0.0, 0.0), [(-0.035, 0.0), (0.035, 0.0), (0.0, -0.05)], (0.0, 0.04)),
        ((0.02, 0.03), [(0.0, 0.0), (0.05, 0.05), (-0.2, 0.2)], (0.01, 0.04)),  # in the corner between two
        ((0.1, 0.1), [(0.0, 0.0), (0.06, 0.1), (0.1, 0.06)], (0.1, 0.1)),  # touching is free
    ],
)
def test_a_block_is_laid_at_the_nearest_free_place(place, others, expected):
    place = np.clip(np.array([place], np.float32), -0.28, 0.28)
    found = freed(place, np.array([others], np.float32))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_gripper_is_no_faster_than_it_may_be():
    env = laid(make("tabletop", num_rows=1))
    act(env, 9.0, -9.0)
    np.testing.assert_allclose(env.position(ROW)[0], [0.04, -0.04], atol=1e-6)


def test_sorting_counts_what_lies_right_and_ends_when_all_does():
    there = ZONES + np.float32(0.04)
    env = laid(make("tabletop", num_rows=1), blocks=np.vstack([there[:3], [(0.0, 0.0)]]), gripper=(0.0, 0.0))
    assert act(env, close=1.0).reward[0] == 0.0
    for _ in range(5):
        result = act(env, 0.4, close=1.0)
    assert not result.terminated[0]
    assert result.reward[0] == 0.0  # it is held
    result = act(env, 0.2)
    assert (result.reward[0], result.terminated[0], result.success[0]) == (1.0, True, True)
    env = laid(make("tabletop", num_rows=1), blocks=np.vstack([there[:3], [(0.0, 0.0)]]), gripper=there[0])
    assert act(env, close=1.0).reward[0] == -1.0


def test_the_error_adds_up_how_far_blocks_are_from_their_zones():
    env = laid(make("tabletop", num_rows=1), blocks=np.vstack([ZONES[:2], [(0.0, 0.0), (0.1, 0.0)]]))
    np.testing.assert_allclose(env.error(ROW), [(0.22 - 0.07) + (0.12 - 0.07)], atol=1e-6)
    told = laid(make("tabletop", task="instruct", num_rows=1), goal=(-1, -1, -1, RIGHT))
    np.testing.assert_allclose(told.error(ROW), [np.hypot(0.32, 0.1) - 0.07], atol=1e-6)


def test_the_mode_is_the_order_of_the_colours():
    env = make("tabletop", num_rows=1)
    colours = (2, 0, 3, 1)
    laid(env, goal=(FAR, NEAR, LEFT, RIGHT), colours=colours)
    assert env.num_modes == 24
    for brought in (3, 1, 0):  # blocks, of the colours 1, 0 and 2; the last one follows
        assert env.mode(ROW)[0] == -1
        state = env.state(ROW)
        state["held"][0], state["closed"][0] = brought, True
        state["gripper"][0] = state["blocks"][0, brought] = ZONES[brought]
        env.restore(state, ROW)
        act(env)
    assert ORDERS[env.mode(ROW)[0]] == (1, 0, 2, 3)
    state = env.state(ROW)
    state["gripper"][0] = ZONES[1]
    env.restore(state, ROW)
    act(env, close=1.0)
    assert env.mode(ROW)[0] == -1  # taken away again


@pytest.mark.parametrize(("block", "zone", "success"), [(1, LEFT, True), (1, RIGHT, False), (0, LEFT, False)])
def test_an_instruction_ends_with_the_first_block_in_a_zone(block, zone, success):
    env = laid(make("tabletop", task="instruct", num_rows=1), goal=(-1, LEFT, -1, -1))
    state = env.state(ROW)
    state["held"][0], state["closed"][0] = block, True
    state["gripper"][0] = state["blocks"][0, block] = (0.1, 0.1)
    env.restore(state, ROW)
    assert not act(env).terminated[0]  # laid between the zones
    state["gripper"][0] = state["blocks"][0, block] = ZONES[zone]
    env.restore(state, ROW)
    assert not act(env, close=1.0).terminated[0]
    result = act(env)
    assert (result.terminated[0], result.success[0], result.reward[0]) == (True, success, float(success))


def test_objects_are_told_by_features_and_in_no_order():
    env = make("tabletop", num_rows=64)
    rows = np.arange(64)
    env.reset(env.starts("train", 64), rows)
    state, seen = env.state(rows), env.observe(rows)["observation.objects"]
    tops, zones = seen[:, :4], seen[:, 4:]
    np.testing.assert_array_equal(tops[..., 0], 1.0)
    np.testing.assert_array_equal(zones[..., 0], 0.0)
    np.testing.assert_array_equal(zones[..., 1:3], np.broadcast_to(ZONES, (64, 4, 2)))
    np.testing.assert_allclose(seen[..., 3:5], seen[..., 1:3] - state["gripper"][:, None], atol=1e-7)
    nearest = np.linalg.norm(tops[:, :, None, 5:8] - TINTS[:4], axis=-1).argmin(axis=2)
    np.testing.assert_array_equal(nearest, state["colours"])
    assert (
        len(np.unique(tops[..., 5:8].reshape(-1, 3), axis=0)) == 256
    )  # no colour twice: no name in disguise
    assert len(np.unique(state["colours"], axis=0)) > 15  # of 24
    where = np.take_along_axis(zones[..., 5:8], state["goal"][:, :, None], axis=1)
    np.testing.assert_array_equal(
        np.linalg.norm(where[:, :, None] - TINTS[:4], axis=-1).argmin(axis=2), nearest
    )


def test_blocks_never_begin_on_one_another_or_in_a_zone():
    env = make("tabletop", num_rows=256)
    env.reset(env.starts("test", 256), np.arange(256))
    places = env.state(np.arange(256))["blocks"]
    apart = np.abs(places[:, :, None] - places[:, None]).max(axis=3) + np.eye(4)
    assert apart.min() >= EDGE
    assert np.linalg.norm(places[:, :, None] - ZONES, axis=3).min() > 0.07 + EDGE / 2


def said(unheard):
    env = make("tabletop", task="instruct", unheard=unheard, num_rows=400)
    rows = np.arange(400)
    env.reset(env.starts("train", 400), rows)
    state = env.state(rows)
    block = state["goal"].argmax(axis=1)
    colours, zones = state["colours"][rows, block], state["goal"].max(axis=1)
    return env.tasks(rows), state["words"], colours, zones


def test_training_hears_five_verbs_two_synonyms_and_twelve_pairs():
    tasks, words, colours, zones = said("nothing")
    assert set(words[:, 0]) == set(range(HEARD_VERBS))
    assert set(words[:, 1]) == set(words[:, 2]) == set(range(HEARD_SYNONYMS))
    pairs = set(zip(colours.tolist(), zones.tolist(), strict=True))
    assert len(pairs) == 12
    assert all(is_heard_pair(*pair) for pair in pairs)
    first = (
        f"{VERBS[words[0, 0]]} the {COLOURS[colours[0]][words[0, 1]]} block {PLACES[zones[0]][words[0, 2]]}"
    )
    assert tasks[0] == first


@pytest.mark.parametrize("unheard", ["nothing", "verbs", "synonyms", "pairs", "blocks"])
def test_what_is_unheard_is_that_alone(unheard):
    _, words, colours, zones = said(unheard)
    pairs = np.array(
        [not is_heard_pair(*pair) for pair in zip(colours.tolist(), zones.tolist(), strict=True)]
    )
    strange = {
        "verbs": words[:, 0] >= HEARD_VERBS,
        "synonyms": (words[:, 1:] >= HEARD_SYNONYMS).all(axis=1),
        "blocks": colours >= 4,
    } | ({} if unheard == "blocks" else {"pairs": pairs})
    assert [name for name, is_so in strange.items() if is_so.all()] == [unheard] * (unheard != "nothing")
    assert [name for name, is_so in strange.items() if is_so.any()] == [unheard] * (unheard != "nothing")
    if unheard != "synonyms":
        assert words[:, 1:].max() == HEARD_SYNONYMS - 1


def test_a_strange_colour_does_not_tell_which_block_is_meant():
    env = make("tabletop", task="instruct", unheard="blocks", num_rows=200)
    env.reset(env.starts("test", 200), np.arange(200))
    colours = env.state(np.arange(200))["colours"]
    assert ((colours >= 4).sum(axis=1) == 2).all()
    goal = env.state(np.arange(200))["goal"]
    meant = colours[np.arange(200), goal.argmax(axis=1)]
    assert 60 < (meant == 4).sum() < 140


def test_episodes_keep_their_own_instruction():
    env = sh.make("tabletop", task="instruct", num_rows=3)
    episodes = sh.record(env, sh.expert("auto", env), episodes=6, quiet=True)
    starts = env.starts("train", 6, seed=0)
    told = []
    for start in starts:
        env.reset([start], ROW)
        told += env.tasks(ROW)
    assert [one.task for one in episodes] == told
    assert len(set(told)) > 3


def test_a_picture_shows_each_block_in_its_colour_where_it_is():
    env = make("tabletop", observation=("camera",), num_rows=3)
    rows = np.arange(3)
    env.reset(env.starts("train", 3), rows)
    pictures, state = env.observe(rows)["observation.images.top"], env.state(rows)
    assert pictures.shape == (3, 64, 64, 3)
    column = np.rint((state["blocks"][..., 0] + HALF) / (2 * HALF) * 64 - 0.5).astype(int)
    line = np.rint((HALF - state["blocks"][..., 1]) / (2 * HALF) * 64 - 0.5).astype(int)
    there = pictures[rows[:, None], line, column]
    np.testing.assert_allclose(there, 255 * state["block_tints"], atol=1.0)
    empty = laid(make("tabletop", observation=("camera",), num_rows=1), gripper=(0.2, 0.2))
    for close, shade in ((0.0, 250), (1.0, 30)):
        act(empty, close=close)
        shown = empty.observe(ROW)["observation.images.top"][0]
        assert np.abs(shown[10, 53].astype(int) - shade).max() <= 4  # the tip: bright open, dark closed
    alone = make("tabletop", observation=("camera",), num_rows=1)
    alone.reset(env.starts("train", 3)[2:], ROW)
    np.testing.assert_array_equal(alone.observe(ROW)["observation.images.top"][0], pictures[2])


def test_a_square_covers_its_area_wherever_it_lies_between_pixels():
    env = laid(make("tabletop", observation=("camera",), num_rows=1), gripper=(0.29, 0.29))
    area = (EDGE / (2 * HALF) * 64) ** 2
    for x in (0.0, 0.003, 0.0071):
        state = env.state(ROW)
        state["blocks"][0] = [(x, 0.05), (0.1, -0.1), (-0.1, -0.1), (0.0, 0.2)]
        state["block_tints"][0] = 0.0
        env.restore(state, ROW)
        shown = env.observe(ROW)["observation.images.top"][0, 20:36, 20:44].astype(float)
        wood = shown[0, 0]
        assert ((wood - shown) / wood).mean(axis=2).sum() == pytest.approx(area, rel=0.02)


def test_unfitting_settings_are_refused():
    with pytest.raises(ConfigError, match="Only of an instruction"):
        TabletopConfig(unheard="verbs")
    with pytest.raises(ConfigError, match="twice"):
        TabletopConfig(observation=("state", "state"))
    with pytest.raises(ConfigError, match="no such sense"):
        TabletopConfig().showing(["lidar"])
    assert TabletopConfig().showing([STATE, "camera"]).observation == ("state", "camera")
    env = make("tabletop", num_rows=1)
    with pytest.raises(SpecError, match="no such order"):
        env.reset([Start(family="train", seed=0, options={"order": 24.0})], ROW)


@pytest.mark.parametrize("options", [{}, {"task": "instruct"}, {"task": "instruct", "unheard": "blocks"}])
def test_the_expert_always_succeeds_also_from_where_random_driving_left_the_table(options):
    env = make("tabletop", num_rows=64, max_episode_steps=200, **options)
    rows, random = np.arange(64), np.random.default_rng(1)
    env.reset(env.starts("test", 64), rows)
    open_rows = rows
    for _ in range(20):
        moves = random.uniform(-0.4, 0.4, (len(open_rows), 3)).astype(np.float32)
        moves[:, 2] = random.random(len(open_rows))
        result = env.step(moves, open_rows)
        open_rows = open_rows[~result.terminated]
    lost = 64 - len(open_rows)
    assert lost < 8  # an instruction is spoilt by a block that fell into some zone
    expert, streams = sh.expert("auto", env), RowStreams.from_seed(0, 64)
    done = 0
    while len(open_rows):
        decision = expert.act(
            env.observe(open_rows), env.privileged(open_rows), open_rows, streams.take(open_rows)
        )
        result = env.step(decision.action, open_rows)
        done += int(result.success[result.terminated].sum())
        assert not result.truncated.any()
        open_rows = open_rows[~result.terminated]
    assert done == 64 - lost


def test_the_expert_brings_the_colours_in_the_order_of_the_start():
    env = make("tabletop", num_rows=48)
    evaluation = sh.evaluate(sh.expert("auto", env), env, starts=48, quiet=True)
    orders = np.array([start.options["order"] for start in evaluation.starts])
    assert sorted(orders) == sorted([*range(24), *range(24)])
    # Now and then the gripper stops above another block on its way, and takes that one.
    assert (evaluation.modes == orders).mean() > 0.9


def asked(env):
    expert = sh.expert("auto", env)
    return expert.act(env.observe(ROW), env.privileged(ROW), ROW, RowStreams.from_seed(0, 1)).action[0]


def test_the_expert_rests_when_all_is_done_and_puts_aside_what_belongs_nowhere():
    done = laid(make("tabletop", num_rows=1), blocks=ZONES, gripper=(0.1, 0.1))
    np.testing.assert_array_equal(asked(done), [0.0, 0.0, 0.0])
    env = laid(make("tabletop", task="instruct", num_rows=1), goal=(-1, LEFT, -1, -1))
    state = env.state(ROW)
    state["held"][0], state["closed"][0] = 0, True
    for place, close in ((ZONES[RIGHT], 1.0), (np.array([0.1, 0.1]), 0.0)):
        state["gripper"][0] = state["blocks"][0, 0] = place
        env.restore(state, ROW)
        vx, vy, closes = asked(env)
        assert closes == close
        assert (vx < 0) == bool(close)  # out of the zone first
        assert vy == 0.0


def test_a_picture_for_people_marks_the_block_and_the_zone_of_an_instruction():
    told = laid(make("tabletop", task="instruct", num_rows=1), goal=(-1, LEFT, -1, -1))
    other = laid(make("tabletop", task="instruct", num_rows=1), goal=(-1, -1, FAR, -1))
    changed = np.abs(told.render(0).astype(int) - other.render(0)).sum(axis=2) > 60
    assert changed[200:280, 100:220].any()  # the left zone has its ring
    assert changed[30:140, 260:380].any()  # the far zone has not


def test_the_goal_is_the_named_colour_and_the_middle_of_the_zone():
    env = make("tabletop", num_rows=64, task="instruct", observation=("goal",))
    rows = np.arange(64)
    env.reset(env.starts("train", 64), rows)
    goals = env.observe(rows)["observation.goal"]
    for text, goal in zip(env.tasks(rows), goals, strict=True):
        (colour,) = [number for number, words in enumerate(COLOURS) if text.split()[2] in words]
        (zone,) = [number for number, words in enumerate(PLACES) if text.split("block ")[1] in words]
        np.testing.assert_array_equal(goal, [*TINTS[colour], *ZONES[zone]])


def test_sorting_has_no_goal_of_its_own():
    with pytest.raises(ConfigError, match="no goal of its own"):
        TabletopConfig(observation=("state", "goal"))
