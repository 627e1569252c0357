"""Which sentences are said, by made-up rows of each kind."""

from collections.abc import Mapping

import pandas as pd
import pytest

from reid_lib.reporting import results, sentences, tables

Cell = str | tuple[str, str]  # method, or method and setting
ONE_SEED = "One seed: indicative."


def rows(
    values: Mapping[Cell, float],
    metric: str = "rank1",
    half: float | None = 1.0,
    seeds: int | None = 3,
    artefact: str = "Table II",
) -> pd.DataFrame:
    """Rows whose interval over seeds is value +- half; without `seeds` nothing was trained."""
    cells = [(key, "") if isinstance(key, str) else key for key in values]
    made = [
        {"method": method, "setting": setting, "metric": metric, "value": value, "seed": seed, "trials": 10}
        | ({} if half is None else {"low": value - half, "high": value + half})
        for (method, setting), value in zip(cells, values.values(), strict=True)
        for seed in (range(seeds) if seeds else [None])
    ]
    frame = pd.DataFrame(made).assign(paper="lrar", artefact=artefact, dataset="synth", profile="demo")
    return results.check_rows(frame.reindex(columns=list(results.COLUMNS)))


METHODS = {"LRAR": 63.0, "w/o mask": 60.0, "HR + LR": 55.0}
NAMES = list(METHODS)


def ranking(values: Mapping[Cell, float], names: list[str] = NAMES, **options: object) -> str:
    made = {name: options.pop(name) for name in ("half", "seeds", "metric") if name in options}
    metric = made.get("metric", "rank1")
    return sentences.ranking(rows(values, **made), metric, names, **options)


def test_a_clear_lead() -> None:
    assert ranking(METHODS, yardstick="HR + LR") == (
        "LRAR has the highest Rank-1, 63.0 [62.0, 64.0]. It leads w/o mask, the second, by 3.0 points [1.6, 4.4]. "
        "It leads HR + LR, the yardstick, by 8.0 points [6.6, 9.4]."
    )


def test_a_lead_that_the_interval_does_not_decide() -> None:
    said = ranking(METHODS, half=3.0)
    assert "the second, by 3.0 points [-1.2, 7.2] (the interval holds 0: undecided)." in said
    assert "yardstick" not in said


def test_a_lead_in_one_training() -> None:
    assert ranking(METHODS, seeds=1).endswith(f"by 3.0 points [1.6, 4.4]. {ONE_SEED}")
    assert ONE_SEED not in ranking(METHODS, seeds=None)
    third = pd.concat([rows(METHODS), rows({"naive": 10.0}, seeds=1)])
    assert ONE_SEED not in sentences.ranking(third, "rank1", [*NAMES, "naive"])  # nothing is said of it


def test_a_lead_without_intervals() -> None:
    assert "the second, by 3.0 points." in ranking(METHODS, half=None, seeds=None)
    assert "by 0.0 points." in ranking(dict.fromkeys(NAMES, 50.0), half=None, seeds=None)


def test_the_yardstick_first_or_second() -> None:
    first = ranking({"LRAR": 50.0, "HR + LR": 60.0}, ["LRAR"], yardstick="HR + LR")
    assert first == (
        "HR + LR has the highest Rank-1, 60.0 [59.0, 61.0]. It leads LRAR, the second, by 10.0 points [8.6, 11.4]. "
        "It is the yardstick: no other method is above it."
    )
    second = ranking({"LRAR": 60.0, "HR + LR": 50.0}, ["LRAR"], yardstick="HR + LR")
    assert second.endswith("It leads HR + LR, the second and the yardstick, by 10.0 points [8.6, 11.4].")


def test_methods_that_are_not_measured() -> None:
    said = ranking(METHODS, [*NAMES, "w/o val", "SING"], yardstick="HR only")
    assert said.endswith("Not measured: w/o val, SING and HR only.")
    assert ranking({"LRAR": 1.0}) == "There are not two methods to compare. Not measured: w/o mask and HR + LR."
    nothing = sentences.ranking(rows(METHODS)[:0], "rank1", ["a", "b"])
    assert nothing == "There are not two methods to compare. Not measured: a and b."


def test_lower_is_better_for_lpips_and_units_follow_the_metric() -> None:
    said = ranking({"a": 0.2, "b": 0.3}, ["a", "b"], metric="lpips", half=0.01)
    assert said == "a has the lowest LPIPS, 0.200 [0.190, 0.210]. It leads b, the second, by 0.100 [0.086, 0.114]."
    said = ranking({"a": 20.0, "b": 18.0}, ["a", "b"], metric="psnr", half=0.1)
    assert "It leads a" not in said
    assert "by 2.0 dB [1.9, 2.1]." in said


def test_rows_of_several_settings_must_be_chosen_from() -> None:
    several = rows({("a", "r = 2"): 50.0, ("b", "r = 2"): 40.0, ("a", "r = 4"): 10.0, ("b", "r = 4"): 20.0})
    with pytest.raises(results.ResultsError, match=r"one setting at a time, found \['r = 2', 'r = 4'\]"):
        sentences.ranking(several, "rank1", ["a", "b"])
    assert sentences.ranking(several, "rank1", ["a", "b"], setting="r = 4").startswith("b has the highest")
    with pytest.raises(results.ResultsError, match="one dataset at a time"):
        sentences.ranking(pd.concat([several, several.assign(dataset="viper")]), "rank1", ["a"], setting="r = 4")
    with pytest.raises(results.ResultsError, match="one artefact at a time"):
        sentences.by_rate(pd.concat([several, several.assign(artefact="Table I")]), ["r = 2", "r = 4"], "a")


PARTS = {"CAD-Net": 40.0, "w/o L_cls": 10.0, "w/o L_rec": 35.0, "w/o L_adv^DF": 39.5, "LR, bicubic": 20.0}


def test_parts_that_cost_and_parts_of_which_it_cannot_be_told() -> None:
    assert sentences.ablation(rows(PARTS), "CAD-Net") == (
        "Rank-1 falls most without L_cls, by 30.0 points [28.6, 31.4]; it also falls without L_rec, by 5.0 points "
        "[3.6, 6.4]. Whether Rank-1 changes without L_adv^DF (-0.5 points [-1.9, 0.9]) cannot be told: the interval "
        "holds 0. No removal is seen to help."
    )


def test_a_removal_that_helps() -> None:
    said = sentences.ablation(rows({"CAD-Net": 40.0, "w/o L_cls": 10.0, "w/o L_adv^DF": 45.0}), "CAD-Net")
    assert said.endswith("It rises without L_adv^DF, by 5.0 points [3.6, 6.4]: there a removal helps.")


def test_no_part_that_costs() -> None:
    made = rows({"CAD-Net": 40.0, "w/o L_cls": 35.0, "LR, bicubic": 39.0}, half=10.0, seeds=1)
    assert sentences.ablation(made, "CAD-Net", without=["w/o L_cls", "LR, bicubic"]) == (
        "No part of CAD-Net costs Rank-1 when it is removed, as far as the intervals can tell. Whether Rank-1 "
        "changes without L_cls (-5.0 points [-19.1, 9.1]) and for LR, bicubic (-1.0 points [-15.1, 13.1]) cannot be "
        f"told: the intervals hold 0. No removal is seen to help. {ONE_SEED}"
    )


def test_parts_by_lpips() -> None:
    said = sentences.ablation(rows({"a": 0.2, "w/o b": 0.4, "w/o c": 0.1}, "lpips", 0.01), "a", "lpips")
    assert said.startswith("LPIPS rises most without b, by 0.200 [0.186, 0.214].")
    assert said.endswith("It falls without c, by 0.100 [0.086, 0.114]: there a removal helps.")


def test_parts_that_are_not_measured() -> None:
    said = sentences.ablation(rows(PARTS), "CAD-Net", without=["w/o L_cls", "w/o L_adv^DI"])
    assert said.endswith("No removal is seen to help. Not measured: w/o L_adv^DI.")
    alone = sentences.ablation(rows({"w/o L_cls": 1.0}), "CAD-Net")
    assert alone == "What the parts of CAD-Net are worth cannot be told. Not measured: CAD-Net."


RATES = ["HR->HR", "r = 2", "r = 4"]
BY_RATE = dict(zip([("HR only", rate) for rate in RATES], (80.0, 70.0, 30.0), strict=True))


def test_a_loss_by_rate() -> None:
    assert sentences.by_rate(rows(BY_RATE), RATES, "HR only") == (
        "HR only loses 50.0 points [48.6, 51.4] of Rank-1 from HR->HR to r = 4. The largest loss of a step is "
        "40.0 points [38.6, 41.4], from r = 2 to r = 4."
    )


def test_a_gain_and_an_undecided_loss_by_rate() -> None:
    said = sentences.by_rate(rows(BY_RATE), RATES[::-1], "HR only")
    assert said == "HR only gains 50.0 points [48.6, 51.4] of Rank-1 from r = 4 to HR->HR."
    said = sentences.by_rate(rows(BY_RATE, half=12.0, seeds=1), RATES[:2], "HR only")
    assert said == (
        "HR only loses 10.0 points [-7.0, 27.0] of Rank-1 from HR->HR to r = 2 (the interval holds 0: undecided). "
        "One seed: indicative."
    )


def test_rates_that_are_not_measured() -> None:
    said = sentences.by_rate(rows(BY_RATE), [*RATES, "r = 8"], "HR only")
    assert "from HR->HR to r = 4." in said
    assert said.endswith("Not measured: HR only at r = 8.")
    said = sentences.by_rate(rows(BY_RATE), RATES[:2], "LRAR")
    assert said == "What LRAR loses cannot be told. Not measured: LRAR at HR->HR and LRAR at r = 2."


def on_field(over_control: float | None, over_yardstick: float | None, **options: object) -> str:
    own, parts = ("LRAR", "MLR {2,3,4}"), [rows({("HR + LR", "MLR {2,3,4}"): 40.0}, artefact=tables.ONE_FIELD)]
    gains = {"rank1_over_control_gain": over_control, "rank1_gain": over_yardstick}
    for metric, value in gains.items():
        if value is not None:
            parts.append(rows({own: value, (own[0], "r = 2"): 0.0}, metric, artefact=tables.ONE_FIELD, **options))
    both = pd.concat([*parts, rows({own: 1.0}, "rank1_gain")], ignore_index=True)  # another artefact takes no part
    return sentences.field(both, "LRAR", "IDE + Verif", "HR + LR")


@pytest.mark.parametrize(
    ("over_control", "over_yardstick", "said"),
    [
        (3.0, 2.0, "What the method adds pays, and it is better than a plain network trained alike."),
        (3.0, -2.0, "What the method adds pays, and a plain network trained alike is better."),
        (-3.0, 0.5, "What the method adds costs Rank-1, and whether it is better than a plain network"),
        (0.5, 2.0, "Whether what the method adds pays cannot be told, and it is better than a plain network"),
    ],
)
def test_gains_on_one_field(over_control: float, over_yardstick: float, said: str) -> None:
    assert said in on_field(over_control, over_yardstick)


def test_gains_on_one_field_have_their_own_interval() -> None:
    assert on_field(3.0, -0.5).startswith(
        "Under MLR {2,3,4}, the Rank-1 of LRAR is 3.0 points [2.0, 4.0] above that of IDE + Verif (its control) and "
        "0.5 points [-0.5, 1.5] below that of HR + LR (the yardstick; the interval holds 0: undecided)."
    )


def test_one_training_on_one_field_has_no_conclusion() -> None:
    assert on_field(3.0, 2.0, seeds=1).endswith(f"above that of HR + LR (the yardstick). {ONE_SEED}")


def test_gains_that_are_not_measured() -> None:
    said = on_field(3.0, None)
    assert said.endswith("(its control). Not measured: the gain of LRAR over HR + LR (the yardstick).")
    assert on_field(None, None) == (
        "Not measured: the gain of LRAR over IDE + Verif (its control) and HR + LR (the yardstick)."
    )


def test_a_control_that_is_the_yardstick() -> None:
    own = rows({("HR + LR + VPFA", "genuine LR"): -2.0}, "rank1_gain", artefact=tables.ONE_FIELD)
    own = pd.concat([own, rows({("HR + LR", "genuine LR"): 9.0}, artefact=tables.ONE_FIELD)])
    assert sentences.field(own, "HR + LR + VPFA", "HR + LR", "HR + LR") == (
        "Under genuine LR, the Rank-1 of HR + LR + VPFA is 2.0 points [1.0, 3.0] below that of HR + LR (its control "
        "and yardstick). What the method adds costs Rank-1."
    )


def test_the_result_is_one_sentence_with_its_trainings() -> None:
    own, metrics = ("LRAR", "MLR {2,3,4}"), {"rank1_over_control_gain": 3.0, "rank1_gain": -2.0}
    others = rows({("HR + LR", own[1]): 40.0, ("HR + LR", "r = 2"): 50.0}, artefact=tables.ONE_FIELD)

    def told(**options: object) -> str:
        gains = [rows({own: value}, metric, artefact=tables.ONE_FIELD, **options) for metric, value in metrics.items()]
        return sentences.result(pd.concat([others, *gains]), "LRAR", "IDE + Verif", "HR + LR")

    said = (
        "Under MLR {2,3,4}, the Rank-1 of LRAR is 3.0 points [2.0, 4.0] above that of IDE + Verif (its control) and "
        "2.0 points [1.0, 3.0] below that of HR + LR (the yardstick), in "
    )
    assert told(seeds=1) == f"{said}one training."
    three = told(seeds=3)
    assert three.endswith(", in 3 trainings.")
    assert three.count(". ") == 0


def test_a_result_before_anything_is_measured() -> None:
    nothing = pd.DataFrame(columns=[*results.COLUMNS, "folder_dataset"])
    said = "What LRAR gains is not measured here yet: the cells below do it."
    assert sentences.result(nothing, "LRAR", "IDE + Verif", "HR + LR") == said
    assert sentences.result(rows({("LRAR", ""): 1.0}), "LRAR", "IDE + Verif", "HR + LR") == said


# ---- INTACT's own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("with_critic", "said"),
    [
        (9.0, "It is larger with the critic."),
        (1.0, "It is smaller with the critic."),
        (5.5, "The intervals do not tell which."),
    ],
)
def test_the_gradient_with_and_without_a_critic(with_critic: float, said: str) -> None:
    found = rows({("INTACT", "L_id"): with_critic, ("GAN", "L_id"): 5.0, ("INTACT", "L_dis"): 2.0}, "first_gradient")
    told = sentences.gradient(found, "INTACT", "GAN", "L_id")
    assert said in told
    assert "The gradient of L_id in the first layers is " in told
    assert sentences.gradient(found, "INTACT", "GAN", "L_dis") == "Not measured: GAN."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((60.0, 70.0), "It is above chance everywhere: a small value is a sign of a right match."),
        ((50.5, 70.0), "It is above chance in some groups only: a weak sign of a right match."),
        ((50.5, 40.0), "It is nowhere above chance: a small value is no sign of a right match."),
    ],
)
def test_a_sign_of_success(values: tuple[float, float], said: str) -> None:
    found = rows({("INTACT", f"r = {rate}"): value for rate, value in zip((2, 3), values, strict=True)}, "auc_percent")
    assert said in sentences.sign(found)


def test_no_sign_of_success_is_measured() -> None:
    assert sentences.sign(rows({"INTACT": 1.0}, "mean_right")).startswith("Not measured")
