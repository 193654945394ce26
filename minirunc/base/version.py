"""What this program is and which specification it speaks."""

VERSION = "0.1.0"
COMMIT = ""  # filled in where a release is built; a git checkout is asked instead
SPEC = "1.3.0"  # runtime-spec: the newest version understood
SPEC_OLDEST = "1.0.0"


def commit() -> str:
    """The commit this was built from, or the one checked out around this file; "" where neither is known."""
    if COMMIT:
        return COMMIT
    from os.path import realpath  # .venv has a link to the package

    git = f"{realpath(__file__).rsplit('/', 3)[0]}/.git"
    try:
        with open(f"{git}/HEAD") as file:
            head = file.read().strip()
        if not head.startswith("ref: "):
            return head
        with open(f"{git}/{head[5:]}") as file:
            return file.read().strip()
    except OSError:
        return ""  # installed, or a ref that git has packed: not worth more than this
