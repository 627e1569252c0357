"""The papers, one file each: artefacts, claims and statements; here they stand together.

Who needs one paper alone imports its own file.
"""

from reid_lib.reporting.artefacts import Artefact, Paper
from reid_lib.reporting.claims import Claim
from reid_lib.reporting.papers import baselines, cadnet, comparison, drfm, intact, lrar, vpfa
from reid_lib.reporting.statements import Statement

_FIVE = (cadnet, lrar, intact, drfm, vpfa)

PAPERS: dict[str, Paper] = {
    module.PAPER.key: module.PAPER for module in (cadnet, intact, lrar, drfm, vpfa, baselines, comparison)
}
ARTEFACTS: tuple[Artefact, ...] = tuple(
    entry for module in (baselines, *_FIVE, comparison) for entry in module.ARTEFACTS
)
CLAIMS: tuple[Claim, ...] = tuple(claim for module in _FIVE for claim in module.CLAIMS)
STATEMENTS: tuple[Statement, ...] = tuple(statement for module in _FIVE for statement in module.STATEMENTS)
# (paper, artefact, method, setting) -> method
SAME_METHOD = {(m.PAPER.key, *place): method for m in _FIVE for place, method in m.SAME_METHOD.items()}
