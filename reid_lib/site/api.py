"""The API's pages, made from the docstrings by pdoc."""

import importlib
import pkgutil
import tempfile
import warnings
from pathlib import Path

import reid_lib
from reid_lib.site.links import SiteError

FIRST = "api/reid_lib.html"  # counted from the site's folder
# pdoc's page, with a way back to the other pages
_TEMPLATE = """{% extends "default/module.html.jinja2" %}
{% block nav_title %}
<a class="pdoc-button" href="{{ "../" * (module.modulename.count(".") + 1) }}index.html">Results and notebooks</a>
{% endblock %}
"""


def build(out: Path) -> None:
    """Write one page for each module of the package into the folder `out`.

    Raises SiteError when pdoc is not installed. Its warnings (a docstring, a type or a link that it cannot read) are
    raised.
    """
    try:
        import pdoc
    except ImportError as error:
        raise SiteError("the API's pages need pdoc: pip install -e '.[dev]'") from error
    names = [module.name for module in pkgutil.walk_packages(reid_lib.__path__, "reid_lib.")]
    for name in names:
        if not name.endswith(".__main__"):
            importlib.import_module(name)  # pdoc would import it with less, and warn
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        (Path(folder) / "module.html.jinja2").write_text(_TEMPLATE, encoding="utf-8")
        pdoc.render.configure(docformat="google", template_directory=Path(folder))
        pdoc.pdoc("reid_lib", r"!reid_lib\.__main__", output_directory=out)
