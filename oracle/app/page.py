"""The page, in Gradio. Every event calls the service and turns what it says into HTML; nothing is decided here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.app import words
from oracle.app.service import Service
from oracle.app.style import STYLE as STYLE
from tracr_tasks.errors import InputError, WeightOracleError

if TYPE_CHECKING:
    from gradio import Blocks
    from gradio.themes import Base

TITLE = "Weight oracle"
LEAD = (
    "Ask a transformer's weights what it does. The oracle reads the weights and never runs the model. Beside each "
    "answer stands what it says to the same question about another model of the same kind: if it reads, they differ."
)
KEPT = 600
"""Seconds after which an upload that nobody read is removed."""
N_EXAMPLES = 12
ANSWER, PARTS, SHAPE = ("wo-answer", "wo-rests", "wo-shape")


def theme() -> Base:
    """Gradio's own, in fonts that are there without a network."""
    from gradio.themes import Default

    found = Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return found.set(block_info_text_color="#5a6068", block_info_text_color_dark="#a4abb3")


def page_of(service: Service) -> Blocks:
    """The page of a service, not yet served."""
    import gradio as gr

    offered = service.catalogue.offered()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.HTML(f'<header class="wo-head"><h1>{TITLE}</h1><p>{LEAD}</p></header>')
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                target = gr.Dropdown(
                    offered,
                    value=offered[0][1],
                    label="Target",
                    info="Choose one, or type ZOO#ID.",
                    allow_custom_value=True,
                    elem_id="wo-target",
                )
                with gr.Accordion("Upload your own", open=False):
                    gr.HTML(
                        '<p class="wo-soft">model.safetensors with its config.json and vocab.json (what '
                        "<code>weight-oracle compile</code> writes), the state dict of a HookedTransformer with its "
                        "config.json, or model.safetensors, config.json and tokenizer.json of a model of transformers. "
                        f"{service.uploads.max_bytes // 1_000_000} MB at most"
                        "; no pickles. Files are removed once they are read.</p>"
                    )
                    files = gr.File(label="Files", file_count="multiple", height=140, elem_id="wo-files")
                    uploaded = gr.HTML(elem_id="wo-uploaded")
                shape = gr.HTML(elem_id=SHAPE)
            with gr.Column(scale=3, min_width=320):
                question = gr.Textbox(label="Question", lines=1, max_lines=4, elem_id="wo-question")
                examples = gr.Dataset(
                    components=[gr.Textbox(visible=False)],
                    samples=[[""]],
                    label="Examples: questions about this target",
                    samples_per_page=N_EXAMPLES,
                    elem_id="wo-examples",
                )
                button = gr.Button("Ask the weights", variant="primary", elem_id="wo-ask")
                answer = gr.HTML(elem_id=ANSWER)
                rests = gr.HTML(elem_id=PARTS)
        said = gr.State("")
        events = Events(service)
        chosen = [shape, examples, question, answer, rests]
        looking = {"concurrency_id": "look", "show_progress": "minimal"}
        asking = {"concurrency_id": "oracle", "show_progress": "minimal"}
        private = {"api_visibility": "private"}
        page.load(events.look, target, chosen, api_name="first", **looking, **private)
        target.change(events.look, target, chosen, api_name="look", **looking)
        files.upload(events.upload, files, [target, files, uploaded], api_name="upload", **looking, **private)
        examples.click(lambda row: row[0], examples, question, api_name="pick", queue=False, **private)
        for name, ask in (("ask", button.click), ("enter", question.submit)):
            asked = ask(events.ask, [target, question], [answer, rests, said], api_name=name, **asking)
            asked.success(events.rest, [target, question, said], rests, api_name=f"{name}-rest", **asking, **private)
    return page


class Events:
    """What happens on the page. What a user did wrong is said in one line where the answer would have been."""

    def __init__(self, service: Service):
        self.service = service

    def look(self, key: str | None) -> tuple[Any, ...]:
        """Shape, examples and the first of them, of a target; empty answers."""
        import gradio as gr

        try:
            look = self.service.look(key or "")
        except WeightOracleError as error:
            return words.notice(error), gr.update(samples=[]), "", "", ""
        samples = [[text] for text in look.examples[:N_EXAMPLES]]
        return words.shape(look), gr.update(samples=samples), look.examples[0], "", ""

    def upload(self, files: Sequence[str] | None) -> tuple[Any, ...]:
        """The target in the files, chosen; the files are removed, and so is their list on the page."""
        import gradio as gr

        paths = [Path(file) for file in files or ()]
        try:
            key = self.service.upload(paths)
        except WeightOracleError as error:
            return gr.update(), None, words.notice(error)
        finally:
            for path in paths:
                shutil.rmtree(path.parent, ignore_errors=True)
        choices = [("your upload", key), *self.service.catalogue.offered()]
        return gr.update(choices=choices, value=key), None, '<p class="wo-soft">Read, and chosen.</p>'

    def ask(self, key: str | None, question: str) -> tuple[str, str, str]:
        """The answers as HTML, nothing yet about what they rest on, and the answer itself."""
        try:
            asked = self.service.ask(key or "", question)
        except WeightOracleError as error:
            return words.notice(error), "", ""
        return words.answers(asked), '<p class="wo-soft">Looking at what it rests on ...</p>', asked.own.said.text

    def rest(self, key: str | None, question: str, said: str) -> str:
        """What the answer rests on, as HTML; nothing where there is no answer."""
        if not said:
            return ""
        try:
            return words.parts(self.service.parts(key or "", question, said))
        except InputError as error:
            return words.notice(error)
