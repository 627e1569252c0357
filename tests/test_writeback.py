"""Outputs of an executed notebook in the committed one."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reid_lib import writeback

PARAMETERS = 'profile: str = "demo"  # smoke, demo or paper\nseeds: tuple = (0,)  # seeds'


def _executed(root: Path) -> nbformat.NotebookNode:
    """A copy as papermill leaves it, with everything that differs from run to run."""
    html = '<style>#T_3fa9c_row0 { }</style><table id="T_3fa9c">'
    outputs = [
        new_output(
            "stream",
            name="stderr",
            text="\r 10%|#    | 1/10 [00:01<00:09]\rEpoch 100%|#####| 10/10 [00:10]\n",
        ),
        new_output("stream", name="stdout", text="one\n"),
        new_output("stream", name="stderr", text=f"{root}/reid_lib/x.py:3: UserWarning: odd\n"),
        new_output("stream", name="stdout", text="two\n"),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%| |"}),
        new_output("display_data", {"image/png": "aGVsbG8=", "text/plain": "<Figure at 0x7f12ab34cd56>"}),
        new_output("execute_result", {"text/html": html, "text/plain": f"{Path.home()}/x"}, execution_count=7),
    ]
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A title"),
            new_code_cell(PARAMETERS, execution_count=1, metadata={"papermill": {"duration": 0.1}}),
            new_code_cell("seeds = [0]", execution_count=2, metadata={"tags": ["injected-parameters"]}),
            new_code_cell("", execution_count=None),
            new_code_cell("work()", execution_count=7, outputs=outputs),
        ],
        metadata={"papermill": {"duration": 1.5}, "widgets": {"state": {}}},
    )
    return notebook


def test_outputs_written_back_are_the_same_for_equal_runs(tmp_path: Path) -> None:
    own = new_notebook(
        cells=[
            new_markdown_cell("# A title, mended since"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"], "collapsed": False}),
            new_code_cell(""),
            new_code_cell("work()", metadata={"tags": ["table:x"]}),
        ]
    )
    result = writeback.transplant(own, _executed(tmp_path), tmp_path)

    nbformat.validate(result)
    assert [cell.id for cell in result.cells] == [cell.id for cell in own.cells]
    assert result.cells[0].source == "# A title, mended since"
    assert [cell.execution_count for cell in result.cells[1:]] == [1, None, 2]
    assert [dict(cell.metadata) for cell in result.cells[1:]] == [
        {"tags": ["parameters"]},
        {},
        {"tags": ["table:x"]},
    ]
    assert result.metadata.keys() == {"kernelspec", "language_info"}
    stdout, warning, more, figure, table = result.cells[3].outputs
    assert (stdout.text, more.text) == ("one\n", "two\n")
    assert warning.text == "./reid_lib/x.py:3: UserWarning: odd\n"
    assert figure.data == {"image/png": "aGVsbG8=", "text/plain": "<Figure at 0x...>"}
    assert table.data["text/html"] == '<style>#T_0_row0 { }</style><table id="T_0">'
    assert table.data["text/plain"] == "~/x"
    assert table.execution_count == 2
    assert str(tmp_path) not in nbformat.writes(result)


def test_what_a_finished_line_of_progress_leaves_is_dropped(tmp_path: Path) -> None:
    outputs = [
        new_output("display_data", {"text/plain": ""}),
        new_output("display_data", {"text/plain": " \n"}),
        new_output("display_data", {}),
        new_output("stream", name="stdout", text="one\n"),
        new_output("display_data", {"text/plain": "", "text/html": "<p>kept</p>"}),
        new_output("display_data", {"text/plain": "kept"}),
        new_output("execute_result", {"text/plain": ""}, execution_count=1),
    ]
    executed = new_notebook(cells=[new_code_cell("work()", execution_count=1, outputs=outputs)])
    (cell,) = writeback.transplant(new_notebook(cells=[new_code_cell("work()")]), executed, tmp_path).cells
    assert [output.output_type for output in cell.outputs] == [
        "stream", "display_data", "display_data", "execute_result"
    ]  # fmt: skip
    assert "kept" in cell.outputs[1].data["text/html"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\r  0%|   | 0/5\r100%|###| 5/5 [00:00]\n", ""),
        ("\rembed: 40%|##  | 2/5\r          \rwarned\n", "warned\n"),
        ("\r12it [00:01, 9it/s]\n", ""),
        ("\r50%|#  |\r      \r\nrank1 is 40% | of all\n", "rank1 is 40% | of all\n"),
        ("one\n\ntwo\n", "one\n\ntwo\n"),
    ],
)
def test_progress_bars_are_dropped(text: str, left: str) -> None:
    assert writeback._without_progress(text).lstrip("\n") == left


def test_outputs_of_other_code_are_not_written_back(tmp_path: Path) -> None:
    own = new_notebook(cells=[new_code_cell("something_else()")])
    with pytest.raises(ValueError, match="changed since it was run"):
        writeback.transplant(own, _executed(tmp_path), tmp_path)


def test_a_mended_comment_does_not_forbid_writing_back(tmp_path: Path) -> None:
    sources = [PARAMETERS + " of the training", "", "work()  # mended"]
    own = new_notebook(cells=[new_code_cell(source) for source in sources])
    result = writeback.transplant(own, _executed(tmp_path), tmp_path)
    assert [cell.source for cell in result.cells] == sources
    assert result.cells[2].outputs[0].text == "one\n"
