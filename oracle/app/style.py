"""The look of the page beyond Gradio's own, light and dark, from a phone to a wide screen.

Each rule for the dark has one selector: of a list, Gradio knows `.dark` in the first alone.
"""

STYLE = """
.gradio-container { max-width: 84rem !important; margin: 0 auto; }
.wo-head h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
.wo-head p { max-width: 52rem; margin: 0; }
.wo-soft, .wo-facts dt, .wo-lines dd, .wo-circuits figcaption { color: #5a6068; }
.dark .wo-soft { color: #a4abb3; }
.dark .wo-facts dt { color: #a4abb3; }
.dark .wo-lines dd { color: #a4abb3; }
.dark .wo-circuits figcaption { color: #a4abb3; }
#wo-target input { text-overflow: ellipsis; padding-right: 1.9rem; }
.wo-soft { margin: .2rem 0; }
.wo-facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; margin: .4rem 0; }
.wo-facts dd { margin: 0; overflow-wrap: anywhere; }
.wo-circuits { margin: .8rem 0 0; }
.wo-circuits img { display: block; width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
.wo-circuits figcaption { font-size: .86rem; margin-top: .4rem; }
.wo-notice { border-left: 4px solid #b23c00; padding: .5rem .8rem; margin: .4rem 0; overflow-wrap: anywhere;
  background: var(--background-fill-secondary); }
.wo-question { font-weight: 600; overflow-wrap: anywhere; margin: .4rem 0 .6rem; }
.wo-cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: .8rem; }
.wo-card, .wo-truth, .wo-program, .wo-parts { min-width: 0; border: 1px solid var(--border-color-primary);
  border-radius: 6px; padding: .6rem .8rem; background: var(--background-fill-secondary); }
.wo-card { border-left: 4px solid var(--border-color-primary); }
.wo-own { border-left-color: #0072b2; }
.wo-truth, .wo-program, .wo-parts { margin-top: .8rem; }
.wo-card h3, .wo-truth h3, .wo-program h3, .wo-parts h3 { margin: 0 0 .2rem; font-size: 1rem; overflow-wrap: anywhere; }
.wo-card p { margin: .25rem 0; overflow-wrap: anywhere; }
.wo-card pre, .wo-truth pre, .wo-program pre { margin: .3rem 0; padding: .4rem .6rem; white-space: pre-wrap;
  overflow-wrap: anywhere; unicode-bidi: isolate; font-size: .86rem; line-height: 1.45; border-radius: 4px;
  font-family: ui-monospace, "DejaVu Sans Mono", monospace; background: var(--background-fill-primary); }
.wo-meter, .wo-track { display: block; height: .5rem; border-radius: .25rem; background: var(--border-color-primary);
  overflow: hidden; }
.wo-meter span, .wo-track span { display: block; height: 100%; background: #0072b2; }
.wo-other .wo-meter span, .wo-control .wo-track span { background: #767676; }
.wo-right { color: #00734f; }
.wo-wrong { color: #b23c00; }
.dark .wo-right { color: #45c79c; }
.dark .wo-wrong { color: #ff9a66; }
.wo-card details, .wo-program details { margin-top: .3rem; }
.wo-card summary, .wo-program summary, .wo-circuits summary { cursor: pointer; }
.wo-lines { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: .1rem 1rem; margin: .4rem 0; }
@media (max-width: 640px) { .wo-lines { grid-template-columns: minmax(0, 1fr); } }
.wo-lines dt { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .86rem; overflow-wrap: anywhere; }
.wo-lines dd { margin: 0; font-size: .86rem; overflow-wrap: anywhere; }
.wo-tree ul { list-style: none; margin: 0 0 0 .7rem; padding: 0; border-left: 2px solid var(--border-color-primary); }
.wo-tree li { margin: .3rem 0 .3rem .6rem; }
.wo-node, .wo-leaf { display: inline-block; padding: .15rem .6rem; border: 1px solid var(--border-color-primary);
  background: var(--background-fill-primary); overflow-wrap: anywhere; }
.wo-leaf { border-radius: 1rem; }
.wo-yes, .wo-no { display: inline-block; min-width: 2.2rem; font-size: .86rem; }
.wo-yes { color: #00734f; }
.wo-no { color: #b23c00; }
.dark .wo-yes { color: #45c79c; }
.dark .wo-no { color: #ff9a66; }
.wo-bar { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr) 3.6rem; gap: .6rem; align-items: center;
  margin: .2rem 0; }
.wo-part { overflow-wrap: anywhere; }
.wo-rise { text-align: right; font-variant-numeric: tabular-nums; }
#wo-examples .gallery { gap: .4rem; }
#wo-examples .gallery-item { max-width: 100%; text-align: left; white-space: normal; }
#wo-examples .gallery-item div { white-space: normal; overflow-wrap: anywhere; }
"""
