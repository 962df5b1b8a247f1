"""Text with entities: parsed from the HTML of bots, found in the words of users, shown on a page.

Offsets and lengths of entities count UTF-16 units, as everywhere in the Bot API.
"""

from __future__ import annotations

import html
import re

from sdlesson.bot_api.errors import ApiError, Json, bad_request

TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "a": "text_link",
}
SHOWN_TAGS = {type_: tag for tag, type_ in reversed(TAGS.items()) if type_ != "text_link"}
PAGE_LINKS = ("http://", "https://", "tg://")  # no scripts
MAX_ENTITIES = 100  # in one message, as Telegram keeps them
NAMED_CHARACTERS = ("&lt;", "&gt;", "&amp;", "&quot;")
CHARACTER = re.compile(r"&(?:#[0-9]+|#x[0-9a-fA-F]+|[a-z]+);")
TAG = re.compile(r"<(/?)([^\s>]*)([^>]*)(>?)")
COMMAND = re.compile(r"(?<![\w/<>])/[a-zA-Z0-9_]{1,64}(?:@[a-zA-Z0-9_]{3,32})?(?![\w/<>])")


def utf16_length(text: str) -> int:
    """Count as Telegram does: most characters are one, an emoji is two or more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def shown_text(message: Json) -> str:
    """The text of a message, or the caption; "" where it has neither."""
    return str(message.get("text", message.get("caption", "")))


def find_commands(text: str) -> list[Json]:
    """List the bot commands in what a user wrote."""
    return [
        {
            "type": "bot_command",
            "offset": utf16_length(text[: found.start()]),
            "length": utf16_length(found[0]),
        }
        for found in COMMAND.finditer(text)
    ]


def parse_html(text: str) -> tuple[str, list[Json]]:
    """Take the tags out of a bot's text.

    Returns:
        The plain text, and the entities in the order of their beginnings.

    Raises:
        ApiError: A tag is unknown, not closed, or closed in the wrong order.
    """
    plain, entities, open_tags = "", [], []
    position = 0
    while position < len(text):
        tag = TAG.match(text, position)
        if tag is None:
            end = text.find("<", position)
            end = len(text) if end < 0 else end
            plain += CHARACTER.sub(_decoded, text[position:end])
            position = end
            continue
        place, position = _byte_offset(text, position), tag.end()
        if not tag[1]:
            open_tags.append((tag[2].lower(), _opened(tag, place, utf16_length(plain))))
            continue
        entity = _closed(tag, place, open_tags)
        entity["length"] = utf16_length(plain) - entity["offset"]
        if entity["length"]:
            entities.append(entity)
    if open_tags:
        raise _unparsable(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return plain, entities[:MAX_ENTITIES]


def to_html(text: str, entities: list[Json]) -> str:
    """Write a text with its entities for a page; all else in it is escaped."""
    marks: dict[int, list[str]] = {}
    for entity in entities:
        opening, closing = _page_tags(entity)
        marks.setdefault(entity["offset"], []).append(opening)
        marks.setdefault(entity["offset"] + entity["length"], []).insert(0, closing)
    units = text.encode("utf-16-le", "surrogatepass")  # two bytes each
    shown, before = "", 0
    for place in sorted(marks):
        shown += _escaped(units[2 * before : 2 * place]) + "".join(marks[place])
        before = place
    return shown + _escaped(units[2 * before :])


def _escaped(units: bytes) -> str:
    return html.escape(units.decode("utf-16-le", "surrogatepass"))


def _opened(tag: re.Match[str], place: int, offset: int) -> Json:
    name = tag[2].lower()
    if not tag[4]:
        raise _unparsable(f"Unclosed start tag at byte offset {place}")
    if name not in TAGS:
        raise _unparsable(f'Unsupported start tag "{name}" at byte offset {place}')
    entity: Json = {"type": TAGS[name], "offset": offset}
    if name == "a":
        link = re.search(r"""href\s*=\s*(?:"([^"]*)"|'([^']*)')""", tag[3])
        entity["url"] = html.unescape(link[1] or link[2] or "") if link else ""
    return entity


def _closed(tag: re.Match[str], place: int, open_tags: list[tuple[str, Json]]) -> Json:
    if not tag[4] or tag[3].strip():
        raise _unparsable(f"Unclosed end tag at byte offset {place}")
    if not open_tags:
        raise _unparsable(f"Unexpected end tag at byte offset {place}")
    expected, name = open_tags[-1][0], tag[2].lower()
    if name not in ("", expected):
        raise _unparsable(
            f'Unmatched end tag at byte offset {place}, expected "</{expected}>", found "</{name}>"'
        )
    return open_tags.pop()[1]


def _decoded(character: re.Match[str]) -> str:
    is_known = character[0][1] == "#" or character[0] in NAMED_CHARACTERS
    return html.unescape(character[0]) if is_known else character[0]


def _page_tags(entity: Json) -> tuple[str, str]:
    if entity["type"] == "text_link" and entity["url"].startswith(PAGE_LINKS):
        address = html.escape(entity["url"])
        return f'<a href="{address}" target="_blank" rel="noopener">', "</a>"
    tag = SHOWN_TAGS.get(entity["type"], "span")
    return f"<{tag}>", f"</{tag}>"


def _byte_offset(text: str, position: int) -> int:
    return len(text[:position].encode())


def _unparsable(reason: str) -> ApiError:
    return bad_request(f"can't parse entities: {reason}")
