"""Questions about the sample documents, worded otherwise than the answers are.

Each with the endings of the files that answer it.
"""

QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Which astronomer set up a stargazing institution in Scandinavia?", ("observatory.txt",)),
    ("a newly found celestial body with a tail, named after its finder", ("observatory.txt",)),
    (
        "how much money changed hands for the purchase of the sky-watching site",
        ("observatory.txt",),
    ),
    ("Who builds bridges and grew up in West Africa?", ("biography.md",)),
    ("a quote about what a crossing over water means to people", ("biography.md",)),
    ("What did the bridge builder study and where?", ("biography.md",)),
    ("family-run Irish engineering firm", ("company.rst",)),
    ("how many workers does the Dublin group have", ("company.rst",)),
    ("its most important client is a harbour", ("company.rst",)),
    ("local association gathers to discuss business", ("meeting.log",)),
    ("who looks after the money of the trust from now on", ("meeting.log",)),
    ("a member abstained from a ballot because of a conflict of interest", ("meeting.log",)),
    ("photographs of the night sky sent by post", ("1913-whitcombe.txt",)),
    ("a visit is planned in autumn to see a new instrument", ("1913-whitcombe.txt", "reply.md")),
    ("wet weather makes another month preferable", ("reply.md",)),
    ("how heavy is the optical device", ("reply.md",)),
    ("an exhibition of nautical instruments", ("museum.html",)),
    ("who runs the maritime museum in Devon, and to whom is he wed", ("museum.html",)),
    ("research facility started in the Portuguese capital", ("news.htm",)),
    ("share of a water firm held by a harbour authority", ("news.htm",)),
    ("how many inhabitants do the towns have", ("places.json",)),
    ("list of employees with job title and start date", ("staff.csv",)),
    ("agreement to construct a pedestrian crossing", ("contract.docx",)),
    ("instalments and dates on which they have to be paid", ("contract.docx",)),
    ("who settles disputes between the parties", ("contract.docx",)),
    ("yearly figures of a maker of astronomical optics", ("annual-report.pdf",)),
    ("number of guests who came to look at the stars", ("annual-report.pdf",)),
    ("takeover of a lens manufacturer intended for next year", ("annual-report.pdf",)),
)
