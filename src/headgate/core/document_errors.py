"""What is wrong with a document that somebody sends; a part of the tree in `errors`."""

from headgate.core.errors import Invalid


class DocumentUnreadable(Invalid):
    code = "document_unreadable"
    title = "No text could be made of the file"
    remedy = (
        "The message names the file and what is wrong. PDF, Office, HTML, Markdown and other text in UTF-8 are read."
    )
    typical_param = "file"


class DocumentTooLong(Invalid):
    code = "document_too_long"
    status = 413
    title = "The document's text is longer than one document may be"
    remedy = "Split it, or raise the bound that the message names."
    typical_param = "file"
