"""The web page: choose a target or upload one, ask about it, and see what another target's weights would have said.

    config.py      the options of `weight-oracle app`, and the call that serves it
    catalogue.py   targets of zoos, what is known of them, and which one stands beside another
    uploads.py     files of strangers: checked, read, and gone
    recognise.py   a question in words -> the question with its truth, where that is known
    service.py     everything that the page can be asked, without a page
    circuits.py    the circuits of a target's heads in the token basis, as a picture
    words.py       answers as HTML, every name in them escaped
    page.py        the page itself, in Gradio
    gate.py        what the server lets through: a list of paths, sizes of requests, a policy for browsers
    server.py      the page on a port, with a folder for uploads that is removed at the end

Nothing here needs the network, in the server or in the browser. Gradio is imported by the functions that need it.
"""
