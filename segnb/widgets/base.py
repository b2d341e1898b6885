"""What every segnb widget shares: its files, its messages, its errors and its picture for places without a kernel.

    Python ── traits (text, numbers, base64 pictures) ──▶ JavaScript     state: survives a reload of the page
    Python ◀── {"type": "set", "values": {...}} ───────── JavaScript     what was clicked; answered by "done"
    Python ◀── {"type": "stop"} and the like ─────────── JavaScript     commands: run even while a cell is busy
    Python ── figure_png() ──▶ image/png and text/html                   GitHub, nbviewer, nbconvert

Pictures travel as base64 text, because Colab drops the binary buffers that a widget sends when it is made.
"""

from __future__ import annotations

import base64
import html
import io
import sys
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from PIL import Image

from segnb.draw import few_colours
from segnb.errors import SegnbError

FOLDER = Path(__file__).parent
HINT = "Run this cell in JupyterLab, Notebook, VS Code or Colab to use it."  # where only the picture is shown


def stopping() -> str:
    """Say how a training cell can be stopped in this front end.

    Returns:
        ``"buttons"`` if the kernel answers widgets while a cell is busy (ipykernel 7 with subshells);
        ``"interrupt"`` if only the notebook's own interrupt (or Ctrl-C) gets through: ipykernel 6, Colab, VS Code,
        a terminal.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return "interrupt"
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None or "__vsc_ipynb_file__" in shell.user_ns:  # VS Code opens no subshell
        return "interrupt"
    features = kernel.kernel_info.get("supported_features", [])
    return "buttons" if "kernel subshells" in features else "interrupt"


def data_url(picture: bytes, kind: str) -> str:
    """Write an encoded picture as text that an ``<img>`` can show.

    Args:
        picture: the bytes of the file.
        kind: ``"jpeg"``, ``"png"`` or ``"webp"``.

    Returns:
        A ``data:`` URL.
    """
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def scripts_of(kind: type[SegnbWidget]) -> list[Path]:
    """Find the scripts of a widget: those that it names, from its own folder or the shared one, and the one beside its module.

    Args:
        kind: a widget's class.

    Returns:
        Files of JavaScript in the order in which they are put together; none if the class has no script of its own.
    """
    module = Path(sys.modules[kind.__module__].__file__)
    own = module.with_suffix(".js")
    folders = (module.parent, FOLDER)
    named = [next(f for folder in folders if (f := folder / f"{name}.js").exists()) for name in kind.scripts]
    return [*named, own] if own.exists() else []


class SegnbWidget(anywidget.AnyWidget):
    """A widget that loads ``<module>.js`` and ``<module>.css`` beside it and shows its errors instead of hiding them.

    A subclass gives ``describe()``, ``figure_png()`` and ``as_code()``, names in ``settable`` the traits that a click may
    change, and answers other messages of the browser in ``on_command``.
    """

    settable: ClassVar[tuple[str, ...]] = ()
    scripts: ClassVar[tuple[str, ...]] = ("shared",)  # put before the widget's own; "stage" shows pictures

    _ipython_display_ = None  # ipywidgets 7 would show itself through this and skip the picture below

    error = traitlets.Unicode("").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a widget of this package its script and style, the shared ones first."""
        own = "_esm" not in cls.__dict__  # anywidget makes a subclass for each instance, with _esm as a trait
        scripts = scripts_of(cls) if own and cls.__module__.startswith(__package__) else []
        if scripts:
            styles = [path.with_suffix(".css") for path in scripts if path.with_suffix(".css").exists()]
            cls._esm = "\n".join(path.read_text("utf-8") for path in scripts)
            cls._css = "\n".join(path.read_text("utf-8") for path in styles)
        super().__init_subclass__(**kwargs)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # ipykernel 7.4.0 sends a browser's message back to the shell that last wrote on this comm: while a cell trains
        # that is the busy one, and Stop would wait for the end of training. Always take the free subshell instead.
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = lambda _data, default: default
        self.on_msg(self._receive)

    def describe(self) -> str:
        """Say in one line what is shown; it becomes the picture's alternative text and the ``repr``."""
        return type(self).__name__

    def figure_png(self) -> bytes:
        """Draw the picture that stands for this widget where no kernel runs.

        Returns:
            The bytes of a PNG file, or ``b""`` while there is nothing to show.
        """
        return b""

    def as_code(self) -> str:
        """Write what was clicked as Python code, for the button "Copy as code".

        Returns:
            Lines that can be pasted into a cell.
        """
        return ""

    def on_command(self, message: dict[str, Any]) -> None:
        """Answer a message of the browser; on ipykernel 7 this runs on another thread while a cell is busy.

        Args:
            message: what the script sent; ``message["type"]`` names the command.
        """

    def show_error(self, problem: Exception) -> None:
        """Show a problem inside the widget: an exception in a callback is otherwise invisible in a notebook.

        Args:
            problem: what was raised.
        """
        self.error = ""  # the same problem a second time must reach the page, too
        self.error = f"{type(problem).__name__}: {problem}"

    def _receive(self, _widget: Any, message: dict[str, Any], _buffers: Any) -> None:
        try:
            if message.get("type") == "set":
                self._set(message["values"])
            elif message.get("type") == "code":
                self.send({"type": "code", "text": self.as_code()})
            elif message.get("type") == "ready":
                self.send({"type": "alive"})  # tells a view that commands get through, busy cell or not
            else:
                self.on_command(message)
        except Exception as problem:
            self.show_error(problem)

    def _set(self, values: dict[str, Any]) -> None:
        """Take over what was clicked; the browser waits for "done" and then follows the traits as they stand."""
        try:
            self._take(values)
        finally:
            self.send({"type": "done"})

    def _take(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name not in self.settable:
                raise SegnbError(f"{name!r} cannot be set from the page; these can: {', '.join(self.settable)}")
            setattr(self, name, value)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})  # ipywidgets: a dict, anywidget: a pair
        picture = self.figure_png()
        alternative = html.escape(self.describe(), quote=True)
        data["text/plain"] = f"{self.describe().rstrip('.')}. {HINT}"
        data["text/html"] = f"<p>{alternative.rstrip('.')}. {HINT}</p>"
        if picture:
            small, smaller = _compress(picture)
            source = data_url(smaller, "webp")
            data["image/png"] = base64.b64encode(small).decode("ascii")
            data["text/html"] = f'<img alt="{alternative}" style="max-width:100%" src="{source}"><p>{HINT}</p>'
        return data, metadata

    def __repr__(self) -> str:
        return self.describe()  # no memory address: it would differ in every saved notebook


def _compress(picture: bytes) -> tuple[bytes, bytes]:
    """A PNG -> the same as PNG of 96 colours and as WebP: a notebook keeps both, and must stay small."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    webp = io.BytesIO()
    image.save(webp, format="WEBP", quality=80, method=2)
    return few_colours(image), webp.getvalue()
