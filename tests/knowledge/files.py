"""Small files of every kind that is read, each saying the same, and some that mean harm."""

import io
import zipfile

WORDS = "The lighthouse keeper counts the ships"
TITLE = "Log of the keeper"
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"


def packed(**files: str) -> bytes:
    """A ZIP file; names with `__` for a slash."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def office(**files: str) -> bytes:
    types = "".join(f'<Default Extension="{one}" ContentType="application/xml"/>' for one in ("xml", "rels"))
    return packed(**{"[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{types}</Types>', **files})


def relations(*of: tuple[str, str]) -> str:
    rows = "".join(f'<Relationship Id="rId{n}" Type="{_REL}/{k}" Target="{t}"/>' for n, (k, t) in enumerate(of, 1))
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def docx(text: str = WORDS) -> bytes:
    body = f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
    return office(
        **{
            "_rels/.rels": relations(("officeDocument", "word/document.xml")),
            "word/document.xml": f'<w:document xmlns:w="{_W}"><w:body>{body}</w:body></w:document>',
        }
    )


def xlsx() -> bytes:
    cell = f'<row r="1"><c r="A1" t="inlineStr"><is><t>{WORDS}</t></is></c></row>'
    sheets = f'<sheets><sheet name="One" sheetId="1" r:id="rId1" xmlns:r="{_REL}"/></sheets>'
    return office(
        **{
            "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": f'<workbook xmlns="{_S}">{sheets}</workbook>',
            "xl/_rels/workbook.xml.rels": relations(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_S}"><sheetData>{cell}</sheetData></worksheet>',
        }
    )


def pptx() -> bytes:
    shape = f"<p:sp><p:txBody><a:p><a:r><a:t>{WORDS}</a:t></a:r></a:p></p:txBody></p:sp>"
    names = f'xmlns:p="{_P}" xmlns:a="{_A}" xmlns:r="{_REL}"'
    return office(
        **{
            "_rels/.rels": relations(("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f'<p:presentation {names}><p:sldIdLst><p:sldId id="256" r:id="rId1"/></p:sldIdLst>'
            "</p:presentation>",
            "ppt/_rels/presentation.xml.rels": relations(("slide", "slides/slide1.xml")),
            "ppt/slides/slide1.xml": f"<p:sld {names}><p:cSld><p:spTree>{shape}</p:spTree></p:cSld></p:sld>",
        }
    )


def odt() -> bytes:
    office_, text = (f"urn:oasis:names:tc:opendocument:xmlns:{one}:1.0" for one in ("office", "text"))
    content = (
        f'<office:document-content xmlns:office="{office_}" xmlns:text="{text}"><office:body><office:text>'
        f"<text:p>{WORDS}</text:p></office:text></office:body></office:document-content>"
    )
    return packed(**{"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})


def epub() -> bytes:
    opf = "http://www.idpf.org/2007/opf"
    place = '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/>'
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    item = '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    title = f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{TITLE}</dc:title></metadata>'
    spine = '<spine><itemref idref="a"/></spine>'
    return packed(
        **{
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f'<container xmlns="{container}"><rootfiles>{place}</rootfiles></container>',
            "book.opf": f'<package xmlns="{opf}" version="3.0">{title}<manifest>{item}</manifest>{spine}</package>',
            "a.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{WORDS}</p></body></html>',
        }
    )


def pdf(text: str = WORDS) -> bytes:
    shown = f"BT /F1 18 Tf 20 100 Td ({text}) Tj ET".encode()
    return b"%%PDF-1.4\n%b\ntrailer<</Root 1 0 R/Info 6 0 R>>\n%%%%EOF" % b"\n".join(
        b"%d 0 obj%b endobj" % (number, body)
        for number, body in enumerate(
            (
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
                b"<</Length %d>>stream\n%b\nendstream" % (len(shown), shown),
                b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
                b"<</Title(%b)>>" % TITLE.encode(),
            ),
            1,
        )
    )


def html(words: str = WORDS, charset: str = "utf-8") -> bytes:
    head = f'<head><meta charset="{charset}"><title>{TITLE}</title><script>var secret = 1;</script></head>'
    return f"<html>{head}<body><h2>Night</h2><p>{words}</p><img src='http://127.0.0.1:9/'></body></html>".encode(
        charset
    )


RTF = rb"{\rtf1 " + WORDS.encode() + rb"}"
EML = f"From: a@example.org\r\nTo: b@example.org\r\nSubject: {TITLE}\r\n\r\n{WORDS}\r\n".encode()
KINDS = {
    "log.pdf": pdf(),
    "log.docx": docx(),
    "log.xlsx": xlsx(),
    "log.pptx": pptx(),
    "log.odt": odt(),
    "log.epub": epub(),
    "log.rtf": RTF,
    "log.eml": EML,
    "log.html": html(),
    "log.md": f"# Night\n\n{WORDS}".encode(),
    "log.txt": WORDS.encode(),
    "log.json": f'{{"words": "{WORDS}"}}'.encode(),
    "log.csv": f"when,what\n1,{WORDS}\n".encode(),
    "unnamed": WORDS.encode(),
}


def bomb() -> bytes:
    """A document that is large once it is unpacked."""
    return docx("A" * 200_000_000)
