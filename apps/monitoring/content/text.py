"""What counts as the same text: characters, white space, and lines that say nothing of the provider.

Characters: NFC; invisible, bidirectional and control characters go; typographic quotes, dashes, dots and spaces become
plain ones; tracking parameters (`utm_…`, click ids, `v=` with a hash) leave the query of an address.

Noise is only ever a whole line of prose, or a whole part of one between `·` or `•`; no word within a sentence, a table
row or a line of code is taken out. A line is noise if it is nothing but
- a stamp: "Last updated on March 3, 2025", "3 days ago", "Posted 2 weeks ago", "Generated at …";
- a reading time or a counter: "5 min read", "1,234 views", "Stars: 1.2k", "12 people found this helpful";
- a copyright notice with its year;
- a labelled id of the build, request or session: "Build: 9f3c2ab", "csrf token: …";
- furniture: "Copy", "Edit this page", "On this page", "Was this page helpful?".
So a date that heads an entry of a changelog, a version, a limit, a price and an enum value stay.
"""

import re
import unicodedata

CODE_INDENT = "    "
_INVISIBLE = dict.fromkeys(
    [
        *range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010),
        *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), 0xFEFF, 0xFFFC, *range(0xD800, 0xE000),
    ]
)  # fmt: skip
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "…": "...",
    }
    | {chr(code): None for code in _INVISIBLE}
)
_SPACES = re.compile(r"\s+")
_QUERY = re.compile(r"(?<=[\w/.=-])\?([\w%.~+=&;:@/,-]+)")
_TRACKING = re.compile(r"(?:utm_\w+|gclid|fbclid|msclkid|_gl|mc_[ce]id)=|v=(?=[0-9a-f]*\d)[0-9a-f]{6,}$", re.ASCII)
_CLAIMS = re.compile(r"(?i)^[\s#]*(?:©|\(c\)|copyright)\W*(?:©|\(c\))?\W*(?:19|20)\d\d\b.{0,200}$")

_NUMBER = r"\d[\d,. ]*[km]?"
_AGO = (
    r"(?:about |over |almost |around |~ ?)?(?:an?|one|\d+) ?"
    r"(?:s|sec|second|min|minute|h|hr|hour|d|day|w|week|mo|month|y|yr|year)s? ago|just now|yesterday|today"
)
_MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"(?:,? ?(?:at |t)?\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)? ?(?:[ap]\.?m\.?)? ?(?:z|utc|gmt|[+-]\d\d:?\d\d)?)?"
_DATE = (
    rf"(?:(?:\d{{4}}-\d\d?-\d\d?|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\.? {_MONTH},? \d{{4}}|{_MONTH} \d{{4}}){_CLOCK})"
)
_UPDATED = r"(?:(?:this )?(?:page|article|document) )?(?:was )?(?:last )?(?:updated|modified|edited|reviewed)"
_LABEL = (
    r"(?:build|build id|commit|revision|request id|(?:cloudflare )?ray id|trace id|deploy(?:ment)? id"
    r"|session(?: id| token)?|[cx]srf(?:[-_ ]token)?|nonce)"
)
_COUNTED = r"(?:views?|likes?|stars?|forks?|watchers?|claps?|upvotes?|reactions?|page views?)"
_FURNITURE = (
    r"copy|copied!?|copy (?:page|link|code|to clipboard|as markdown|markdown)|view as markdown|edit(?: this page)?"
    r"|edit (?:this page )?on git(?:hub|lab)|suggest edits?|(?:report|raise) an? issue|raise issue|on this page"
    r"|table of contents|contents|skip to (?:main )?content|ask (?:ai|a question)|open in (?:chatgpt|claude|cursor)"
    r"|previous|next|share|share this(?: page)?|print|back to top|scroll to top|loading(?:\.\.\.)?|search(?:\.\.\.)?"
    r"|toggle (?:theme|sidebar|menu|dark mode)|did this page help you\??|(?:was|is) this (?:page|section) helpful\??"
    r"|please enable javascript.*|you need to enable javascript to run this app\.?|[#¶§🔗⌘]k?|ctrl ?\+? ?k"
)
_NOISE = re.compile(
    r"(?i)#?\s*(?:"
    + "|".join(
        [
            rf"{_UPDATED}(?: on| at)?\s?:?\s?(?:{_DATE}|{_AGO})(?: by [\w .-]{{1,60}})?",
            rf"(?:(?:posted|published|released|created)\s?:?\s?)?(?:{_AGO})",
            rf"(?:generated|built|deployed|rendered)(?: on| at)?\s?:?\s?(?:{_DATE}|{_AGO})",
            r"(?:(?:estimated )?reading|read) time\s?:?\s?(?:~ ?)?\d+ ?min(?:ute)?s?(?: read)?",
            r"(?:~ ?)?\d+[ -]?min(?:ute)?s? (?:read|to read|reading time)",
            rf"{_NUMBER} ?{_COUNTED}",
            rf"{_COUNTED} ?: ?{_NUMBER}",
            rf"[★☆♥👍👁⭐] ?{_NUMBER}",
            rf"{_NUMBER} (?:(?:out )?of {_NUMBER} )?(?:people |users |readers )?found this (?:page )?helpful\.?",
            rf"{_LABEL} ?: ?(?=\S*\d)[\w+/=.-]{{6,}}",
            _FURNITURE,
        ]
    )
    + r")\s*"
)
_PARTS = re.compile(r"\s[·•]\s")
_LONGEST_NOISE = 300


def clean(text: str) -> str:
    """One line of plain characters: no break, no invisible sign, single spaces, none at the ends."""
    plain = unicodedata.normalize("NFC", text.translate(_PLAIN))
    if not plain.isascii():  # what NFC joins may again be a sign that is made plain
        plain = unicodedata.normalize("NFC", plain.translate(_PLAIN))
    line = _SPACES.sub(" ", plain).strip()
    return _QUERY.sub(_query, line) if "?" in line else line


def _query(found: re.Match[str]) -> str:
    kept = [pair for pair in found[1].split("&") if not _TRACKING.match(pair)]
    return f"?{'&'.join(kept)}" if kept else ""


def prose(text: str) -> str:
    """A line of prose without what is noise; empty if nothing else stood there."""
    line = clean(text)
    if len(line) > _LONGEST_NOISE:
        return line
    if "·" in line or "•" in line:
        line = " · ".join(part for part in _PARTS.split(line) if not _is_noise(part))
    return "" if _is_noise(line) else line


def _is_noise(line: str) -> bool:
    return _NOISE.fullmatch(line) is not None or _CLAIMS.match(line) is not None


def code(lines: list[str]) -> list[str]:
    """Lines of code without their common indentation and blank lines, each set in by CODE_INDENT."""
    known = [(_depth(line), clean(line)) for line in lines]
    known = [(depth, line) for depth, line in known if line]
    least = min((depth for depth, _ in known), default=0)
    return [CODE_INDENT + " " * (depth - least) + line for depth, line in known]


def _depth(line: str) -> int:
    spread = line.translate(_PLAIN).replace("\t", "    ")
    return min(len(spread) - len(spread.lstrip()), 200)


def is_code(line: str) -> bool:
    """Whether a line of a normalised text is one of code."""
    return line.startswith(CODE_INDENT)
