"""Facts of docs/fidelity.md that follow from the published numbers, and the document's own references."""

import re
from pathlib import Path

import pytest

from reid_lib.reporting import results

ROOT = Path(__file__).parents[2]
NOTES = ROOT / "docs" / "fidelity.md"


@pytest.fixture(scope="module")
def cell():
    rows = results.published()
    keys = ["paper", "artefact", "dataset", "method", "setting", "metric"]
    values = rows.set_index(keys).value

    def look_up(paper, artefact, dataset, method, metric="rank1", setting=""):
        return values[paper, artefact, dataset, method, setting, metric]

    return look_up


def test_every_test_that_the_notes_name_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", NOTES.read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, name in named:
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_every_note_has_a_source_and_says_what_holds_it():
    lines = [line for line in NOTES.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    notes = [[part.strip() for part in line.strip("|").split("|")] for line in lines if not line.startswith("| note |")]
    assert len(notes) > 40
    for note in notes:
        assert len(note) == 4, note
        assert all(note), note
        assert note[3] in ("not yet tested", "not needed") or note[3].startswith("`tests/"), note


def test_cadnet_l_rec_costs_more_than_l_adv_df(cell):
    left = {loss: cell("cadnet", "Table 3", "MLR-CUHK03", f"w/o {loss}") for loss in ("L_rec", "L_adv^DF", "L_cls")}
    assert left["L_cls"] < left["L_rec"] < left["L_adv^DF"]


def test_cadnet_without_l_cls_has_the_higher_psnr(cell):
    with_it, without = (
        [cell("cadnet", "Table 3", "MLR-CUHK03", method, metric) for metric in ("psnr", "ssim")]
        for method in ("CAD-Net", "w/o L_cls")
    )
    assert without[0] > with_it[0]
    assert without[1] < with_it[1]


def test_lrar_leaves_out_intact_on_caviar(cell):
    assert cell("intact", "Table 1", "CAVIAR", "INTACT") == 44.0
    with pytest.raises(KeyError):
        cell("lrar", "Table I", "CAVIAR", "INTACT")


def test_intact_is_not_first_at_rank10_on_cuhk03(cell):
    ours, cad_net, rain = (
        cell("intact", "Table 1", "MLR-CUHK03", name, "rank10") for name in ("INTACT", "CAD-Net", "RAIN")
    )
    assert ours < rain < cad_net


def test_vpfa_parameter_count_does_not_tell_the_layer_norms(cell):
    d, width = 3840, 2048
    linear = (d * width + width) + 2 * (width * width + width) + (width * d + d)
    layer_norm = 2 * width
    printed = cell("vpfa", "Section 5.4", "", "VPFA", "parameters_million")
    assert [round((linear + n * layer_norm) / 1e6, 2) == printed for n in (3, 2)] == [True, True]


def test_vpfa_canonical_correlations_stay_under_one_half():
    rows = results.published()
    cca = rows[(rows.paper == "vpfa") & rows.metric.str.startswith("cca")]
    assert len(cca) == 18
    assert (cca.value < 0.5).all()


def test_vpfa_shares_are_not_multiples_of_one_in_25():
    rows = results.published()
    shares = rows[rows.metric == "percent_above_0.4"].value
    assert len(shares) == 3
    assert ((shares / 4 - (shares / 4).round()).abs() > 0.05).all()


def test_vpfa_moved_to_market_gains_little_over_its_backbone(cell):
    market = "MLR-Market-1501"
    moved = cell("vpfa", "Table 11", market, "VPFA", setting="trained on MLR-CUHK03")
    assert moved - cell("vpfa", "Table 4a", market, "TransReID") == pytest.approx(0.2)


def test_vpfa_table_7_has_five_identities():
    rows = results.published()
    assert rows[(rows.paper == "vpfa") & (rows.artefact == "Table 7")].setting.nunique() == 5
