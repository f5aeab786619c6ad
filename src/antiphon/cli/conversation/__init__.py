"""`antiphon chat` at a terminal: the chat above, a line to type on below.

`open_chat` is one chat over the API, without a terminal; `commands`, `asking`, `attachments`, `status_line` and
`history_file` have no terminal either. `prompt_screen` is the terminal (prompt_toolkit), and `talk` connects the two.
"""
